import numpy as np
import pytest

from trimtab.experiments.always_valid import (
    confidence_sequence,
    confidence_sequence_multiplier,
    mixture_likelihood_ratio,
    msprt,
)
from trimtab.experiments.effects import Effect
from trimtab.experiments.means import Measure, compare_means
from trimtab.experiments.moments import Moments
from trimtab.experiments.proportions import Proportion, compare_proportions


def from_sums(n: int, y: float, yy: float) -> Moments:
    return Moments(("y",), n, np.array([y / n]), np.array([[yy - y * y / n]]))


def test_confidence_sequence_of_means() -> None:
    control, treatment = from_sums(3000, 1396.87, 52377.9767), from_sums(3461, 2422.7, 134698.29)
    effect = compare_means(control, treatment, Measure("y"), relative="linear").relative
    assert effect is not None
    result = confidence_sequence(effect, 6461, optimised_for=1000)
    assert (result.estimate, result.low, result.high) == pytest.approx((0.50336, -0.55844, 1.56516), abs=5e-6)


def test_confidence_sequence_of_proportions() -> None:
    counts = Proportion(1396, 3000), Proportion(2422, 3461)
    effect = compare_proportions(*counts, method="wald", relative="linear").relative
    assert effect is not None
    result = confidence_sequence(effect, 6461, optimised_for=5000)
    assert (result.estimate, result.low, result.high) == pytest.approx((0.50386, 0.40098, 0.60675), abs=5e-6)


@pytest.mark.parametrize(("n", "factor"), [(1_000, 3.36389), (5_000, 3.03521), (10_000, 3.06148), (100_000, 3.33686)])
def test_half_width_in_standard_errors(n: int, factor: float) -> None:
    assert confidence_sequence_multiplier(n, optimised_for=5_000) == pytest.approx(factor, abs=5e-6)


@pytest.mark.parametrize(
    ("n", "delta", "ratio"), [(1_000, 0.1, 3.27872), (5_000, 0.06, 14.84814), (10_000, 0.04, 7.06855)]
)
def test_mixture_ratio(n: int, delta: float, ratio: float) -> None:
    variance = 2.0 / n
    assert mixture_likelihood_ratio(delta, variance, mixing_variance=0.01) == pytest.approx(ratio, abs=5e-6)
    effect = Effect(delta, 0, 0, variance**0.5, 0, 1)
    assert msprt(effect, mixing_variance=0.01).p_value == pytest.approx(1 / ratio, rel=1e-5)
