"""What a model is worth on rows that nothing was chosen by: every metric with its interval, and beside its baselines.

All models and segments are judged on the same bootstrap resamples, so that the difference between two models has an
interval of its own (paired), and the winner is named by log loss whoever it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from trimtab.models.encode import category_text
from trimtab.models.metrics import (
    Floats,
    Weights,
    bootstrap_weights,
    calibration_bins,
    log_losses,
    weighted_metrics,
)
from trimtab.types import Interval

CONFIDENCE = 0.95
SEGMENT_ROWS = 100  # a segment with fewer test rows, or fewer than this share of either class, is not judged
SEGMENT_CLASS_ROWS = 10
ROC_POINTS = 101
_BLOCK = 4_000_000  # weights held at once


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts at the threshold."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of the reliability diagram; bins hold equal numbers of rows.

    Attributes:
        predicted: Mean predicted probability.
        observed: Share that converted.
        rows: Number of rows.
    """

    predicted: float
    observed: float
    rows: int


@dataclass(frozen=True, slots=True)
class RocPoint:
    """One point of the ROC curve."""

    false_positive_rate: float
    true_positive_rate: float


@dataclass(frozen=True, slots=True)
class SegmentEvaluation:
    """The model's metrics on the test rows with one value of one attribute.

    Attributes:
        attribute: Name of the attribute.
        value: Its value as text; empty for missing.
        rows: Test rows.
        positives: How many of them converted.
        metrics: As for the whole; empty where the rows are too few to judge.
    """

    attribute: str
    value: str
    rows: int
    positives: int
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class Evaluation:
    """A model on the test rows.

    Attributes:
        model: Name of the model, e.g. `plr_mlp`.
        rows: Test rows.
        positives: How many of them converted.
        threshold: At and above it a row is predicted to convert.
        metrics: `trimtab.models.metrics.METRICS` by name.
        baselines: The same for each baseline, at its own threshold.
        log_loss_gap: Per baseline, the model's log loss minus the baseline's (below 0: the model is better), paired.
        winner: The lowest log loss of all, the model's own name where that is it.
        segments: The model by segment.
        confusion: Counts at the threshold.
        reliability: Bins of the reliability diagram.
        roc: Points of the ROC curve.
        resamples: Number of bootstrap resamples.
        confidence: Coverage of the intervals.
        resampled: `unit` or `row`: what was drawn.
    """

    model: str
    rows: int
    positives: int
    threshold: float
    metrics: dict[str, Interval]
    baselines: dict[str, dict[str, Interval]]
    log_loss_gap: dict[str, Interval]
    winner: str
    segments: tuple[SegmentEvaluation, ...]
    confusion: Confusion
    reliability: tuple[ReliabilityBin, ...]
    roc: tuple[RocPoint, ...]
    resamples: int
    confidence: float
    resampled: str


@dataclass(frozen=True)
class Scored:
    """A model's answers on the test rows.

    Attributes:
        probability: [rows].
        threshold: Chosen on validation rows.
    """

    probability: Floats
    threshold: float


def evaluate(
    model: str,
    scored: Scored,
    label: npt.NDArray[np.float64],
    *,
    baselines: Mapping[str, Scored],
    segments: pd.DataFrame,
    units: npt.NDArray[np.int64] | None,
    rng: np.random.Generator,
    resamples: int = 200,
) -> Evaluation:
    """Judge a model and its baselines.

    Args:
        model: Name of the model.
        scored: Its answers.
        label: 0 or 1, [rows].
        baselines: Answers of the baselines on the same rows.
        segments: One column per segment attribute, same rows.
        units: Unit of each row as 0..k-1, drawn as a whole by the bootstrap; None draws rows.
        rng: Source of the resamples.
        resamples: Number of bootstrap resamples.
    """
    clusters = np.arange(len(label)) if units is None else units
    weights = bootstrap_weights(clusters, resamples, rng)
    metrics = metric_intervals(scored, label, weights)
    others = {name: metric_intervals(other, label, weights) for name, other in baselines.items()}
    losses = {name: values["log_loss"].estimate for name, values in {model: metrics, **others}.items()}
    predicted = scored.probability >= scored.threshold
    positive = label > 0
    return Evaluation(
        model=model,
        rows=len(label),
        positives=int(positive.sum()),
        threshold=scored.threshold,
        metrics=metrics,
        baselines=others,
        log_loss_gap={name: _gap(scored, other, label, weights) for name, other in baselines.items()},
        winner=min(losses, key=lambda name: losses[name]),
        segments=tuple(_segments(scored, label, segments, weights)),
        confusion=Confusion(
            int((predicted & positive).sum()),
            int((predicted & ~positive).sum()),
            int((~predicted & positive).sum()),
            int((~predicted & ~positive).sum()),
        ),
        reliability=_reliability(scored.probability, label),
        roc=_roc(scored.probability, label),
        resamples=resamples,
        confidence=CONFIDENCE,
        resampled="row" if units is None else "unit",
    )


