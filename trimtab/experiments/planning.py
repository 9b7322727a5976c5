"""A design in numbers: each metric's size and duration, or the effect that a given size finds; and a power curve."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trimtab.errors import BadInput
from trimtab.experiments.effects import Alternative
from trimtab.experiments.power import (
    CurvePoint,
    MetricPlan,
    TestPlan,
    duration_days,
    minimum_detectable_effect,
    power_curve,
    sample_size,
)
from trimtab.experiments.sequential import Look, SequentialDesign

_CURVE = tuple(step / 4 for step in range(1, 9))  # Effects of the power curve, in parts of the planned one.


@dataclass(frozen=True, slots=True)
class MetricDesign:
    """How one metric can be tested.

    Attributes:
        metric: Its name.
        baseline: Control's expected value.
        variance: Variance of one unit's contribution.
        saving: Share of the variance that the covariate removes.
        effect: Absolute effect that is found with the plan's power.
        relative: The same over the baseline.
        total: Units in all arms.
        per_arm: Units of each arm, control first.
        days: Days until then; None where the traffic is not known.
        total_without_covariate: Units that it would take without the covariate.
        total_without_looks: Units that it would take with a single look at the end.
        curve: Power at other effects with the same total.
    """

    metric: str
    baseline: float
    variance: float
    saving: float
    effect: float
    relative: float
    total: int
    per_arm: tuple[int, ...]
    days: int | None
    total_without_covariate: int
    total_without_looks: int
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked of a design.

    Attributes:
        relative: Relative effect that is to be found; None where the size is given.
        total: Units in all arms; None where the effect is given.
        per_day: Units that arrive a day in all arms; None where unknown.
        minimum_days: Least duration.
    """

    relative: float | None = None
    total: int | None = None
    per_day: float | None = None
    minimum_days: int = 7


def design_metric(
    name: str, metric: MetricPlan, plan: TestPlan, scope: Scope, *, direction: float = 1.0
) -> MetricDesign:
    """Size and duration for an effect, or the effect that a size finds.

    Args:
        name: Name of the metric.
        metric: What is known of it.
        plan: The test.
        scope: Either `relative` or `total`.
        direction: 1 where higher is better, -1 where lower is.

    Raises:
        BadInput: Neither or both of effect and size are given, or the baseline is zero.
    """
    if (scope.relative is None) == (scope.total is None):
        raise BadInput("a design needs the effect to be found, or the number of units.", remedy="Give one of them.")
    if metric.baseline == 0:
        raise BadInput(f"metric '{name}' has a baseline of zero, so no relative effect.")
    one_sided: Alternative = "greater" if direction > 0 else "less"
    plan = plan if plan.alternative == "two-sided" else replace(plan, alternative=one_sided)
    if scope.total is None:
        assert scope.relative is not None
        effect = direction * scope.relative * abs(metric.baseline)
        size = sample_size(metric, effect, plan)
        total, per_arm = size.total, size.per_arm
    else:
        effect, total = minimum_detectable_effect(metric, scope.total, plan), scope.total
        effect = abs(effect) * direction
        per_arm = tuple(round(total * share / sum(plan.shares)) for share in plan.shares)
    effects = [effect * part for part in _CURVE if _possible(metric, effect * part)]
    return MetricDesign(
        metric=name,
        baseline=metric.baseline,
        variance=metric.variance,
        saving=metric.saving,
        effect=effect,
        relative=effect / abs(metric.baseline),
        total=total,
        per_arm=per_arm,
        days=duration_days(total, scope.per_day, minimum_days=scope.minimum_days) if scope.per_day else None,
        total_without_covariate=sample_size(replace(metric, saving=0.0), effect, plan).total,
        total_without_looks=sample_size(metric, effect, replace(plan, looks=1)).total,
        curve=power_curve(metric, effects, total, plan),
    )


def look_bounds(plan: TestPlan) -> tuple[Look, ...]:
    """Bounds of equally spaced looks; empty for a fixed test."""
    if plan.looks == 1:
        return ()
    design = SequentialDesign(1.0, plan.level, plan.spending, plan.alternative)
    return design.looks([(place + 1) / plan.looks for place in range(plan.looks)])


def longest(designs: Sequence[MetricDesign]) -> MetricDesign:
    """The metric that needs the most units."""
    return max(designs, key=lambda design: design.total)


def _possible(metric: MetricPlan, effect: float) -> bool:
    return not metric.binary or 0 <= metric.baseline + effect <= 1
