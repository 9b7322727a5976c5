import numpy as np
import pytest

from trimtab.errors import BadInput
from trimtab.impact.sample import draw_balanced


def _label(converted: int, other: int) -> np.ndarray:
    return np.repeat([1, 0], [converted, other])


def test_half_of_505_sessions_converted() -> None:
    sample = draw_balanced(_label(600, 5_000), sessions=505, rng=np.random.default_rng(1))
    assert (len(sample), sample.converted) == (505, 253)
    assert len(set(sample.rows.tolist())) == 505
    assert (sample.rows[:253] < 600).all()
    assert (sample.rows[253:] >= 600).all()


def test_too_few_of_one_class_shrinks_both_halves() -> None:
    sample = draw_balanced(_label(40, 5_000), sessions=505, rng=np.random.default_rng(1))
    assert (len(sample), sample.converted) == (80, 40)


def test_weights_restore_the_natural_mix() -> None:
    sample = draw_balanced(_label(600, 5_400), sessions=505, rng=np.random.default_rng(1))
    assert sample.weights.sum() == pytest.approx(1)
    assert sample.weights[: sample.converted].sum() == pytest.approx(0.1)


def test_resamples_keep_the_design() -> None:
    sample = draw_balanced(_label(600, 5_400), sessions=50, rng=np.random.default_rng(1))
    counts = sample.resample(20, np.random.default_rng(2))
    assert counts.shape == (20, 50)
    assert (counts[:, :25].sum(axis=1) == 25).all()
    assert (counts[:, 25:].sum(axis=1) == 25).all()
    assert (counts != 1).any()


def test_one_class_only_is_refused() -> None:
    with pytest.raises(BadInput, match="1 that converted and 50 that did not"):
        draw_balanced(_label(1, 50), sessions=10, rng=np.random.default_rng(1))


def test_the_same_seed_draws_the_same_sessions() -> None:
    first, second = (draw_balanced(_label(90, 900), sessions=60, rng=np.random.default_rng(3)) for _ in range(2))
    assert (first.rows == second.rows).all()
