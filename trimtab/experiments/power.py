"""How large an experiment must be, what it can find, and how long it runs.

The same approximation as the analysis: the effect's estimate is normal (Student's t for small means and ratios) with
variance v_c / n_c + v_t / n_t. Proportions may take the pooled variance under the hypothesis, as the pooled z test
does. Covariates from before (CUPED) leave 1 - rho^2 of the variance. Several treatments share alpha by Bonferroni.
Sequential looks enlarge the experiment by the inflation of `sequential.sequential_power`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, isfinite, sqrt
from typing import Literal

from scipy import optimize, stats

from trimtab.errors import BadInput
from trimtab.experiments.effects import Alternative, check_alpha
from trimtab.experiments.means import Measure, plain, variance_saving
from trimtab.experiments.moments import Moments
from trimtab.experiments.sequential import SequentialDesign, sequential_power
from trimtab.experiments.spending import Spending

NullVariance = Literal["pooled", "unpooled"]
_LARGE = 5_000.0  # Degrees of freedom from which Student's t is normal to four digits of power.
_MOST_UNITS = 1e15


@dataclass(frozen=True, slots=True)
class MetricPlan:
    """What is known of a metric before the experiment.

    Attributes:
        baseline: Control's expected value.
        variance: Variance of one unit's contribution; for a binary metric p (1 - p), and the treatment's follows its p.
        binary: Whether the metric is a proportion.
        saving: Share of the variance that a covariate removes, 0 to 1.
    """

    baseline: float
    variance: float
    binary: bool = False
    saving: float = 0.0

    def __post_init__(self) -> None:
        if not (isfinite(self.baseline) and isfinite(self.variance) and self.variance > 0):
            raise BadInput(f"a metric with baseline {self.baseline} and variance {self.variance} cannot be planned.")
        if not 0 <= self.saving < 1:
            raise BadInput(f"the covariate's saving is {self.saving}; it must lie in [0, 1).")

    @classmethod
    def of_proportion(cls, rate: float, *, saving: float = 0.0) -> "MetricPlan":
        """A binary metric. Raises BadInput where the rate lies outside (0, 1)."""
        if not 0 < rate < 1:
            raise BadInput(f"the baseline rate is {rate}; it must lie strictly between 0 and 1.")
        return cls(rate, rate * (1 - rate), True, saving)

    @classmethod
    def of_moments(cls, moments: Moments, measure: Measure, *, covariate: Measure | None = None) -> "MetricPlan":
        """A mean or ratio metric from history, with the saving that its covariate would have brought."""
        estimate = plain(moments, measure)
        saving = 0.0 if covariate is None else min(variance_saving(moments, measure, covariate), 1 - 1e-9)
        return cls(estimate.value, estimate.variance * moments.n, False, saving)

    def variances(self, effect: float) -> tuple[float, float]:
        """Variance of one unit in control and in a treatment with this absolute effect, after the saving."""
        left = 1.0 - self.saving
        if not self.binary:
            return self.variance * left, self.variance * left
        rate = self.baseline + effect
        if not 0 <= rate <= 1:
            raise BadInput(f"an effect of {effect:g} takes the rate {self.baseline:g} out of [0, 1].")
        return self.variance * left, rate * (1 - rate) * left


@dataclass(frozen=True, slots=True)
class TestPlan:
    """The test that will be made.

    Attributes:
        alpha: Level over all treatments.
        power: Probability of finding the effect, per treatment.
        alternative: One side or two.
        shares: Share of units of control and of each treatment; they need not add up to one.
        null_variance: For binary metrics: variance that the test takes under the hypothesis.
        looks: Number of equally spaced group-sequential looks; 1 is a fixed test.
        spending: How the looks spend alpha.
    """

    __test__ = False  # Not a test case, whatever its name makes of it.

    alpha: float = 0.05
    power: float = 0.8
    alternative: Alternative = "two-sided"
    shares: tuple[float, ...] = (0.5, 0.5)
    null_variance: NullVariance = "unpooled"
    looks: int = 1
    spending: Spending = field(default_factory=Spending)

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if not self.alpha < self.power < 1:
            raise BadInput(f"power is {self.power}; it must lie between alpha and 1.")
        if len(self.shares) < 2 or not all(isfinite(share) and share > 0 for share in self.shares):
            raise BadInput(f"shares are {self.shares}; two or more positive ones are needed.")
        if self.looks < 1:
            raise BadInput(f"there are {self.looks} looks; at least one is needed.")

    @property
    def level(self) -> float:
        """Alpha of one treatment's test."""
        return self.alpha / (len(self.shares) - 1)

    @property
    def inflation(self) -> float:
        """By how much sequential looks enlarge the experiment."""
        if self.looks == 1:
            return 1.0
        design = SequentialDesign(1.0, alpha=self.level, spending=self.spending, alternative=self.alternative)
        times = [(look + 1) / self.looks for look in range(self.looks)]
        return sequential_power(design, times, power=self.power).inflation


