from math import inf

import pytest

from trimtab.errors import BadInput
from trimtab.experiments.always_valid import (
    confidence_sequence,
    confidence_sequence_multiplier,
    mixture_likelihood_ratio,
    msprt,
)
from trimtab.experiments.effects import Alternative, Effect


def effect(estimate: float, error: float = 0.01) -> Effect:
    return Effect(estimate, 0, 0, error, 0, 1)


@pytest.mark.parametrize("estimate", [0.0, 0.02, 0.035, 0.06])
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_p_value_and_interval_tell_the_same(estimate: float, alternative: Alternative) -> None:
    result = confidence_sequence(effect(estimate), 4_000, optimised_for=5_000, alternative=alternative)
    assert (result.p_value < 0.05) == (result.low > 0 or result.high < 0)
    assert result.reason.startswith("Stop at will" if result.p_value < 0.05 else "No claim yet")
    assert 0 <= result.p_value <= 1


def test_p_value_on_the_edge_is_alpha() -> None:
    for alternative in ("two-sided", "greater"):
        z = confidence_sequence_multiplier(4_000, optimised_for=5_000, alternative=alternative)
        edge = confidence_sequence(effect(0.01 * z), 4_000, optimised_for=5_000, alternative=alternative)
        assert edge.p_value == pytest.approx(0.05)


def test_tightest_near_the_size_it_is_optimised_for() -> None:
    widths = {n: confidence_sequence_multiplier(n, optimised_for=10_000) for n in (1_000, 10_000, 100_000)}
    assert widths[10_000] == min(widths.values())
    assert confidence_sequence_multiplier(5_000, optimised_for=5_000, alternative="greater") < widths[10_000]


def test_one_sided_sequences_are_open() -> None:
    assert confidence_sequence(effect(1.0), 100, optimised_for=100, alternative="greater").high == inf
    assert confidence_sequence(effect(1.0), 100, optimised_for=100, alternative="less").low == -inf


def test_msprt_interval_agrees_with_its_p_value() -> None:
    for estimate in (0.0, 0.02, 0.03, 0.05):
        result = msprt(effect(estimate), mixing_variance=1e-4)
        assert (result.p_value < 0.05) == (result.low > 0)


def test_no_variance() -> None:
    assert msprt(effect(0.0, 0.0), mixing_variance=1.0).p_value == 1.0
    assert msprt(effect(0.1, 0.0), mixing_variance=1.0).p_value < 1e-100
    assert confidence_sequence(effect(0.1, 0.0), 100, optimised_for=100).p_value < 1e-100
    assert confidence_sequence(effect(0.0, 0.0), 100, optimised_for=100).p_value == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: confidence_sequence_multiplier(0, optimised_for=10), "both must be positive"),
        (lambda: confidence_sequence_multiplier(10, optimised_for=float("nan")), "both must be positive"),
        (lambda: confidence_sequence_multiplier(10, optimised_for=10, alpha=2), "alpha is 2"),
        (lambda: mixture_likelihood_ratio(0.1, -1.0, mixing_variance=1.0), "mSPRT"),
        (lambda: mixture_likelihood_ratio(0.1, 1.0, mixing_variance=0.0), "mSPRT"),
        (lambda: mixture_likelihood_ratio(float("inf"), 1.0, mixing_variance=1.0), "mSPRT"),
    ],
)
def test_wrong_input_is_named(call: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        call()  # type: ignore[operator]
