import numpy as np
import pytest

from trimtab.errors import BadInput
from trimtab.experiments.moments import Moments, merge_all


def test_no_digit_is_lost_far_from_zero() -> None:
    """Sums of squares give .983 for the variance of these."""
    values = np.random.default_rng(0).normal(1e7, 1.0, 100_000)
    parts = [Moments.of({"y": part}) for part in np.array_split(values, 37)]
    exact = float(np.var((values - 1e7), ddof=1))
    assert Moments.of({"y": values}).variance("y") == pytest.approx(exact, rel=1e-12)
    assert merge_all(parts).variance("y") == pytest.approx(exact, rel=1e-10)


def test_empty_is_neutral() -> None:
    full = Moments.of({"y": [1.0, 2.0]})
    for merged in (full.merge(Moments.empty(("y",))), Moments.empty(("y",)).merge(full)):
        assert (merged.n, merged.variance("y")) == (2, 0.5)
    assert Moments.of({"y": []}).n == 0


def test_summary_round_trip() -> None:
    moments = Moments.of_summary("y", n=10, mean=3.0, variance=2.0)
    assert moments.variance("y") == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Moments.of({"y": [1.0, float("nan")]}), "column 'y' has missing or infinite"),
        (lambda: Moments.of({"x": [1.0], "y": [float("inf")]}), "column 'y' has missing or infinite"),
        (lambda: Moments.of({"y": [1e200, -1e200]}), "overflowing"),
        (lambda: Moments.of({"x": [1.0], "y": [1.0, 2.0]}), "differ in length"),
        (lambda: Moments.of({"y": np.array(["a"])}), "not numeric"),
        (lambda: Moments.of({"y": [1.0]}).variance("y"), "a variance needs two"),
        (lambda: Moments.of({"y": [1.0, 2.0]}).variance("z"), "no moments of 'z'"),
        (lambda: Moments.of({"y": [1.0]}).merge(Moments.of({"z": [1.0]})), "cannot be merged"),
        (lambda: Moments.of_summary("y", n=10, mean=1.0, variance=-1.0), "negative variance"),
        (lambda: Moments.of_summary("y", n=10, mean=float("nan"), variance=1.0), "missing, infinite"),
        (lambda: Moments(("y",), -1, np.zeros(1), np.zeros((1, 1))), "negative count"),
        (lambda: Moments(("y",), 1, np.zeros(2), np.zeros((1, 1))), "shapes"),
        (lambda: merge_all([]), "no groups"),
    ],
)
def test_wrong_input_is_named(make: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make()  # type: ignore[operator]
