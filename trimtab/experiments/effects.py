"""What every comparison of two arms returns, and the arithmetic that all estimators share.

An estimator reduces each arm to an `ArmEstimate`; `compare` turns two of them into an absolute and a relative effect.
"""

import sys
from dataclasses import dataclass, replace
from math import copysign, expm1, inf, isfinite, log1p, sqrt
from typing import Annotated, Literal

from pydantic import BeforeValidator
from scipy import special

from trimtab.errors import BadInput

Alternative = Literal["two-sided", "greater", "less"]
RelativeScale = Literal["log", "linear"]
Distribution = Literal["normal", "t"]
Direction = Literal["higher", "lower"]

# JSON has no infinity: an open bound is written as null and read back as the infinity of its side.
LowerBound = Annotated[float, BeforeValidator(lambda value: -inf if value is None else value)]
UpperBound = Annotated[float, BeforeValidator(lambda value: inf if value is None else value)]

LOG_LIMIT = 700.0  # exp of it is near the largest float.


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
    distribution: Distribution = "normal",
    note: str = "",
) -> Comparison:
    """Absolute and relative effect of two independent arms.

    The relative effect is the absolute one over control's baseline B, R = D / B. By the delta method
    Var(R) = (Var(D) + R^2 Var(B) - 2 R Cov(D, B)) / B^2, where Cov(D, B) is minus control's covariance of estimate and
    baseline, and the R in it comes from the unadjusted estimates. On the log scale the interval is
    (1 + R) exp(-+ z se / (1 + R)) - 1 (Katz et al. 1978 for proportions), which respects that a positive metric cannot
    fall by more than 100%; where the ratio is not positive the linear scale is used and the note says so. Zero variance
    in both arms gives p = 1 without a difference and p = 0 with one. Student's t takes Welch's degrees of freedom, on
    the log scale those of the relative variances.

    Raises:
        BadInput: Alpha lies outside (0, 1), or `t` is asked for and an arm has fewer than two units.
    """
    check_alpha(alpha)
    difference = treatment.value - control.value
    variance = treatment.variance + control.variance
    freedom = None
    if distribution == "t":
        freedom = welch_degrees(control.variance, control.n, treatment.variance, treatment.n)
    reference = Reference(alpha, alternative, freedom)
    absolute = reference.effect(difference, sqrt(variance))
    proportional, remark = _relative(control, treatment, reference, relative)
    return Comparison(
        control=control.baseline,
        treatment=treatment.baseline,
        n_control=control.n,
        n_treatment=treatment.n,
        absolute=absolute,
        relative=proportional,
        p_value=absolute.p_value,
        statistic=absolute.statistic,
        degrees_of_freedom=reference.degrees_of_freedom,
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
        """P-value of a statistic, from the nearer tail so that small ones do not vanish."""
        if self.alternative == "two-sided":
            return min(1.0, 2.0 * self._below(-abs(statistic)))
        return self._below(-statistic if self.alternative == "greater" else statistic)

    @property
    def critical(self) -> float:
        """Critical value: at alpha / 2 for two sides, at alpha for one."""
        tail = self.alpha / 2 if self.alternative == "two-sided" else self.alpha
        if self.degrees_of_freedom is None:
            return -float(special.ndtri(tail))
        return -float(special.stdtrit(self.degrees_of_freedom, tail))

    def _below(self, value: float) -> float:
        if self.degrees_of_freedom is None:
            return float(special.ndtr(value))
        return float(special.stdtr(self.degrees_of_freedom, value))

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
    return copysign(sys.float_info.max, estimate) if estimate else 0.0


def check_alpha(alpha: float) -> None:
    """Refuse an alpha outside (0, 1)."""
    if not 0 < alpha < 1:
        raise BadInput(f"alpha is {alpha}; it must lie strictly between 0 and 1.")


def welch_degrees(variance0: float, n0: int, variance1: float, n1: int) -> float:
    """Welch-Satterthwaite degrees of freedom from the variances of two estimates.

    The smaller arm's n - 1 where neither varies.

    Raises:
        BadInput: An arm has fewer than two units.
    """
    if min(n0, n1) < 2:
        raise BadInput(f"the arms have {n0} and {n1} units; a variance needs two in each.")
    spread = variance0 + variance1
    if spread <= 0:
        return float(min(n0, n1) - 1)
    share = variance0 / spread
    return 1.0 / (share * share / (n0 - 1) + (1 - share) ** 2 / (n1 - 1))


def _relative(
    control: ArmEstimate, treatment: ArmEstimate, reference: Reference, scale: RelativeScale
) -> tuple[Effect | None, str]:
    base = control.baseline
    if base == 0:
        return None, "Control's value is zero, so there is no relative effect."
    ratio = (treatment.value - control.value) / base
    slope = treatment.baseline / base - 1.0  # R as randomisation has it: with no difference between the covariates.
    spread = max(0.0, control.variance + slope * slope * control.baseline_variance + 2 * slope * control.covariance)
    error = sqrt(spread + treatment.variance) / abs(base)
    if scale == "linear" or base < 0 or ratio <= -1:
        remark = "" if scale == "linear" else "The ratio to control is not positive, so its interval is linear."
        return reference.effect(ratio, error), remark
    if reference.degrees_of_freedom is not None:
        freedom = welch_degrees(spread, control.n, treatment.variance, treatment.n)
        reference = replace(reference, degrees_of_freedom=freedom)
    on_log = reference.effect(log1p(ratio), error / (1.0 + ratio))
    low, high = max(on_log.low, -LOG_LIMIT), min(on_log.high, LOG_LIMIT)
    return Effect(
        ratio,
        -1.0 if on_log.low == -inf else expm1(low),
        inf if on_log.high == inf else expm1(high),
        error,
        on_log.statistic,
        on_log.p_value,
    ), ""
