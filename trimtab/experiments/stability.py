"""Does the effect last (novelty), and does the machinery hold its error rate (A/A calibration)?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats

from trimtab.errors import BadInput
from trimtab.experiments.effects import Comparison, Effect, Reference, check_alpha
from trimtab.types import Interval


@dataclass(frozen=True, slots=True)
class Novelty:
    """Whether the effect changes from day to day.

    Attributes:
        slope: Change of the effect per day, in the effect's unit.
        standard_error: Of the slope.
        p_value: Of no slope, two-sided.
        present: Whether the effect wears off or grows, at the level asked for.
        statement: In words.
    """

    slope: float
    standard_error: float
    p_value: float
    present: bool
    statement: str


def novelty(days: Sequence[float], effects: Sequence[Effect], *, alpha: float = 0.05) -> Novelty:
    """Test whether an effect has a trend.

    Least squares of the daily effects on the day, weighted by their known variances, so the slope's standard error is
    sum(w (t - mean t)^2)^(-1/2) and the test is a z test. Each unit must count on one day only, that of its first
    exposure, or the days are not independent.

    Args:
        days: Day of each effect, in any order.
        effects: Effect on each day; days whose standard error is zero carry no information and are left out.
        alpha: Level of the test.

    Raises:
        BadInput: The lengths differ, or fewer than three informative days are left.
    """
    check_alpha(alpha)
    if len(days) != len(effects):
        raise BadInput(f"there are {len(days)} days but {len(effects)} effects.")
    kept = [(day, effect) for day, effect in zip(days, effects, strict=True) if effect.standard_error > 0]
    if len({day for day, _ in kept}) < 3:
        raise BadInput(f"a trend needs three days with data; there are {len({day for day, _ in kept})}.")
    times = np.array([day for day, _ in kept], dtype=float)
    weights = np.array([effect.standard_error**-2 for _, effect in kept])
    values = np.array([effect.estimate for _, effect in kept])
    centred = times - np.average(times, weights=weights)
    information = float(weights @ centred**2)
    slope = float((weights * centred) @ values) / information
    error = 1 / sqrt(information)
    p_value = Reference(alpha, "two-sided").p_value(slope / error)
    present = p_value < alpha
    text = f"changes by {slope:+.3g} a day (p = {p_value:.3g})"
    statement = f"The effect {text}." if present else f"No trend is shown: the effect {text}."
    return Novelty(slope, error, p_value, present, statement)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether p-values of A/A comparisons behave.

    Attributes:
        runs: Number of A/A comparisons.
        false_positives: Share below alpha, with its exact (Clopper-Pearson) 99.9% interval.
        uniform_p: P-value of the Kolmogorov-Smirnov test of uniformity.
        calibrated: Whether alpha lies in the interval and uniformity is not refuted at one in a thousand.
    """

    runs: int
    false_positives: Interval
    uniform_p: float
    calibrated: bool


def calibration(p_values: Sequence[float], *, alpha: float = 0.05) -> Calibration:
    """Judge the p-values of many comparisons without an effect.

    Raises:
        BadInput: There are none, or one lies outside [0, 1].
    """
    check_alpha(alpha)
    values = np.asarray(p_values, dtype=float)
    if not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise BadInput(f"calibration needs p-values in [0, 1]; {len(values)} were given.")
    runs, below = len(values), int((values < alpha).sum())
    low = float(stats.beta.ppf(0.0005, below, runs - below + 1)) if below else 0.0
    high = float(stats.beta.ppf(0.9995, below + 1, runs - below)) if below < runs else 1.0
    uniform = float(stats.kstest(values, "uniform").pvalue)
    return Calibration(runs, Interval(below / runs, low, high), uniform, low <= alpha <= high and uniform >= 0.001)


def power_at(comparison: Comparison, effect: float) -> float:
    """Power that the comparison had, with the precision it reached, for an absolute effect declared beforehand.

    Not for the effect that was seen: that "observed power" is the p-value in other clothes.

    >>> from trimtab.experiments.proportions import Proportion, compare_proportions
    >>> round(power_at(compare_proportions(Proportion(1000, 10000), Proportion(1000, 10000)), 0.01), 2)
    0.65
    """
    error = comparison.absolute.standard_error
    if error == 0:
        return 0.0 if effect == 0 else 1.0
    reference = Reference(comparison.alpha, comparison.alternative, comparison.degrees_of_freedom)
    shift = effect / error
    if comparison.alternative == "two-sided":
        return float(stats.norm.sf(reference.critical - abs(shift)) + stats.norm.cdf(-reference.critical - abs(shift)))
    return float(stats.norm.sf(reference.critical - (shift if comparison.alternative == "greater" else -shift)))
