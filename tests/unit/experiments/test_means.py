from math import inf

import numpy as np
import pytest

from trimtab.errors import BadInput
from trimtab.experiments.means import Measure, compare_means, theta, variance_saving
from trimtab.experiments.moments import Moments

Y = Measure("y")


def constant(value: float, n: int = 5) -> Moments:
    return Moments.of({"y": np.full(n, value), "x": np.arange(n, dtype=float)})


def test_no_variance_and_no_difference() -> None:
    result = compare_means(constant(2.0), constant(2.0), Y)
    assert (result.p_value, result.statistic) == (1.0, 0.0)
    assert result.absolute.low == result.absolute.high == 0.0
    assert result.note == "Neither arm varies."


def test_no_variance_but_a_difference() -> None:
    result = compare_means(constant(2.0), constant(3.0), Y)
    assert result.p_value == 0.0
    assert result.statistic < inf
    assert result.relative is not None
    assert result.relative.estimate == pytest.approx(0.5)


def test_control_of_zero_has_no_relative_effect() -> None:
    result = compare_means(Moments.of({"y": [-1.0, 1.0]}), Moments.of({"y": [1.0, 2.0]}), Y)
    assert result.relative is None
    assert "no relative effect" in result.note


@pytest.mark.parametrize(("control", "treatment"), [([-3.0, -1.0], [1.0, 2.0]), ([3.0, 1.0], [-1.0, -2.0])])
def test_negative_values_fall_back_to_the_linear_interval(control: list[float], treatment: list[float]) -> None:
    result = compare_means(Moments.of({"y": control}), Moments.of({"y": treatment}), Y)
    assert result.relative is not None
    assert "its interval is linear" in result.note
    assert result.relative.low < result.relative.estimate < result.relative.high


def test_log_interval_never_falls_below_minus_one() -> None:
    control, treatment = Moments.of({"y": [0.0, 0.0, 9.0, 1.0]}), Moments.of({"y": [0.0, 0.0, 0.0, 0.1]})
    effect = compare_means(control, treatment, Y).relative
    assert effect is not None
    assert -1.0 <= effect.low < effect.estimate < effect.high < inf


def test_a_covariate_that_does_not_vary_adjusts_nothing() -> None:
    rng = np.random.default_rng(3)
    arms = [Moments.of({"y": rng.normal(5, 1, 50), "x": np.ones(50)}) for _ in range(2)]
    plain, adjusted = compare_means(arms[0], arms[1], Y), compare_means(arms[0], arms[1], Y, covariate=Measure("x"))
    assert theta(arms[0], Y, Measure("x")) == 0.0
    assert adjusted.p_value == plain.p_value
    assert "explains nothing" in adjusted.note


def test_a_perfect_covariate_saves_everything() -> None:
    moments = Moments.of({"y": [1.0, 2.0, 3.0], "x": [2.0, 4.0, 6.0]})
    assert variance_saving(moments, Y, Measure("x")) == pytest.approx(1.0)
    assert variance_saving(constant(1.0), Y, Measure("x")) == 0.0


def test_cuped_halves_the_variance_of_a_correlated_metric() -> None:
    rng = np.random.default_rng(4)
    arms = []
    for lift in (0.0, 0.1):
        x = rng.normal(10, 1, 20_000)
        arms.append(Moments.of({"y": x + rng.normal(lift, 1, 20_000), "x": x}))
    plain = compare_means(arms[0], arms[1], Y)
    adjusted = compare_means(arms[0], arms[1], Y, covariate=Measure("x"))
    assert adjusted.absolute.standard_error == pytest.approx(plain.absolute.standard_error / np.sqrt(2), rel=0.02)
    assert adjusted.control == plain.control


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_means(Moments.of({"y": [1.0]}), constant(1.0), Y), "a variance needs two"),
        (lambda: compare_means(Moments.empty(("y",)), Moments.of({"y": [1.0, 2.0]}), Y), "a variance needs two"),
        (lambda: compare_means(constant(1.0), constant(1.0), Measure("z")), "no moments of 'z'"),
        (lambda: compare_means(constant(0.0), constant(0.0), Measure("x", "y")), "denominator of zero"),
        (lambda: compare_means(constant(1.0), constant(1.0), Y, alpha=1.0), "alpha is 1"),
    ],
)
def test_wrong_input_is_named(call: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        call()  # type: ignore[operator]
