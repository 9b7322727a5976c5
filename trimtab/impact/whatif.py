"""What if one KPI were a few percent better? Each controllable KPI is improved alone and the model is asked again.

The answer is an association that the model learnt, not a cause: sessions with a better value may convert more for
reasons that changing the value would not bring along. The intervals are over sessions with the model held fixed; they
do not contain the model's own uncertainty.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab.errors import TrimtabError
from trimtab.impact.effects import Answers, Bootstrap, FloatArray, Ranks
from trimtab.impact.sample import draw_balanced
from trimtab.impact.study import ImpactStudy, Improvement, KpiImpact
from trimtab.sessions.spec import DatasetSpec, KpiColumn

Predict = Callable[[pd.DataFrame], NDArray[np.floating]]

LEVELS = (0.05, 0.06, 0.07, 0.08)
SESSIONS = 505
# Rows per call of the model: few calls, and a stacked frame of some tens of megabytes at most.
ROWS_PER_CALL = 40_000


class Change(NamedTuple):
    """New values of one KPI in the sampled sessions, shape [sessions]."""

    kpi: str
    values: FloatArray


def controllable(spec: DatasetSpec) -> dict[str, KpiColumn]:
    """KPIs that the business can change and that the model sees."""
    inputs = set(spec.inputs)
    return {name: kpi for name, kpi in spec.kpis.items() if kpi.controllable and name in inputs}


def improve(values: FloatArray, kpi: KpiColumn, level: float) -> FloatArray:
    """The values of a KPI, better by a share of their size in the KPI's own direction.

    A missing value stays missing, zero stays zero, and no value passes the spec's bounds.

    Args:
        values: Values of the KPI, shape [rows], in its unit.
        kpi: Its direction and bounds.
        level: Size of the improvement as a share, e.g. 0.05.

    >>> lcp = KpiColumn(role="kpi", direction="lower", layer="frontend")
    >>> improve(np.array([2000.0, np.nan]), lcp, 0.05)
    array([1900.,   nan])
    """
    sign = -1.0 if kpi.direction == "lower" else 1.0
    better = values + sign * level * np.abs(values)
    return np.clip(better, kpi.minimum, kpi.maximum) if (kpi.minimum, kpi.maximum) != (None, None) else better


def study_impact(
    frame: pd.DataFrame,
    spec: DatasetSpec,
    predict: Predict,
    *,
    threshold: float,
    rng: np.random.Generator,
    sessions: int = SESSIONS,
    levels: Sequence[float] = LEVELS,
    resamples: int = 2_000,
    confidence: float = 0.95,
) -> ImpactStudy:
    """Improve each controllable request-time KPI alone and rank the KPIs by what the model says it is worth.

    Estimand: the mean change of the model's probability over sessions when one input is improved and every other
    input is kept, in the sample and weighted back to the natural class mix. Assumes that the held-out sessions are a
    fair sample of those to come. Intervals: percentile bootstrap, stratified by class (Efron & Tibshirani 1993,
    ch. 13), over sessions with the model held fixed.

    Args:
        frame: Held-out sessions with the label and every model input.
        spec: What the columns mean.
        predict: The model: a frame to probabilities of conversion, shape [rows].
        threshold: Probability from which a session counts as predicted to convert.
        rng: Source of randomness, for the sample and the resamples.
        sessions: Sessions to draw, half converted; fewer where the frame does not have them.
        levels: Improvements as shares of the value.
        resamples: Bootstrap resamples.
        confidence: Confidence level of the intervals.

    Returns:
        The ranked KPIs.

    Raises:
        BadInput: Too few held-out sessions of a class.
        TrimtabError: The model answered something that is no probability.
    """
    kpis = controllable(spec)
    levels = sorted(levels)
    sample = draw_balanced(frame[spec.label].to_numpy(dtype=np.int64), sessions=sessions, rng=rng)
    drawn = frame.iloc[sample.rows].reset_index(drop=True)
    changes = [
        Change(name, improve(_values(drawn, name), kpi, level)) for name, kpi in kpis.items() for level in levels
    ]
    answers = Answers(_probabilities(predict, drawn), _predict_changed(predict, drawn, changes), threshold)
    bootstrap = Bootstrap(sample, resamples=resamples, confidence=confidence, rng=rng)
    improvements = bootstrap.improvements(answers, np.tile(levels, len(kpis)))
    largest = slice(len(levels) - 1, None, len(levels))
    ranks = bootstrap.ranks(answers.change[:, largest])
    movable = [_count_moved(drawn, change) for change in changes[largest]]
    return ImpactStudy(
        sessions=len(sample),
        converted=sample.converted,
        base_rate=sample.base_rate,
        threshold=threshold,
        expected_conversions=float(answers.before.sum()),
        confidence=confidence,
        resamples=resamples,
        kpis=_ranked(kpis, improvements, movable, ranks),
        left_out=tuple(name for name, kpi in spec.kpis.items() if kpi.controllable and name not in kpis),
    )


def _ranked(
    kpis: dict[str, KpiColumn], improvements: list[Improvement], movable: list[int], ranks: Ranks
) -> tuple[KpiImpact, ...]:
    levels = len(improvements) // max(1, len(kpis))
    impacts = [
        KpiImpact(
            kpi=name,
            unit=kpi.unit,
            layer=kpi.layer,
            direction=kpi.direction,
            rank=int(rank),
            rank_low=int(low),
            rank_high=int(high),
            improvable=moved,
            improvements=tuple(improvements[index * levels : (index + 1) * levels]),
        )
        for index, ((name, kpi), moved, rank, low, high) in enumerate(zip(kpis.items(), movable, *ranks, strict=True))
    ]
    return tuple(sorted(impacts, key=lambda impact: impact.rank))


def _predict_changed(predict: Predict, drawn: pd.DataFrame, changes: Sequence[Change]) -> FloatArray:
    """Probabilities under each change, shape [sessions, changes], in few calls of the model."""
    count = len(drawn)
    per_call = max(1, ROWS_PER_CALL // count)
    answers = [np.empty((count, 0))]
    for start in range(0, len(changes), per_call):
        chunk = changes[start : start + per_call]
        answers.append(_probabilities(predict, _stack(drawn, chunk)).reshape(len(chunk), count).T)
    return np.concatenate(answers, axis=1)


def _stack(drawn: pd.DataFrame, changes: Sequence[Change]) -> pd.DataFrame:
    """One copy of the sessions per change, below each other, each with its own column replaced."""
    count = len(drawn)
    stacked = drawn.iloc[np.tile(np.arange(count), len(changes))].reset_index(drop=True)
    for name in {change.kpi for change in changes}:
        values = _values(stacked, name).reshape(len(changes), count)
        for index, change in enumerate(changes):
            if change.kpi == name:
                values[index] = change.values
        stacked[name] = values.ravel()
    return stacked


def _count_moved(drawn: pd.DataFrame, change: Change) -> int:
    before = _values(drawn, change.kpi)
    return int((~np.isnan(before) & (change.values != before)).sum())


def _values(frame: pd.DataFrame, name: str) -> FloatArray:
    return np.array(frame[name].to_numpy(dtype=np.float64, na_value=np.nan))


def _probabilities(predict: Predict, frame: pd.DataFrame) -> FloatArray:
    answer = np.asarray(predict(frame), dtype=np.float64)
    if answer.shape != (len(frame),) or not np.all((answer >= 0) & (answer <= 1)):
        raise TrimtabError(
            f"the model answered shape {answer.shape} with values outside [0, 1] for {len(frame)} sessions."
        )
    return answer
