"""Metrics of predicted probabilities, for many resamples at once.

Every metric is computed from weights: the sample itself has weight 1 per row, and a bootstrap resample weights each row
by how often it was drawn. One sort of the scores then serves all resamples, which is what makes an interval for every
metric, model and segment cost seconds. Checked against scikit-learn.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float32]

METRICS = (
    "auc", "average_precision", "log_loss", "brier", "calibration_error", "accuracy", "precision", "recall", "f1",
)  # fmt: skip
CALIBRATION_BINS = 15
CALIBRATION_ROWS = 25  # fewest rows per bin; small samples get fewer bins
_SMALLEST = 1e-15  # probabilities are clipped here for the log loss


def weighted_metrics(
    probability: Floats, label: Floats, weights: Weights | None = None, *, threshold: float
) -> dict[str, Floats]:
    """All metrics under each row of weights.

    Args:
        probability: Predicted probabilities, [rows].
        label: 0 or 1, [rows].
        weights: Non-negative weights, [resamples, rows]; None weights each row once.
        threshold: At and above it a row is predicted positive.

    Returns:
        `METRICS` by name, each [resamples] (or [1]). Where one class has no weight, `auc` and `average_precision` are
        NaN; precision and F1 without a predicted positive are 0.
    """
    weights = np.ones((1, len(label)), dtype=np.float32) if weights is None else weights
    order = np.argsort(probability, kind="stable")
    probability, label, weights = probability[order], label[order], weights[:, order]
    auc, precision = _ranking(probability, label, weights)
    total = _total(weights)
    rowwise = np.column_stack([log_losses(probability, label), (probability - label) ** 2])
    losses = _project(weights, rowwise) / total[:, None]
    return {
        "auc": auc,
        "average_precision": precision,
        "log_loss": losses[:, 0],
        "brier": losses[:, 1],
        "calibration_error": _calibration_error(probability, label, weights, total),
        **_decisions(probability, label, weights, threshold),
    }


def log_losses(probability: Floats, label: Floats) -> Floats:
    """Log loss of each row, in nats."""
    clipped = np.clip(probability, _SMALLEST, 1 - _SMALLEST)
    losses: Floats = -np.where(label > 0, np.log(clipped), np.log1p(-clipped))
    return losses


def bootstrap_weights(clusters: npt.NDArray[np.int64], resamples: int, rng: np.random.Generator) -> Weights:
    """How often each row is drawn in each resample, [resamples, rows].

    Whole clusters (units) are drawn with replacement, because sessions of one unit are not independent.

    Args:
        clusters: Cluster of each row, as 0..k-1, [rows].
        resamples: Number of resamples.
        rng: Source of the draws.
    """
    count = int(clusters.max()) + 1 if len(clusters) else 0
    weights = np.empty((resamples, len(clusters)), dtype=np.float32)
    for row in weights:
        row[:] = np.bincount(rng.integers(0, count, size=count), minlength=count)[clusters]
    return weights


def calibration_bins(rows: int) -> npt.NDArray[np.int64]:
    """First position of each bin of equal mass (number of rows), over rows sorted by probability."""
    bins = max(1, min(CALIBRATION_BINS, rows // CALIBRATION_ROWS))
    return (np.arange(bins) * rows // bins).astype(np.int64)


def _total(weights: Weights) -> Floats:
    """Sum of each resample's weights; NaN for one that drew no row, whose metrics are then NaN."""
    total = weights.sum(axis=1, dtype=np.float64)
    return np.where(total > 0, total, np.nan)


def _project(weights: Weights, columns: Floats) -> Floats:
    """`weights @ columns`, in float64 but without copying all weights to it at once."""
    return np.concatenate([block.astype(np.float64) @ columns for block in np.array_split(weights, len(weights))])


def _ranking(probability: Floats, label: Floats, weights: Weights) -> tuple[Floats, Floats]:
    """Area under the ROC curve (ties count half) and average precision; rows sorted by probability, ascending."""
    starts = np.flatnonzero(np.concatenate([[True], probability[1:] > probability[:-1]]))
    auc, precision = np.empty(len(weights)), np.empty(len(weights))
    for number, row in enumerate(weights):
        positive = np.add.reduceat(np.where(label > 0, row, 0.0).astype(np.float64), starts)
        both = np.add.reduceat(row.astype(np.float64), starts)
        negative = both - positive
        below = np.cumsum(negative) - negative / 2
        positives, negatives = positive.sum(), negative.sum()
        if positives == 0 or negatives == 0:
            auc[number] = precision[number] = np.nan
            continue
        auc[number] = positive @ below / (positives * negatives)
        found, chosen = np.cumsum(positive[::-1]), np.cumsum(both[::-1])
        precision[number] = (positive[::-1] @ (found / np.maximum(chosen, 1e-12))) / positives
    return auc, precision


def _calibration_error(probability: Floats, label: Floats, weights: Weights, total: Floats) -> Floats:
    """Expected calibration error over bins of equal mass, formed once on the sample and kept in every resample."""
    starts = calibration_bins(len(label))
    gaps = np.empty((len(weights), len(starts)))
    difference = (probability - label).astype(np.float64)
    for number, row in enumerate(weights):
        gaps[number] = np.add.reduceat(row * difference, starts)
    error: Floats = np.abs(gaps).sum(axis=1) / total
    return error


def _decisions(probability: Floats, label: Floats, weights: Weights, threshold: float) -> dict[str, Floats]:
    predicted = (probability >= threshold).astype(np.float64)
    cells = np.column_stack([predicted * label, predicted * (1 - label), (1 - predicted) * label])
    hit, wrong, missed = _project(weights, cells).T
    total = _total(weights)
    return {
        "accuracy": (total - wrong - missed) / total,
        "precision": hit / np.maximum(hit + wrong, 1e-12),
        "recall": hit / np.maximum(hit + missed, 1e-12),
        "f1": 2 * hit / np.maximum(2 * hit + wrong + missed, 1e-12),
    }
