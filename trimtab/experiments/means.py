"""Comparison of means and of ratios of means, with or without a covariate from before the experiment (CUPED).

A mean and a ratio are both smooth functions of a vector of means, so one delta method serves them all: with gradient g
at the means and covariance S of the columns, the estimate's variance is g' S g / n. Units are independent; what happens
within a unit (many sessions, many clicks) may depend on each other, which is why a click-through rate per session is a
ratio and not a proportion.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trimtab.errors import BadInput
from trimtab.experiments.effects import Alternative, ArmEstimate, Comparison, RelativeScale, compare
from trimtab.experiments.moments import Floats, Moments

Baseline = Literal["unadjusted", "adjusted"]


@dataclass(frozen=True, slots=True)
class Measure:
    """What a metric is: the mean of a column per unit, or the ratio of two columns' means.

    Attributes:
        numerator: Column, or the ratio's upper column.
        denominator: The ratio's lower column; None for a mean.
    """

    numerator: str
    denominator: str | None = None

    def value(self, moments: Moments) -> float:
        """The metric's value.

        Raises:
            BadInput: The denominator's mean is zero.
        """
        above = float(moments.mean[moments.place(self.numerator)])
        return above if self.denominator is None else above / self._below(moments, self.denominator)

    def gradient(self, moments: Moments) -> Floats:
        """Derivative of the value with respect to the columns' means, shape [columns]."""
        gradient = np.zeros(len(moments.columns))
        if self.denominator is None:
            gradient[moments.place(self.numerator)] = 1.0
            return gradient
        below = self._below(moments, self.denominator)
        gradient[moments.place(self.numerator)] += 1.0 / below
        gradient[moments.place(self.denominator)] -= self.value(moments) / below
        return gradient

    def _below(self, moments: Moments, denominator: str) -> float:
        below = float(moments.mean[moments.place(denominator)])
        if below == 0:
            raise BadInput(f"ratio '{self.numerator}/{denominator}' has a denominator of zero.")
        return below


def compare_means(
    control: Moments,
    treatment: Moments,
    measure: Measure,
    *,
    covariate: Measure | None = None,
    baseline: Baseline = "unadjusted",
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    relative: RelativeScale = "log",
) -> Comparison:
    """Compare a mean or a ratio between two arms, by Welch's t.

    Estimand: the difference, absolute and relative, of the metric's expectation. The variances may differ. Source:
    Welch (1947); for ratios Deng, Knoblich and Lu (2018), "Applying the delta method in metric analytics";
    for the covariate Deng, Xu, Kohavi and Walker (2013), "Improving the sensitivity of online controlled experiments by
    utilizing pre-experiment data", section 3. Each arm's estimate is moved by theta times the distance of its
    covariate from the pooled one, theta being the pooled regression coefficient.

    Args:
        control: Control's moments.
        treatment: The treatment's moments.
        measure: The metric.
        covariate: A metric measured before the units were exposed.
        baseline: What a relative effect of adjusted estimates is relative to: control's plain value, whose covariance
            with the adjusted one enters the variance, or control's adjusted value.
        alpha: The intervals have confidence 1 - alpha.
        alternative: `greater` asks whether the treatment is greater.
        relative: Scale of the relative interval.

    Raises:
        BadInput: An arm has fewer than two units, a column is absent, or a denominator is zero.

    >>> a, b = Moments.of({"y": [1.0, 2.0, 3.0, 4.0]}), Moments.of({"y": [3.0, 4.0, 5.0, 7.0]})
    >>> round(compare_means(a, b, Measure("y")).p_value, 4)
    0.0837
    """
    shape = "mean" if measure.denominator is None else "ratio"
    estimates = [plain(arm, measure) for arm in (control, treatment)]
    note = ""
    if covariate is not None:
        coefficient = theta(control.merge(treatment), measure, covariate)
        centre = covariate.value(control.merge(treatment))
        estimates = [adjusted(arm, measure, covariate, coefficient, centre) for arm in (control, treatment)]
        if baseline == "adjusted":
            estimates = [ArmEstimate.plain(arm.value, arm.variance, arm.n) for arm in estimates]
        if coefficient == 0:
            note = "The covariate explains nothing, so nothing was adjusted."
    return compare(
        *estimates,
        method=f"{shape}, Welch" if covariate is None else f"{shape}, Welch with CUPED",
        alpha=alpha,
        alternative=alternative,
        relative=relative,
        distribution="t",
        note=note,
    )


def plain(moments: Moments, measure: Measure) -> ArmEstimate:
    """One arm's estimate and its delta-method variance."""
    gradient = measure.gradient(moments)
    return ArmEstimate.plain(measure.value(moments), _quadratic(gradient, moments, gradient) / moments.n, moments.n)


def theta(pooled: Moments, measure: Measure, covariate: Measure) -> float:
    """CUPED's coefficient: covariance of metric and covariate over the covariate's variance, 0 where that is 0.

    >>> round(theta(Moments.of({"x": [0.3, 0.5, 0.9, 22], "y": [2, 1, 5, 3]}), Measure("y"), Measure("x")), 9)
    0.01863791
    """
    before = covariate.gradient(pooled)
    spread = _quadratic(before, pooled, before)
    return _quadratic(measure.gradient(pooled), pooled, before) / spread if spread > 0 else 0.0


def adjusted(moments: Moments, measure: Measure, covariate: Measure, coefficient: float, centre: float) -> ArmEstimate:
    """One arm's estimate, moved to where its covariate would be `centre`."""
    outcome, before = measure.gradient(moments), covariate.gradient(moments)
    moved = outcome - coefficient * before
    value = measure.value(moments)
    return ArmEstimate(
        value=value - coefficient * (covariate.value(moments) - centre),
        variance=_quadratic(moved, moments, moved) / moments.n,
        n=moments.n,
        baseline=value,
        baseline_variance=_quadratic(outcome, moments, outcome) / moments.n,
        covariance=_quadratic(moved, moments, outcome) / moments.n,
    )


def variance_saving(moments: Moments, measure: Measure, covariate: Measure) -> float:
    """Share of the variance that the covariate removes: the squared correlation, 0 to 1.

    Raises:
        BadInput: There are fewer than two units.
    """
    outcome, before = measure.gradient(moments), covariate.gradient(moments)
    product = _quadratic(outcome, moments, outcome) * _quadratic(before, moments, before)
    return min(1.0, _quadratic(outcome, moments, before) ** 2 / product) if product > 0 else 0.0


def _quadratic(left: Floats, moments: Moments, right: Floats) -> float:
    value = float(left @ moments.covariance() @ right)
    return max(value, 0.0) if left is right else value
