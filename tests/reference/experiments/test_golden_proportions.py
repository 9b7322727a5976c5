"""Vectors for two proportions.

The vectors' score interval (.052552, .344039) and score p-value .165268 were computed with statsmodels, whose
restricted estimate does not maximise the likelihood (its issue 10269: `count0` stands where `nobs0` belongs). The
digits are reproduced here with that coefficient, to show where they come from; the product uses the true maximum.
"""

from math import log, sqrt

import numpy as np
import pytest
from scipy import optimize, stats

from trimtab.experiments.noninferiority import noninferior_proportions
from trimtab.experiments.proportions import Proportion, compare_proportions
from trimtab.experiments.score import difference_statistic

CONTROL, TREATMENT = Proportion(48, 80), Proportion(56, 70)


def defective_statistic(control: Proportion, treatment: Proportion, difference: float) -> float:
    x0, n0, x1, n1 = control.successes, control.n, treatment.successes, treatment.n
    total, successes = n0 + n1, x0 + x1
    cubic = [
        total,
        (n1 + 2 * n0) * difference - total - successes,
        (x0 * difference - total - 2 * x0) * difference + successes,
        x0 * difference * (1 - difference),
    ]
    real = [root.real for root in np.roots(cubic) if abs(root.imag) < 1e-9]
    (p0,) = (root for root in real if max(0.0, -difference) < root < min(1.0, 1 - difference))
    p1 = p0 + difference
    variance = (p0 * (1 - p0) / n0 + p1 * (1 - p1) / n1) * total / (total - 1)
    return float((treatment.rate - control.rate - difference) / sqrt(variance))


def true_statistic(control: Proportion, treatment: Proportion, difference: float) -> float:
    """With the restricted estimate found by maximising the likelihood itself."""
    x0, n0, x1, n1 = control.successes, control.n, treatment.successes, treatment.n

    def loss(p0: float) -> float:
        p1 = p0 + difference
        return -(x0 * log(p0) + (n0 - x0) * log(1 - p0) + x1 * log(p1) + (n1 - x1) * log(1 - p1))

    edges = max(0.0, -difference) + 1e-12, min(1.0, 1 - difference) - 1e-12
    p0 = optimize.minimize_scalar(loss, bounds=edges, method="bounded", options={"xatol": 1e-13}).x
    p1 = p0 + difference
    total = n0 + n1
    variance = (p0 * (1 - p0) / n0 + p1 * (1 - p1) / n1) * total / (total - 1)
    return float((treatment.rate - control.rate - difference) / sqrt(variance))


def test_newcombe_interval() -> None:
    newcombe = compare_proportions(CONTROL, TREATMENT, method="newcombe").absolute
    assert (newcombe.low, newcombe.high) == pytest.approx((0.052431, 0.333873), abs=5e-7)


def test_where_the_score_digits_of_the_vectors_come_from() -> None:
    z = stats.norm.isf(0.025)
    low = optimize.brentq(lambda d: defective_statistic(CONTROL, TREATMENT, d) - z, 0.01, 0.19)
    high = optimize.brentq(lambda d: defective_statistic(CONTROL, TREATMENT, d) + z, 0.21, 0.36)
    assert (low, high) == pytest.approx((0.052552, 0.344039), abs=5e-7)
    margin = defective_statistic(Proportion(950, 1000), Proportion(940, 1000), -0.02)
    assert stats.norm.sf(margin) == pytest.approx(0.165268, abs=5e-7)


def test_score_interval_and_test_at_the_true_maximum() -> None:
    z = stats.norm.isf(0.025)
    score = compare_proportions(CONTROL, TREATMENT, method="score").absolute
    assert (score.low, score.high) == pytest.approx((0.052830, 0.338173), abs=5e-7)
    assert true_statistic(CONTROL, TREATMENT, score.low) == pytest.approx(z, abs=1e-6)
    assert true_statistic(CONTROL, TREATMENT, score.high) == pytest.approx(-z, abs=1e-6)
    found = noninferior_proportions(Proportion(950, 1000), Proportion(940, 1000), margin=0.02)
    assert found.p_value == pytest.approx(0.164906, abs=5e-7)


@pytest.mark.parametrize("difference", [-0.6, -0.2, -0.01, 0.05, 0.3, 0.7])
@pytest.mark.parametrize("counts", [(6, 12, 6, 38), (3, 50, 45, 50), (500, 1000, 20, 40)])
def test_the_closed_form_is_the_maximum(difference: float, counts: tuple[int, int, int, int]) -> None:
    x0, n0, x1, n1 = counts
    expected = true_statistic(Proportion(x0, n0), Proportion(x1, n1), difference)
    assert difference_statistic(x0, n0, x1, n1, difference=difference) == pytest.approx(expected, rel=1e-5, abs=1e-6)
