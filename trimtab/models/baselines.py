"""Baselines that a main model must be held against: the base rate, a logistic regression, gradient-boosted trees.

They get what the main model gets: the same rows, history and treatment, the same validation rows for stopping and
calibration. The logistic regression is fitted by scikit-learn and carried into the `Linear` network, so that it can be
saved and served like any other model: it is the simple first champion of a new shop.
"""

from dataclasses import dataclass

import lightgbm
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from trimtab.models.architecture import InputShape, NetworkOptions
from trimtab.models.calibrate import Calibration, calibrate
from trimtab.models.data import Encoded
from trimtab.models.metrics import Floats
from trimtab.models.networks import Linear, build_network

# Small trees: the best of those tried on the simulator and on real sessions. Early stopping finds how many.
TREES = {
    "objective": "binary", "learning_rate": 0.05, "num_leaves": 8, "min_data_in_leaf": 60, "feature_fraction": 0.6,
    "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 5.0, "max_bin": 255, "verbosity": -1,
    "deterministic": True, "force_row_wise": True,
}  # fmt: skip


@dataclass(frozen=True)
class Trees:
    """A fitted LightGBM model and its calibration."""

    booster: lightgbm.Booster
    calibration: Calibration

    def predict(self, rows: Encoded) -> Floats:
        """Calibrated probability, [rows]."""
        return self.calibration.probability(self.booster.predict(_table(rows), raw_score=True))


def fit_trees(train: Encoded, validation: Encoded, *, rng: np.random.Generator, threads: int = 1) -> Trees:
    """LightGBM, stopped early on validation log loss and calibrated there.

    Args:
        train: Training rows.
        validation: Validation rows.
        rng: Source of the bagging seeds.
        threads: Number of threads; 0 uses all, which on a busy machine is slower by far.
    """
    categorical = list(range(train.numeric.shape[1], train.numeric.shape[1] + train.codes.shape[1]))
    options = {**TREES, "seed": int(rng.integers(2**31)), "num_threads": threads}
    data = lightgbm.Dataset(_table(train), train.label, categorical_feature=categorical, free_raw_data=False)
    checked = lightgbm.Dataset(_table(validation), validation.label, reference=data, free_raw_data=False)
    stop = lightgbm.early_stopping(40, verbose=False)
    booster = lightgbm.train(options, data, num_boost_round=1500, valid_sets=[checked], callbacks=[stop])
    raw = booster.predict(_table(validation), raw_score=True)
    return Trees(booster, calibrate(raw, validation.label.astype(np.float64)))


def fit_logistic(
    values: torch.Tensor, codes: torch.Tensor, label: Floats, shape: InputShape, *, penalty: float = 1.0
) -> Linear:
    """A logistic regression on preprocessed rows, as a network.

    Args:
        values: Scores and flags, [rows, p + m].
        codes: Category codes, [rows, c].
        label: 0 or 1, [rows].
        shape: What the columns are.
        penalty: Inverse strength of the L2 penalty (scikit-learn's C).
    """
    network = build_network(shape, NetworkOptions(kind="linear"))
    assert isinstance(network, Linear)
    wide = values.shape[1]
    onehot = [np.eye(size, dtype=np.float32)[codes[:, place]] for place, size in enumerate(shape.cardinalities)]
    design = np.concatenate([values.numpy(), *onehot], axis=1)
    regression = LogisticRegression(C=penalty, max_iter=500, tol=1e-4).fit(design, label)
    weights = torch.from_numpy(regression.coef_[0]).float()
    with torch.no_grad():
        network.head.weight.copy_(weights[None, :wide])
        network.head.bias.fill_(float(regression.intercept_[0]))
        network.categories.table.copy_(weights[wide:, None])
    return network


def _table(rows: Encoded) -> Floats:
    return np.concatenate([rows.numeric.astype(np.float64), rows.codes.astype(np.float64)], axis=1)
