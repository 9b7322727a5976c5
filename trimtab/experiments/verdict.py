"""Ship, roll back or hold: a declared decision matrix over evidence, with the reason for every line of it.

The rules are few and fixed before the data are seen. Bad health or no evidence is a hold, whatever the effects say. A
guardrail that is shown to be harmed, or a primary metric that is shown to be worse, is a roll-back. Shipping asks for
a primary metric that is shown to be better, by as much as was declared to matter, and for every guardrail to be shown
safe. Everything between is a hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trimtab.experiments.effects import Comparison, Direction
from trimtab.types import Decision

Status = Literal["pass", "fail", "open"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One metric's comparison, and which way is better.

    Attributes:
        metric: Name of the metric.
        comparison: Treatment against control, with a two-sided interval.
        direction: Whether higher or lower is better.
        margin: Guardrails: the relative deterioration that is tolerated, e.g. 0.1 for 10%.
    """

    metric: str
    comparison: Comparison
    direction: Direction = "higher"
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """What shipping asks for, declared before the start.

    Attributes:
        alpha: Significance level of the primary metric, on its adjusted p-value where there is one.
        minimum_relative_effect: Relative improvement that the estimate must reach; zero asks for none.
    """

    alpha: float = 0.05
    minimum_relative_effect: float = 0.0


@dataclass(frozen=True, slots=True)
class Criterion:
    """One line of the decision matrix.

    Attributes:
        name: What is judged.
        threshold: What is asked for, in words with the number.
        actual: What was found, in words with the number.
        status: `pass`; `fail` for evidence to the contrary; `open` where the data do not tell.
        reason: One sentence.
    """

    name: str
    threshold: str
    actual: str
    status: Status
    reason: str


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
) -> Verdict:
    """Judge the evidence.

    Args:
        primary: The primary metric; None where there are no data.
        guardrails: Metrics that must not deteriorate by their margin.
        problems: Health problems, one sentence each; any of them is a hold.
        policy: What shipping asks for.
    """
    rules = policy or Policy()
    health = Criterion(
        "health",
        "no problem",
        f"{len(problems)} problems" if problems else "no problem",
        "fail" if problems else "pass",
        " ".join(problems) or "The data pass every validity check.",
    )
    if primary is None:
        missing = Criterion("primary", "data in both arms", "no data", "open", "There are no data to judge.")
        return Verdict("hold", tuple(problems) or (missing.reason,), (health, missing))
    judged = (statistical(primary, rules), practical(primary, rules), *(guardrail(metric) for metric in guardrails))
    criteria = (health, *judged)
    if problems:
        return Verdict("hold", tuple(problems), criteria)
    harmed = [line.reason for line in judged if line.status == "fail" and line.name != "practical"]
    if harmed:
        return Verdict("roll_back", tuple(harmed), criteria)
    short = [line.reason for line in judged if line.status != "pass"]
    if short:
        return Verdict("hold", tuple(short), criteria)
    return Verdict("ship", tuple(line.reason for line in judged), criteria)


def statistical(primary: Evidence, policy: Policy) -> Criterion:
    """Is the primary metric shown to be better? Shown to be worse is a failure, not shown is open."""
    comparison = primary.comparison
    p_value = comparison.p_value if comparison.p_value_adjusted is None else comparison.p_value_adjusted
    better = _gain(primary) > 0
    shown = p_value < policy.alpha
    change = _change(primary)
    if not shown:
        return Criterion(
            "statistical", f"p < {policy.alpha:g}", f"p = {p_value:.3g}", "open",
            f"{primary.metric} changed by {change}, which chance may explain (p = {p_value:.3g}).",
        )  # fmt: skip
    return Criterion(
        "statistical",
        f"p < {policy.alpha:g}",
        f"p = {p_value:.3g}",
        "pass" if better else "fail",
        f"{primary.metric} is {'better' if better else 'worse'} by {change} (p = {p_value:.3g}).",
    )


def practical(primary: Evidence, policy: Policy) -> Criterion:
    """Is the estimated improvement as large as was declared to matter?"""
    asked = f"at least {policy.minimum_relative_effect:.2%}"
    relative = primary.comparison.relative
    if relative is None:
        status: Status = "pass" if policy.minimum_relative_effect <= 0 and _gain(primary) > 0 else "open"
        return Criterion("practical", asked, "undefined", status, f"{primary.metric} is zero in control.")
    gain = relative.estimate if primary.direction == "higher" else -relative.estimate
    enough = gain >= policy.minimum_relative_effect
    return Criterion(
        "practical",
        asked,
        f"{gain:+.2%}",
        "pass" if enough else "open",
        f"{primary.metric} improved by {gain:+.2%}, {'at least' if enough else 'less than'} the "
        f"{policy.minimum_relative_effect:.2%} that was declared to matter.",
    )


def guardrail(metric: Evidence) -> Criterion:
    """Is the guardrail shown to be within its margin? Shown to be outside is a failure, neither is open."""
    name, asked = f"guardrail {metric.metric}", f"worse by less than {metric.margin:.2%}"
    relative = metric.comparison.relative
    if relative is None:
        return Criterion(name, asked, "undefined", "open", f"{metric.metric} is zero in control, so no margin applies.")
    sign = -1.0 if metric.direction == "higher" else 1.0
    loss = sign * relative.estimate
    least, most = sorted((sign * relative.low, sign * relative.high))
    actual = f"{loss:+.2%} worse ({least:+.2%} to {most:+.2%})" if loss > 0 else f"{-loss:+.2%} better"
    if least > metric.margin:
        return Criterion(
            name, asked, actual, "fail", f"{metric.metric} is worse than its margin of {metric.margin:.2%}."
        )
    if most < metric.margin:
        return Criterion(
            name, asked, actual, "pass", f"{metric.metric} stays within its margin of {metric.margin:.2%}."
        )
    reason = f"{metric.metric} may be worse by up to {most:.2%}, beyond its margin of {metric.margin:.2%}."
    return Criterion(name, asked, actual, "open", reason)


def _gain(evidence: Evidence) -> float:
    estimate = evidence.comparison.absolute.estimate
    return estimate if evidence.direction == "higher" else -estimate


def _change(evidence: Evidence) -> str:
    relative = evidence.comparison.relative
    return f"{evidence.comparison.absolute.estimate:+.4g}" if relative is None else f"{relative.estimate:+.2%}"
