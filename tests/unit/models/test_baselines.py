import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from trimtab.models.baselines import fit_logistic, fit_trees
from trimtab.models.compare import score_baselines
from trimtab.models.data import TrainingData
from trimtab.testing.known_truth import Shop


def test_the_exported_network_is_the_logistic_regression(data: TrainingData) -> None:
    rows = data.rows(data.train)
    network = fit_logistic(rows.values, rows.codes, data.train.label.astype(np.float64), data.shape)
    onehot = np.eye(data.shape.cardinalities[0])[data.train.codes[:, 0]]
    design = np.concatenate([rows.values.numpy(), onehot], axis=1)
    regression = LogisticRegression(max_iter=500).fit(design, data.train.label)
    with torch.inference_mode():
        ours = expit(network(rows.values, rows.codes).double().numpy())
    np.testing.assert_allclose(ours, regression.predict_proba(design)[:, 1], atol=1e-3)


def test_trees_learn_and_stop_early(data: TrainingData) -> None:
    trees = fit_trees(data.train, data.validation, rng=np.random.default_rng(0), threads=1)
    assert roc_auc_score(data.test.label, trees.predict(data.test)) > 0.7
    assert trees.booster.best_iteration < 1_000


def test_baselines_of_the_mlp_are_three_and_of_the_regression_one(shop: Shop, data: TrainingData) -> None:
    rng = np.random.default_rng(0)
    assert set(score_baselines(data, shop.spec, kind="plr_mlp", rng=rng)) == {"constant", "logistic", "lightgbm"}
    only = score_baselines(data, shop.spec, kind="logistic", rng=rng)
    assert set(only) == {"constant"}
    assert only["constant"].probability == pytest.approx(np.full(len(data.test.label), data.train.label.mean()))
