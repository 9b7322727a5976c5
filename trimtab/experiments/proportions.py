"""Comparison of two proportions: conversion, retention, click-through per unit.

Estimand: the difference, and the relative difference, of the probabilities that a unit succeeds. Assumes independent
units, each counted once.
"""

from dataclasses import dataclass, replace
from math import inf, isfinite, sqrt
from typing import Literal

from scipy import stats

from trimtab.errors import BadInput
from trimtab.experiments.effects import (
    Alternative,
    ArmEstimate,
    Comparison,
    Effect,
    Reference,
    RelativeScale,
    check_alpha,
    compare,
    statistic_of,
)
from trimtab.experiments.score import difference_interval, difference_statistic, ratio_interval, ratio_statistic

ProportionMethod = Literal["newcombe", "score", "wald", "welch"]


@dataclass(frozen=True, slots=True)
class Proportion:
    """Successes among units.

    Attributes:
        successes: Units that succeeded.
        n: Units.
    """

    successes: float
    n: int

    def __post_init__(self) -> None:
        if not (isfinite(self.successes) and isfinite(self.n)) or self.n < 1 or not 0 <= self.successes <= self.n:
            raise BadInput(f"{self.successes} successes of {self.n} units is not a proportion.")

    @property
    def rate(self) -> float:
        """Share of units that succeeded."""
        return self.successes / self.n

    @property
    def variance(self) -> float:
        """Variance of the rate, p (1 - p) / n."""
        return self.rate * (1 - self.rate) / self.n


def compare_proportions(
    control: Proportion,
    treatment: Proportion,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    method: ProportionMethod = "newcombe",
    relative: RelativeScale | Literal["score"] = "log",
) -> Comparison:
    """Compare the rates of two arms.

    Args:
        control: Control's counts.
        treatment: The treatment's counts.
        alpha: The intervals have confidence 1 - alpha.
        alternative: `greater` asks whether the treatment's rate is greater.
        method: `newcombe`: pooled z test and the square-and-add interval of Wilson bounds (Newcombe 1998, method 10).
            `score`: Miettinen-Nurminen test and interval. `wald`: unpooled z. `welch`: unpooled, Student's t.
        relative: Interval of the relative effect: on the log scale (Katz et al. 1978), linear by the delta method, or
            `score` (Miettinen-Nurminen for the ratio). Where an arm has no success, or both have nothing else, the
            first two are undefined or of zero width, so the score interval stands in and the note says so.

    Returns:
        The comparison. Control's rate of zero leaves no relative effect.

    Raises:
        BadInput: Alpha lies outside (0, 1), or `welch` is asked for and an arm has fewer than two units.

    >>> result = compare_proportions(Proportion(48, 80), Proportion(56, 70))
    >>> round(result.absolute.low, 6), round(result.absolute.high, 6)
    (0.052431, 0.333873)
    """
    check_alpha(alpha)
    degenerate = treatment.successes == 0 or treatment.variance + control.variance == 0
    scale: RelativeScale = "linear" if relative == "score" or degenerate else relative
    result = compare(
        ArmEstimate.plain(control.rate, control.variance, control.n),
        ArmEstimate.plain(treatment.rate, treatment.variance, treatment.n),
        method=f"proportions, {method}",
        alpha=alpha,
        alternative=alternative,
        relative=scale,
        distribution="t" if method == "welch" else "normal",
    )
    absolute = _absolute(control, treatment, result.absolute, method, Reference(alpha, alternative))
    result = replace(result, absolute=absolute, p_value=absolute.p_value, statistic=absolute.statistic)
    if result.relative is None or not (relative == "score" or degenerate):
        return result
    note = "" if relative == "score" else "An arm does not vary: the relative interval is the score interval."
    return replace(result, relative=_score_relative(control, treatment, result.relative, alpha, alternative), note=note)


def wilson_interval(proportion: Proportion, *, alpha: float = 0.05, two_sided: bool = True) -> tuple[float, float]:
    """Wilson's (1927) score interval of one rate; with `two_sided` false each bound alone has confidence 1 - alpha.

    >>> [round(bound, 4) for bound in wilson_interval(Proportion(0, 10))]
    [0.0, 0.2775]
    """
    z = float(stats.norm.isf(alpha / 2 if two_sided else alpha))
    n, p = proportion.n, proportion.rate
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if proportion.successes == 0 else max(0.0, centre - half)
    high = 1.0 if proportion.successes == n else min(1.0, centre + half)
    return low, high


def _absolute(
    control: Proportion, treatment: Proportion, wald: Effect, method: ProportionMethod, reference: Reference
) -> Effect:
    if method in ("wald", "welch"):
        return wald
    if method == "score":
        counts = (control.successes, control.n, treatment.successes, treatment.n)
        low, high = difference_interval(*counts, alpha=reference.alpha, alternative=reference.alternative)
        statistic = difference_statistic(*counts, difference=0.0)
    else:
        low, high = newcombe_interval(control, treatment, alpha=reference.alpha, alternative=reference.alternative)
        pooled = (control.successes + treatment.successes) / (control.n + treatment.n)
        spread = sqrt(pooled * (1 - pooled) * (1 / control.n + 1 / treatment.n))
        statistic = statistic_of(wald.estimate, spread)
    if reference.alternative == "less":
        low = -inf
    if reference.alternative == "greater":
        high = inf
    return Effect(wald.estimate, low, high, wald.standard_error, statistic, reference.p_value(statistic))


def newcombe_interval(
    control: Proportion, treatment: Proportion, *, alpha: float, alternative: Alternative = "two-sided"
) -> tuple[float, float]:
    """Newcombe's (1998) hybrid score interval of treatment's rate less control's, method 10."""
    two_sided = alternative == "two-sided"
    low0, high0 = wilson_interval(control, alpha=alpha, two_sided=two_sided)
    low1, high1 = wilson_interval(treatment, alpha=alpha, two_sided=two_sided)
    p0, p1 = control.rate, treatment.rate
    below = sqrt((p1 - low1) ** 2 + (high0 - p0) ** 2)
    above = sqrt((high1 - p1) ** 2 + (p0 - low0) ** 2)
    return p1 - p0 - below, p1 - p0 + above


def _score_relative(
    control: Proportion, treatment: Proportion, linear: Effect, alpha: float, alternative: Alternative
) -> Effect:
    counts = (control.successes, control.n, treatment.successes, treatment.n)
    low, high = ratio_interval(*counts, alpha=alpha, alternative=alternative)
    statistic = ratio_statistic(*counts, ratio=1.0)
    p_value = Reference(alpha, alternative).p_value(statistic)
    return Effect(linear.estimate, low - 1.0, high - 1.0, linear.standard_error, statistic, p_value)