def metric_intervals(scored: Scored, label: Floats, weights: Weights) -> dict[str, Interval]:
    """Each defined metric with its bootstrap interval.

    Percentile intervals, except for the calibration error: resampling adds noise to every bin and so inflates it, and
    the basic (reflected) interval undoes that (Davison and Hinkley, "Bootstrap Methods", 1997, section 5.2), here
    widened where need be to hold the estimate.
    """
    point = weighted_metrics(scored.probability, label, threshold=scored.threshold)
    block = max(1, _BLOCK // max(1, len(label)))
    parts = [
        weighted_metrics(scored.probability, label, weights[start : start + block], threshold=scored.threshold)
        for start in range(0, len(weights), block)
    ]
    intervals = {}
    for name, value in point.items():
        drawn = np.concatenate([part[name] for part in parts])
        if np.isfinite(value[0]) and np.isfinite(drawn).any():
            intervals[name] = _interval(float(value[0]), drawn, reflected=name == "calibration_error")
    return intervals


def _interval(estimate: float, drawn: Floats, *, reflected: bool = False) -> Interval:
    low, high = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    if reflected:
        return Interval(estimate, max(0.0, float(2 * estimate - high)), max(estimate, float(2 * estimate - low)))
    return Interval(estimate, float(low), float(high))


def _gap(one: Scored, other: Scored, label: Floats, weights: Weights) -> Interval:
    difference = log_losses(one.probability, label) - log_losses(other.probability, label)
    drawn = np.array([row @ difference for row in weights]) / weights.sum(axis=1, dtype=np.float64)
    return _interval(float(difference.mean()), drawn)


def _segments(scored: Scored, label: Floats, segments: pd.DataFrame, weights: Weights) -> list[SegmentEvaluation]:
    found = []
    for attribute in segments.columns:
        codes, uniques = pd.factorize(segments[attribute], use_na_sentinel=False)
        for code, value in enumerate(uniques):
            rows = np.flatnonzero(codes == code)
            positives = int(label[rows].sum())
            enough = len(rows) >= SEGMENT_ROWS and min(positives, len(rows) - positives) >= SEGMENT_CLASS_ROWS
            part = Scored(scored.probability[rows], scored.threshold)
            metrics = metric_intervals(part, label[rows], weights[:, rows]) if enough else {}
            found.append(SegmentEvaluation(str(attribute), category_text(value), len(rows), positives, metrics))
    return sorted(found, key=lambda segment: (segment.attribute, -segment.rows, segment.value))


def _reliability(probability: Floats, label: Floats) -> tuple[ReliabilityBin, ...]:
    order = np.argsort(probability, kind="stable")
    parts = np.split(order, calibration_bins(len(label))[1:])
    return tuple(
        ReliabilityBin(float(probability[part].mean()), float(label[part].mean()), len(part)) for part in parts
    )


def _roc(probability: Floats, label: Floats) -> tuple[RocPoint, ...]:
    """The curve at evenly spaced false positive rates."""
    order = np.argsort(-probability, kind="stable")
    last = np.flatnonzero(np.concatenate([probability[order][:-1] > probability[order][1:], [True]]))
    true = np.concatenate([[0.0], np.cumsum(label[order])[last] / max(1.0, label.sum())])
    false = np.concatenate([[0.0], np.cumsum(1 - label[order])[last] / max(1.0, (1 - label).sum())])
    rates = np.linspace(0, 1, ROC_POINTS)
    return tuple(RocPoint(float(x), float(y)) for x, y in zip(rates, np.interp(rates, false, true), strict=True))
