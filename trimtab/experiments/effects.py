"""What every comparison of two arms returns, and the arithmetic that all estimators share.

An estimator reduces each arm to an `ArmEstimate`; `compare` turns two of them into an absolute and a relative effect.
"""

from dataclasses import dataclass
from math import exp, expm1, inf, isfinite, log1p, sqrt
from typing import Annotated, Literal

from pydantic import BeforeValidator
from scipy import stats

from trimtab.errors import BadInput

Alternative = Literal["two-sided", "greater", "less"]
RelativeScale = Literal["log", "linear"]
Direction = Literal["higher", "lower"]

# JSON has no infinity: an open bound is written as null and read back as the infinity of its side.
LowerBound = Annotated[float, BeforeValidator(lambda value: -inf if value is None else value)]
UpperBound = Annotated[float, BeforeValidator(lambda value: inf if value is None else value)]


@dataclass(frozen=True, slots=True)
class Effect:
    """An estimated difference between treatment and control.

    Attributes:
        estimate: Absolute: treatment minus control, in the metric's unit. Relative: that over control; 0.1 is +10%.
        low: Lower bound of the interval; minus infinity (null in JSON) where the alternative is `less`.
        high: Upper bound of the interval; infinity (null in JSON) where the alternative is `greater`.
        standard_error: Standard error of the estimate on the scale of the estimate.
        statistic: The estimate over its standard error on the scale where the test is made; 0 where both are 0.
        p_value: P-value of the hypothesis that there is no effect, for the chosen alternative.
    """

    estimate: float
    low: LowerBound
    high: UpperBound
    standard_error: float
    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One treatment against control on one metric.

    Attributes:
        control: The metric's value in control.
        treatment: The metric's value in the treatment.
        n_control: Units in control.
        n_treatment: Units in the treatment.
        absolute: Treatment minus control.
        relative: That over control; None where control's value is zero.
        p_value: P-value of the absolute effect: the one that a verdict is built on.
        statistic: Statistic of the absolute effect.
        degrees_of_freedom: Of the t distribution; None where the normal one is used.
        alpha: The intervals have confidence 1 - alpha.
        alternative: `greater` asks whether the treatment is greater than control.
        method: The estimator, in words.
        note: How degenerate data were treated; empty where nothing was.
        p_value_adjusted: After multiplicity correction; None where none was asked for.
    """

    control: float
    treatment: float
    n_control: int
    n_treatment: int
    absolute: Effect
    relative: Effect | None
    p_value: float
    statistic: float
    degrees_of_freedom: float | None
    alpha: float
    alternative: Alternative
    method: str
    note: str = ""
    p_value_adjusted: float | None = None


@dataclass(frozen=True, slots=True)
class ArmEstimate:
    """One arm reduced to what a comparison needs.

    Attributes:
        value: The (possibly adjusted) estimate.
        variance: Variance of the estimate.
        n: Units.
        baseline: The unadjusted estimate, which a relative effect is relative to.
        baseline_variance: Variance of the baseline.
        covariance: Covariance of estimate and baseline.
    """

    value: float
    variance: float
    n: int
    baseline: float
    baseline_variance: float
    covariance: float

    @classmethod
    def plain(cls, value: float, variance: float, n: int) -> "ArmEstimate":
        """An estimate that is its own baseline."""
        return cls(value, variance, n, value, variance, variance)


def compare(
    control: ArmEstimate,
    treatment: ArmEstimate,
    *,
    method: str,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    relative: RelativeScale = "log",
    degrees_of_freedom: float | None = None,
    note: str = "",
) -> Comparison:
    """Absolute and relative effect of two independent arms.

    The relative effect is the absolute one over control's baseline B, R = D / B. By the delta method
    Var(R) = (Var(D) + R^2 Var(B) - 2 R Cov(D, B)) / B^2, where Cov(D, B) is minus control's covariance of estimate and
    baseline. On the log scale the interval is (1 + R) exp(-+ z se / (1 + R)) - 1 (Katz et al. 1978 for proportions),
    which respects that a positive metric cannot fall by more than 100%; where 1 + R is not positive the linear scale
    is used and the note says so. Zero variance in both arms gives p = 1 without a difference and p = 0 with one.

    Raises:
        BadInput: Alpha lies outside (0, 1).
    """
    check_alpha(alpha)
    difference = treatment.value - control.value
    variance = treatment.variance + control.variance
    reference = Reference(alpha, alternative, degrees_of_freedom)
    absolute = reference.effect(difference, sqrt(variance))
    proportional, remark = _relative(control, difference, variance, reference, relative)
    return Comparison(
        control=control.baseline,
        treatment=treatment.baseline,
        n_control=control.n,
        n_treatment=treatment.n,
        absolute=absolute,
        relative=proportional,
        p_value=absolute.p_value,
        statistic=absolute.statistic,
        degrees_of_freedom=degrees_of_freedom,
        alpha=alpha,
        alternative=alternative,
        method=method,
        note=" ".join(part for part in (note, remark, "" if variance > 0 else "Neither arm varies.") if part),
    )


@dataclass(frozen=True, slots=True)
class Reference:
    """The distribution that a statistic is held against: Student's t, or the normal one without degrees of freedom."""

    alpha: float
    alternative: Alternative
    degrees_of_freedom: float | None = None

    def p_value(self, statistic: float) -> float:
        """P-value of a statistic, from the survival function so that small ones do not vanish."""
        law = stats.norm if self.degrees_of_freedom is None else stats.t(self.degrees_of_freedom)
        if self.alternative == "two-sided":
            return min(1.0, 2.0 * float(law.sf(abs(statistic))))
        return float(law.sf(statistic if self.alternative == "greater" else -statistic))

    @property
    def critical(self) -> float:
        """Critical value: at alpha / 2 for two sides, at alpha for one."""
        law = stats.norm if self.degrees_of_freedom is None else stats.t(self.degrees_of_freedom)
        return float(law.isf(self.alpha / 2 if self.alternative == "two-sided" else self.alpha))

    def bounds(self, estimate: float, standard_error: float) -> tuple[float, float]:
        """Bounds of the interval; open on the side that the alternative does not ask about."""
        half = self.critical * standard_error
        low = -inf if self.alternative == "less" else estimate - half
        high = inf if self.alternative == "greater" else estimate + half
        return low, high

    def effect(self, estimate: float, standard_error: float) -> Effect:
        """An effect with its interval and test."""
        statistic = statistic_of(estimate, standard_error)
        low, high = self.bounds(estimate, standard_error)
        return Effect(estimate, low, high, standard_error, statistic, self.p_value(statistic))


