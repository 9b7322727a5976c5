"""Miettinen-Nurminen score statistics for two proportions: the basis of score intervals and score tests.

O. Miettinen and M. Nurminen (1985), "Comparative analysis of two rates", Statistics in Medicine 4, 213-226. The
variance under a hypothesised difference or ratio is taken at the restricted maximum-likelihood estimates, so it never
vanishes merely because an arm has no successes, and the interval never leaves the parameter's range.

statsmodels up to 0.15 has a wrong coefficient in the cubic for a difference (its issue 10269), so its score interval
and its test against a margin differ from these in the third digit.
"""

from math import acos, copysign, cos, inf, pi, sqrt

from scipy import optimize, stats

from trimtab.experiments.effects import Alternative, statistic_of


def difference_statistic(x0: float, n0: float, x1: float, n1: float, *, difference: float) -> float:
    """Score statistic of the hypothesis p1 - p0 = `difference` (equations 8 and 9, restricted estimates of appendix I).

    Args:
        x0: Successes in control.
        n0: Units in control.
        x1: Successes in the treatment.
        n1: Units in the treatment.
        difference: Hypothesised difference, strictly between -1 and 1.
    """
    p0 = _restricted_for_difference(x0, n0, x1, n1, difference)
    p1 = min(1.0, max(0.0, p0 + difference))
    total = n0 + n1
    variance = (p0 * (1 - p0) / n0 + p1 * (1 - p1) / n1) * total / (total - 1)
    return statistic_of(x1 / n1 - x0 / n0 - difference, sqrt(max(variance, 0.0)))


def ratio_statistic(x0: float, n0: float, x1: float, n1: float, *, ratio: float) -> float:
    """Score statistic of the hypothesis p1 / p0 = `ratio` (equations 10 and 11)."""
    total = n0 + n1
    b = n1 * ratio + x1 + n0 + x0 * ratio
    root = sqrt(max(b * b - 4 * total * ratio * (x0 + x1), 0.0))
    p0 = 2 * (x0 + x1) / (b + root)  # The stable form of (b - root) / (2 N ratio).
    p1 = min(1.0, ratio * p0)
    variance = (p1 * (1 - p1) / n1 + ratio * ratio * p0 * (1 - p0) / n0) * total / (total - 1)
    return statistic_of(x1 / n1 - ratio * x0 / n0, sqrt(max(variance, 0.0)))


def difference_interval(
    x0: float, n0: float, x1: float, n1: float, *, alpha: float, alternative: Alternative
) -> tuple[float, float]:
    """Differences that the score test does not refuse; -1 or 1 on a side that the alternative leaves open."""
    z = _critical(alpha, alternative)
    estimate = x1 / n1 - x0 / n0
    edge = 1.0 - 1e-12

    def distance(difference: float, target: float) -> float:
        return difference_statistic(x0, n0, x1, n1, difference=difference) - target

    low, high = -1.0, 1.0
    if alternative != "less" and estimate > -edge and distance(-edge, z) > 0:
        low = optimize.brentq(distance, -edge, estimate, args=(z,), xtol=1e-13)
    if alternative != "greater" and estimate < edge and distance(edge, -z) < 0:
        high = optimize.brentq(distance, estimate, edge, args=(-z,), xtol=1e-13)
    return float(low), float(high)


def ratio_interval(
    x0: float, n0: float, x1: float, n1: float, *, alpha: float, alternative: Alternative
) -> tuple[float, float]:
    """Ratios that the score test does not refuse; 0 or infinity on a side that is open. Needs a success in control."""
    z = _critical(alpha, alternative)
    estimate = (x1 / n1) / (x0 / n0)

    def distance(ratio: float, target: float) -> float:
        return ratio_statistic(x0, n0, x1, n1, ratio=ratio) - target

    low, high = 0.0, inf
    if alternative != "less" and x1 > 0:
        low = optimize.brentq(distance, 0.0, estimate, args=(z,), xtol=1e-14)
    if alternative != "greater":
        above = max(2.0 * estimate, n0 / n1, 1.0)
        while distance(above, -z) > 0:
            above *= 2.0
        high = optimize.brentq(distance, estimate, above, args=(-z,), xtol=1e-14)
    return float(low), float(high)


def _critical(alpha: float, alternative: Alternative) -> float:
    return float(stats.norm.isf(alpha / 2 if alternative == "two-sided" else alpha))


def _restricted_for_difference(x0: float, n0: float, x1: float, n1: float, difference: float) -> float:
    """The likelihood's cubic in p0, solved in closed form."""
    total, successes = n0 + n1, x0 + x1
    if difference == 0:
        return successes / total
    l2 = (n1 + 2 * n0) * difference - total - successes
    l1 = (n0 * difference - total - 2 * x0) * difference + successes
    l0 = x0 * difference * (1 - difference)
    q = (l2 / (3 * total)) ** 3 - l1 * l2 / (6 * total**2) + l0 / (2 * total)
    p = copysign(sqrt(max((l2 / (3 * total)) ** 2 - l1 / (3 * total), 0.0)), q)
    if p == 0:
        return min(max(-l2 / (3 * total), 0.0, -difference), 1.0, 1.0 - difference)
    angle = (pi + acos(min(1.0, max(-1.0, q / p**3)))) / 3
    root = 2 * p * cos(angle) - l2 / (3 * total)
    return min(max(root, 0.0, -difference), 1.0, 1.0 - difference)
