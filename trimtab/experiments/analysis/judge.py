"""From comparisons to a verdict: on each treatment, and on the experiment."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trimtab.experiments.analysis.result import ArmComparison, ArmVerdict, MetricResult, Verdict
from trimtab.experiments.business import BusinessCase
from trimtab.experiments.criteria import Evidence, Policy
from trimtab.experiments.effects import Comparison
from trimtab.experiments.spec import ExperimentSpec
from trimtab.experiments.verdict import decide
from trimtab.types import Decision


def policy(spec: ExperimentSpec, *, alpha: float | None = None) -> Policy:
    """What shipping asks for."""
    return Policy(
        alpha=spec.alpha if alpha is None else alpha,
        minimum_relative_effect=spec.minimum_relative_effect,
        minimum_probability_better=spec.bayes.minimum_probability,
        maximum_relative_loss=spec.bayes.maximum_relative_loss,
        minimum_net_benefit=spec.business.minimum_net_benefit if spec.business else 0.0,
    )


def judge(
    spec: ExperimentSpec,
    comparisons: Mapping[tuple[str, str], Comparison],
    metrics: Mapping[str, MetricResult],
    *,
    treatments: Sequence[str],
    problems: Sequence[str],
    business: Mapping[str, BusinessCase],
) -> Verdict:
    """Judge every treatment, and the experiment by the best of them.

    Args:
        spec: The rules.
        comparisons: Comparison by metric and treatment, adjusted.
        metrics: Results by metric.
        treatments: The treatments, in the order of the arms.
        problems: What forbids a winner.
        business: Business case by treatment.
    """
    watched = _at_any_look(spec, comparisons, metrics, treatments)
    arms = tuple(
        _judge_arm(spec, watched, metrics, treatment, problems=problems, case=business.get(treatment))
        for treatment in treatments
    )
    if not arms:
        reason = tuple(problems) or ("There is no treatment to judge.",)
        return Verdict("hold", "", reason, ())
    shipping = [arm for arm in arms if arm.decision == "ship"]
    if shipping:
        best = max(shipping, key=lambda arm: _gain(spec, comparisons, arm.treatment))
        return Verdict("ship", best.treatment, best.reasons, arms)
    decision: Decision = "roll_back" if all(arm.decision == "roll_back" for arm in arms) else "hold"
    shown = next(arm for arm in arms if arm.decision == decision)
    return Verdict(decision, shown.treatment, shown.reasons, arms)


def evidence(spec: ExperimentSpec, name: str, comparison: Comparison) -> Evidence:
    """A comparison with what its metric declares."""
    metric = spec.metrics[name]
    return Evidence(name, comparison, metric.direction, metric.margin)


def _judge_arm(
    spec: ExperimentSpec,
    comparisons: Mapping[tuple[str, str], Comparison],
    metrics: Mapping[str, MetricResult],
    treatment: str,
    *,
    problems: Sequence[str],
    case: BusinessCase | None,
) -> ArmVerdict:
    primary = spec.primary or ""
    found = comparisons.get((primary, treatment))
    own = _own(metrics, primary, treatment)
    guards = [name for name in spec.metrics if spec.role(name) == "guardrail"]
    silent = [f"Guardrail {name} has no data to judge." for name in guards if (name, treatment) not in comparisons]
    verdict = decide(
        evidence(spec, primary, found) if found else None,
        guardrails=[
            evidence(spec, name, comparisons[name, treatment]) for name in guards if (name, treatment) in comparisons
        ],
        problems=[*problems, *silent],
        policy=policy(spec),
        sequential=own.sequential if own else None,
        bayesian=own.bayesian if own and spec.bayes.decides else None,
        business=case if spec.business else None,
    )
    return ArmVerdict(treatment, verdict.decision, verdict.reasons, verdict.criteria)


def _at_any_look(
    spec: ExperimentSpec,
    comparisons: Mapping[tuple[str, str], Comparison],
    metrics: Mapping[str, MetricResult],
    treatments: Sequence[str],
) -> dict[tuple[str, str], Comparison]:
    """The comparisons, with the always-valid p-value of the primary metric where watching was declared.

    A fixed test's p-value below alpha is no evidence for whoever may look at any time. Bonferroni over the treatments.
    """
    found, primary = dict(comparisons), spec.primary or ""
    for treatment in treatments:
        own = _own(metrics, primary, treatment)
        if own is not None and own.always_valid is not None:
            watched = own.always_valid.p_value
            adjusted = min(1.0, watched * len(treatments))
            found[primary, treatment] = replace(
                comparisons[primary, treatment], p_value=watched, p_value_adjusted=adjusted
            )
    return found


def _own(metrics: Mapping[str, MetricResult], primary: str, treatment: str) -> ArmComparison | None:
    result = metrics.get(primary)
    return next((one for one in result.comparisons if one.treatment == treatment), None) if result else None


def _gain(spec: ExperimentSpec, comparisons: Mapping[tuple[str, str], Comparison], treatment: str) -> float:
    primary = spec.primary or ""
    return evidence(spec, primary, comparisons[primary, treatment]).gain