@dataclass(frozen=True, slots=True)
class Size:
    """How large an experiment is.

    Attributes:
        total: Units in all arms, a whole number per arm.
        per_arm: Units of control and each treatment.
        exact: The total before rounding up.
        inflation: The part of it that sequential looks cost, as a factor.
    """

    total: int
    per_arm: tuple[int, ...]
    exact: float
    inflation: float


def power_of(metric: MetricPlan, effect: float, total: float, plan: TestPlan | None = None) -> float:
    """Probability that a fixed test of `total` units finds an absolute effect with the smallest treatment.

    Args:
        metric: The metric.
        effect: Treatment minus control, in the metric's unit.
        total: Units in all arms.
        plan: The test; its power and looks are not used.

    Raises:
        BadInput: There are too few units for a variance, or the effect takes a rate out of [0, 1].

    >>> round(power_of(MetricPlan(0.0, 1.0), 1.0, 40), 5)
    0.86895
    """
    plan = plan or TestPlan()
    n_control, n_treatment = (total * share / sum(plan.shares) for share in _weakest(plan))
    if min(n_control, n_treatment) <= 1:
        raise BadInput(f"{total} units leave an arm with {min(n_control, n_treatment):g}; a variance needs two.")
    v_control, v_treatment = metric.variances(effect)
    error = sqrt(v_control / n_control + v_treatment / n_treatment)
    null_error = error
    if metric.binary and plan.null_variance == "pooled":
        rate = metric.baseline + effect * n_treatment / (n_control + n_treatment)
        null_error = sqrt(rate * (1 - rate) * (1 - metric.saving) * (1 / n_control + 1 / n_treatment))
    freedom = None if metric.binary else n_control + n_treatment - 2
    return _rejection(effect, error, null_error, freedom, plan)


def sample_size(metric: MetricPlan, effect: float, plan: TestPlan | None = None) -> Size:
    """Units that find an absolute effect with the plan's power.

    Args:
        metric: The metric.
        effect: Treatment minus control, in the metric's unit.
        plan: The test.

    Raises:
        BadInput: The effect is zero, of the wrong sign for a one-sided test, or takes a rate out of [0, 1].

    >>> sample_size(MetricPlan.of_proportion(0.10), 0.01).per_arm
    (14749, 14749)
    """
    plan = plan or TestPlan()
    wrong_side = (plan.alternative == "greater" and effect < 0) or (plan.alternative == "less" and effect > 0)
    if effect == 0 or not isfinite(effect) or wrong_side:
        raise BadInput(f"an effect of {effect} cannot be found by a {plan.alternative} test.")
    metric.variances(effect)
    least = 1.001 * sum(plan.shares) / min(_weakest(plan))
    if power_of(metric, effect, least, plan) >= plan.power:
        exact = least
    elif power_of(metric, effect, _MOST_UNITS, plan) < plan.power:
        raise BadInput(f"an effect of {effect:g} asks for more than {_MOST_UNITS:g} units.")
    else:
        exact = optimize.brentq(
            lambda total: power_of(metric, effect, total, plan) - plan.power, least, _MOST_UNITS, xtol=1e-6, rtol=1e-12
        )
    inflation = plan.inflation
    exact = float(exact) * inflation
    per_arm = tuple(max(2, ceil(exact * share / sum(plan.shares) - 1e-6)) for share in plan.shares)
    return Size(sum(per_arm), per_arm, exact, inflation)


