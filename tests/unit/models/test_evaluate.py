import numpy as np
import orjson
import pandas as pd
import pytest
from pydantic import TypeAdapter

from trimtab.models.evaluate import Evaluation, Scored, evaluate
from trimtab.models.metrics import METRICS


def _evaluation(*, units: bool = False, rows: int = 1_500) -> Evaluation:
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 4, rows)
    label = (rng.random(rows) < truth).astype(float)
    segments = pd.DataFrame(
        {"device": pd.Series(rng.choice(["mobile", "desktop", ""], rows, p=[0.9, 0.09, 0.01])).replace("", None)}
    )
    return evaluate(
        "plr_mlp",
        Scored(truth, 0.2),
        label,
        baselines={"constant": Scored(np.full(rows, label.mean()), 0.2), "noisy": Scored((truth + 0.3) / 1.6, 0.2)},
        segments=segments,
        units=np.arange(rows) // 5 if units else None,
        rng=rng,
        resamples=100,
    )


def test_every_metric_has_an_interval_around_it() -> None:
    evaluation = _evaluation()
    assert tuple(evaluation.metrics) == METRICS
    for interval in evaluation.metrics.values():
        assert interval.low <= interval.estimate <= interval.high
        assert interval.low < interval.high


def test_the_lowest_log_loss_wins_whoever_it_is() -> None:
    evaluation = _evaluation()
    assert evaluation.winner == "plr_mlp"
    gap = evaluation.log_loss_gap["noisy"]
    ours, theirs = evaluation.metrics["log_loss"], evaluation.baselines["noisy"]["log_loss"]
    assert gap.estimate == pytest.approx(ours.estimate - theirs.estimate)
    assert gap.high < 0
    assert gap.high - gap.low < ours.high - ours.low  # paired: the same rows


def test_confusion_adds_up_to_its_metrics() -> None:
    evaluation = _evaluation()
    cells = evaluation.confusion
    assert cells.true_positive + cells.false_negative == evaluation.positives
    total = cells.true_positive + cells.false_positive + cells.false_negative + cells.true_negative
    assert total == evaluation.rows
    assert evaluation.metrics["precision"].estimate == pytest.approx(
        cells.true_positive / (cells.true_positive + cells.false_positive)
    )


def test_small_segments_are_counted_but_not_judged() -> None:
    segments = {segment.value: segment for segment in _evaluation().segments}
    assert set(segments) == {"mobile", "desktop", ""}
    assert sum(segment.rows for segment in segments.values()) == 1_500
    assert segments["mobile"].metrics["auc"].estimate > 0.6
    assert segments[""].metrics == {}


def test_figures_have_their_points() -> None:
    evaluation = _evaluation()
    assert sum(part.rows for part in evaluation.reliability) == evaluation.rows
    assert [part.predicted for part in evaluation.reliability] == sorted(
        part.predicted for part in evaluation.reliability
    )
    rates = [point.true_positive_rate for point in evaluation.roc]
    assert rates == sorted(rates)
    assert (rates[-1], evaluation.roc[0].false_positive_rate) == (1, 0)
    area = np.trapezoid(rates, [point.false_positive_rate for point in evaluation.roc])
    assert area == pytest.approx(evaluation.metrics["auc"].estimate, abs=0.005)


def test_units_are_resampled_whole() -> None:
    assert (_evaluation().resampled, _evaluation(units=True).resampled) == ("row", "unit")


def test_it_survives_json() -> None:
    evaluation = _evaluation()
    assert TypeAdapter(Evaluation).validate_json(orjson.dumps(evaluation)) == evaluation
