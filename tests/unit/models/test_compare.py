"""Scores over folds."""

import pytest

from trimtab.models.compare import FoldScore, fold_means


def test_averages_each_model_over_its_folds_and_names_the_winner_first() -> None:
    scores = [
        FoldScore(1, "a", auc=0.8, log_loss=0.40, accuracy=0.7),
        FoldScore(2, "a", auc=0.9, log_loss=0.30, accuracy=0.9),
        FoldScore(1, "b", auc=0.7, log_loss=0.20, accuracy=0.6),
        FoldScore(2, "b", auc=0.7, log_loss=0.30, accuracy=0.6),
    ]
    best, second = fold_means(scores)
    assert (best.model, second.model) == ("b", "a")
    assert second.auc == pytest.approx(0.85)
    assert second.auc_sd == pytest.approx(0.0707, abs=1e-4)
    assert best.log_loss == pytest.approx(0.25)
    assert second.accuracy == pytest.approx(0.8)


def test_one_fold_has_no_spread() -> None:
    (only,) = fold_means([FoldScore(1, "a", auc=0.8, log_loss=0.4, accuracy=0.7)])
    assert only.auc_sd == only.log_loss_sd == 0.0
