import numpy as np
import pytest

from trimtab.errors import BadInput
from trimtab.experiments.capping import cap, cap_at_quantiles
from trimtab.experiments.quantiles import QuantileSummary, compare_quantiles


def test_variance_is_that_of_theory() -> None:
    """The median of n standard normals has variance pi / 2 / n."""
    values = np.random.default_rng(0).normal(size=200_000)
    summary = QuantileSummary.of(values, 0.5)
    assert summary.value == pytest.approx(0.0, abs=0.02)
    assert summary.variance * len(values) == pytest.approx(np.pi / 2, rel=0.1)


def test_a_shift_is_found() -> None:
    rng = np.random.default_rng(1)
    arms = [QuantileSummary.of(rng.lognormal(size=4_000) * scale, 0.9) for scale in (1.0, 1.2)]
    result = compare_quantiles(arms[0], arms[1])
    assert result.p_value < 0.01
    assert result.relative is not None
    assert result.relative.low < 0.2 < result.relative.high


def test_tied_values_have_no_variance_and_no_nan() -> None:
    tied = QuantileSummary.of(np.zeros(100), 0.5)
    assert compare_quantiles(tied, tied).p_value == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: QuantileSummary.of([1.0] * 10, 0.5), "10 values are too few for the 0.5 quantile"),
        (lambda: QuantileSummary.of([], 0.5), "0 values are too few"),
        (lambda: QuantileSummary.of([1.0] * 100, 1.0), "quantile is 1.0"),
        (lambda: QuantileSummary.of([float("nan")] * 100, 0.5), "missing or infinite"),
        (lambda: QuantileSummary(10, 1.0, 2.0, 3.0, 1.0), "lie in its bounds"),
        (lambda: cap([float("nan")]), "are missing"),
        (lambda: cap([1.0], lower=2.0, upper=1.0), "cannot be capped"),
        (lambda: cap_at_quantiles([1.0], upper=1.5), "must be ordered"),
        (lambda: cap_at_quantiles([1.0], groups=["a", "b"]), "1 values but 2 groups"),
    ],
)
def test_wrong_input_is_named(call: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        call()  # type: ignore[operator]


def test_capping_at_quantiles_by_group() -> None:
    values = np.r_[np.arange(100.0), 10 * np.arange(100.0)]
    groups = ["small"] * 100 + ["large"] * 100
    capped = cap_at_quantiles(values, upper=0.9, groups=groups)
    assert capped.upper == pytest.approx({"small": 89.1, "large": 891.0})
    assert capped.values[:100].max() == pytest.approx(89.1)
    assert capped.share == pytest.approx(0.1)


def test_zeros_may_be_left_out_of_the_threshold() -> None:
    values = np.r_[np.zeros(900), np.arange(1.0, 101.0)]
    assert cap_at_quantiles(values, upper=0.9).upper[""] == pytest.approx(0.1)
    capped = cap_at_quantiles(values, upper=0.9, ignore_zeros=True)
    assert capped.upper[""] == pytest.approx(90.1)
    assert (capped.values[:900] == 0).all()
    assert cap_at_quantiles(np.zeros(5), ignore_zeros=True).share == 0.0


def test_nothing_is_capped_without_thresholds() -> None:
    assert cap([1.0, 1e9]).share == 0.0
    assert cap_at_quantiles([1.0, 2.0], upper=1.0).share == 0.0