def statistic_of(estimate: float, standard_error: float) -> float:
    """Estimate over standard error; 0 for 0 / 0, and the largest float (JSON has no infinity) for x / 0."""
    if standard_error > 0:
        ratio = estimate / standard_error
        if isfinite(ratio):
            return ratio
    return 0.0 if estimate == 0 else (1.0 if estimate > 0 else -1.0) * 1.7976931348623157e308


def check_alpha(alpha: float) -> None:
    """Refuse an alpha outside (0, 1)."""
    if not 0 < alpha < 1:
        raise BadInput(f"alpha is {alpha}; it must lie strictly between 0 and 1.")


def _relative(
    control: ArmEstimate, difference: float, variance: float, reference: Reference, scale: RelativeScale
) -> tuple[Effect | None, str]:
    base = control.baseline
    if base == 0:
        return None, "Control's value is zero, so there is no relative effect."
    ratio = difference / base
    spread = variance + ratio * ratio * control.baseline_variance + 2.0 * ratio * control.covariance
    error = sqrt(max(spread, 0.0)) / abs(base)
    if scale == "linear" or base < 0:
        remark = "" if scale == "linear" else "Control's value is negative, so the relative interval is linear."
        return reference.effect(ratio, error), remark
    if ratio <= -1:
        return reference.effect(ratio, error), "The ratio to control is not positive, so its interval is linear."
    on_log = reference.effect(log1p(ratio), error / (1.0 + ratio))
    low = -1.0 if on_log.low == -inf else expm1(on_log.low)
    high = inf if on_log.high > 700 else exp(on_log.high) - 1.0
    return Effect(ratio, low, high, error, on_log.statistic, on_log.p_value), ""
