import numpy as np
import pytest
import torch
from scipy.stats import norm, spearmanr

from trimtab.models.preprocess import TAIL, learn_preprocessor


def _column(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None]


def test_skewed_values_become_normal() -> None:
    values = _column(np.random.default_rng(0).lognormal(size=20_000))
    scores = learn_preprocessor(values)(torch.from_numpy(values))[:, 0].numpy()
    assert abs(scores.mean()) < 0.02
    assert scores.std() == pytest.approx(1, abs=0.03)
    assert spearmanr(values[:, 0], scores).statistic > 0.999


def test_ties_get_the_score_of_their_middle_rank() -> None:
    values = _column(np.repeat([0.0, 1.0], [700, 300]))
    scores = learn_preprocessor(values)(torch.tensor([[0.0], [1.0], [0.5]]))[:, 0]
    assert scores[0].item() == pytest.approx(norm.ppf(0.35), abs=1e-5)
    assert scores[1].item() == pytest.approx(norm.ppf(0.85), abs=1e-5)
    assert scores[0] < scores[2] < scores[1]


def test_outliers_are_clipped() -> None:
    values = _column(np.random.default_rng(0).normal(size=5_000))
    module = learn_preprocessor(values)
    far = module(torch.tensor([[1e9], [-1e9]]))[:, 0]
    assert far.abs().max().item() <= norm.ppf(1 - TAIL) + 1e-6
    assert far[0] > 2.5 > -2.5 > far[1]


def test_missing_takes_the_median_and_a_flag() -> None:
    values = np.random.default_rng(0).normal(size=(1_000, 2)).astype(np.float32)
    values[:100, 1] = np.nan
    module = learn_preprocessor(values)
    out = module(torch.tensor([[0.3, float("nan")], [float("nan"), 0.3]]))
    assert out.shape == (2, 3)
    assert out[:, 2].tolist() == [1, 0]
    assert abs(out[0, 1].item()) < 0.01
    assert abs(out[1, 0].item()) < 0.1  # no flag for a column that was never missing, but a value all the same
    assert torch.isfinite(out).all()


def test_constant_and_empty_columns_are_harmless() -> None:
    values = np.full((50, 2), np.nan, dtype=np.float32)
    values[:, 0] = 3.0
    out = learn_preprocessor(values)(torch.tensor([[3.0, float("nan")], [9.0, 1.0]]))
    assert out[:, 0].tolist() == [0, 0]
    assert torch.isfinite(out).all()


def test_one_row_equals_the_same_row_among_many() -> None:
    values = np.random.default_rng(0).lognormal(size=(500, 4)).astype(np.float32)
    module = learn_preprocessor(values)
    whole = module(torch.from_numpy(values))
    torch.testing.assert_close(module(torch.from_numpy(values[17:18])), whole[17:18])
