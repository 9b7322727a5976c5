from itertools import pairwise

import numpy as np
import pytest
from sklearn import metrics as sk

from trimtab.models.metrics import METRICS, bootstrap_weights, calibration_bins, weighted_metrics


def _sample(rows: int = 800, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    probability = rng.beta(1, 4, rows)
    label = (rng.random(rows) < probability).astype(float)
    return (np.round(probability, 1) if ties else probability), label


@pytest.mark.parametrize("ties", [False, True])
def test_all_metrics_agree_with_scikit_learn_under_any_weights(ties: bool) -> None:
    probability, label = _sample(ties=ties)
    weights = bootstrap_weights(np.arange(len(label)), 5, np.random.default_rng(1))
    ours = weighted_metrics(probability, label, weights, threshold=0.25)
    assert tuple(ours) == METRICS
    predicted = probability >= 0.25
    for number, row in enumerate(weights):
        expected = {
            "auc": sk.roc_auc_score(label, probability, sample_weight=row),
            "average_precision": sk.average_precision_score(label, probability, sample_weight=row),
            "log_loss": sk.log_loss(label, np.clip(probability, 1e-15, 1 - 1e-15), sample_weight=row),
            "brier": sk.brier_score_loss(label, probability, sample_weight=row),
            "accuracy": sk.accuracy_score(label, predicted, sample_weight=row),
            "precision": sk.precision_score(label, predicted, sample_weight=row),
            "recall": sk.recall_score(label, predicted, sample_weight=row),
            "f1": sk.f1_score(label, predicted, sample_weight=row),
        }
        for name, value in expected.items():
            assert ours[name][number] == pytest.approx(value, rel=1e-6), name


def test_calibration_error_by_hand() -> None:
    probability, label = _sample(1_000)
    edges = [number * 1_000 // 15 for number in range(16)]
    order = np.argsort(probability)
    bins = [order[low:high] for low, high in pairwise(edges)]
    gaps = [abs(probability[part].mean() - label[part].mean()) * len(part) / 1_000 for part in bins]
    ours = weighted_metrics(probability, label, threshold=0.5)["calibration_error"][0]
    assert ours == pytest.approx(sum(gaps))
    assert len(calibration_bins(1_000)) == 15
    assert len(calibration_bins(60)) == 2


def test_one_class_has_no_ranking() -> None:
    ours = weighted_metrics(np.array([0.1, 0.9]), np.array([0.0, 0.0]), threshold=0.5)
    assert np.isnan(ours["auc"][0])
    assert ours["precision"][0] == 0
    assert ours["accuracy"][0] == 0.5


def test_resamples_draw_whole_units() -> None:
    clusters = np.repeat(np.arange(50), 4)
    weights = bootstrap_weights(clusters, 30, np.random.default_rng(0))
    assert (weights.reshape(30, 50, 4) == weights.reshape(30, 50, 4)[:, :, :1]).all()
    assert (weights[:, ::4].sum(axis=1) == 50).all()


def test_a_resample_without_rows_is_undefined_not_zero() -> None:
    probability, label = _sample(10)
    ours = weighted_metrics(probability, label, np.zeros((1, 10), dtype=np.float32), threshold=0.5)
    assert all(np.isnan(ours[name][0]) for name in ("auc", "log_loss", "brier", "accuracy"))