def minimum_detectable_effect(metric: MetricPlan, total: float, plan: TestPlan | None = None) -> float:
    """Smallest absolute effect that `total` units find with the plan's power; negative for the alternative `less`.

    Raises:
        BadInput: There are too few units for any effect to be found.

    >>> round(minimum_detectable_effect(MetricPlan.of_proportion(0.10), 2 * 14_749), 6)
    0.01
    """
    plan = plan or TestPlan()
    fixed_total = total / plan.inflation
    sign = -1.0 if plan.alternative == "less" else 1.0
    most = 1e3 * (abs(metric.baseline) + sqrt(metric.variance))
    if metric.binary:
        most = metric.baseline if sign < 0 else 1 - metric.baseline

    def shortfall(size: float) -> float:
        return power_of(metric, sign * size, fixed_total, plan) - plan.power

    if shortfall(most) < 0:
        raise BadInput(f"{total:g} units find no effect of this metric with power {plan.power:g}.")
    return sign * float(optimize.brentq(shortfall, 0.0, most, xtol=1e-12 * most))


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Power at one effect.

    Attributes:
        effect: Absolute effect.
        relative: Effect over the baseline; None where that is zero.
        power: Probability of finding it.
    """

    effect: float
    relative: float | None
    power: float


def power_curve(
    metric: MetricPlan, effects: Sequence[float], total: float, plan: TestPlan | None = None
) -> tuple[CurvePoint, ...]:
    """Power at several effects for one size."""
    plan = plan or TestPlan()
    fixed_total = total / plan.inflation
    base = metric.baseline
    return tuple(
        CurvePoint(effect, effect / base if base else None, power_of(metric, effect, fixed_total, plan))
        for effect in effects
    )


def duration_days(total: float, units_per_day: float, *, minimum_days: int = 7) -> int:
    """Whole days until `total` units were seen, at least `minimum_days` so that a whole week is covered.

    Raises:
        BadInput: There is no traffic.

    >>> duration_days(30_000, 2_000)
    15
    """
    if not (isfinite(units_per_day) and units_per_day > 0):
        raise BadInput(f"traffic is {units_per_day} units a day; it must be positive.")
    return max(minimum_days, ceil(total / units_per_day - 1e-9))


def _weakest(plan: TestPlan) -> tuple[float, float]:
    """Shares of control and of the smallest treatment, which needs the most units in all."""
    return plan.shares[0], min(plan.shares[1:])


def _rejection(effect: float, error: float, null_error: float, freedom: float | None, plan: TestPlan) -> float:
    two_sided = plan.alternative == "two-sided"
    tail = plan.level / 2 if two_sided else plan.level
    shift = (abs(effect) if two_sided else -effect if plan.alternative == "less" else effect) / error
    if freedom is None or freedom > _LARGE:
        critical = float(stats.norm.isf(tail)) * null_error / error
        other = float(stats.norm.sf(critical + shift)) if two_sided else 0.0
        return float(stats.norm.sf(critical - shift)) + other
    critical = float(stats.t.isf(tail, freedom))
    if shift > 35:
        return 1.0
    other = float(stats.nct.cdf(-critical, freedom, shift)) if two_sided and shift < 5 else 0.0
    return float(stats.nct.sf(critical, freedom, shift)) + other
