"""Ship, roll back or hold: a declared decision matrix over evidence, with the reason for every line of it.

The rules are few and fixed before the data are seen. Bad health or no evidence is a hold, whatever the effects say. A
guardrail that is shown to be harmed, or a primary metric that is shown to be worse, is a roll-back. Shipping asks for
a primary metric that is shown to be better, by as much as was declared to matter, for every guardrail to be shown safe,
and for the Bayesian and revenue lines where they were asked for. Everything between is a hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimtab.experiments import criteria
from trimtab.experiments.bayes import BayesianComparison
from trimtab.experiments.business import BusinessCase
from trimtab.experiments.criteria import Criterion, Evidence, Policy, Status
from trimtab.experiments.sequential import SequentialResult
from trimtab.types import Decision

__all__ = ["Criterion", "Evidence", "Policy", "Status", "Verdict", "decide"]

_HARM = ("statistical", "guardrail")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision and why.

    Attributes:
        decision: `ship`, `roll_back` or `hold`.
        reasons: One sentence per reason, the weightiest first.
        criteria: The whole matrix.
    """

    decision: Decision
    reasons: tuple[str, ...]
    criteria: tuple[Criterion, ...]


def decide(
    primary: Evidence | None,
    *,
    guardrails: Sequence[Evidence] = (),
    problems: Sequence[str] = (),
    policy: Policy | None = None,
    sequential: SequentialResult | None = None,
    bayesian: BayesianComparison | None = None,
    business: BusinessCase | None = None,
) -> Verdict:
    """Judge the evidence.

    Args:
        primary: The primary metric; None where there are no data.
        guardrails: Metrics that must not deteriorate by their margin.
        problems: Health problems, one sentence each; any of them is a hold.
        policy: What shipping asks for.
        sequential: The newest look of a group-sequential test; its bound then stands for the p-value.
        bayesian: Result of a declared Bayesian analysis.
        business: What the effect is worth.
    """
    rules = policy or Policy()
    health = health_line(problems)
    if primary is None:
        missing = Criterion("primary", "data in both arms", "no data", "open", "There are no data to judge.")
        return Verdict("hold", tuple(problems) or (missing.reason,), (health, missing))
    judged = [criteria.statistical(primary, rules, sequential)]
    judged += [criteria.practical(primary, rules)] if rules.minimum_relative_effect > 0 else []
    judged += [criteria.bayesian(bayesian, rules)] if bayesian is not None else []
    judged += [criteria.revenue(business, rules)] if business is not None else []
    judged += [criteria.guardrail(metric) for metric in guardrails]
    matrix = (health, *judged)
    if problems:
        return Verdict("hold", tuple(problems), matrix)
    harmed = tuple(line.reason for line in judged if line.status == "fail" and line.name.startswith(_HARM))
    if harmed:
        return Verdict("roll_back", harmed, matrix)
    short = tuple(line.reason for line in judged if line.status != "pass")
    if short:
        return Verdict("hold", short, matrix)
    return Verdict("ship", tuple(line.reason for line in judged), matrix)


def health_line(problems: Sequence[str]) -> Criterion:
    """The first line of the matrix.

    Args:
        problems: Health problems, one sentence each.
    """
    count = len(problems)
    actual = "no problem" if not count else "1 problem" if count == 1 else f"{count} problems"
    reason = " ".join(problems) or "The data pass every validity check."
    return Criterion("health", "no problem", actual, "fail" if count else "pass", reason)
