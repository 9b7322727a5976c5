import orjson
import pytest

from trimtab.report.loop import DataSection, LoopReport, ModelSection
from trimtab.report.summary import summarise
from trimtab.testing.reports import STAGES, loop_report, skipped_report


@pytest.fixture(scope="module")
def report() -> LoopReport:
    return loop_report(rows=800)


def _at(summary: object, path: str) -> object:
    for key in path.split("."):
        assert isinstance(summary, dict)
        summary = summary[key]
    return summary


def test_documented_keys_hold_the_reports_values(report: LoopReport) -> None:
    summary = orjson.loads(orjson.dumps(summarise(report)))
    assert isinstance(report.model, ModelSection)
    assert isinstance(report.data, DataSection)
    metrics = report.model.evaluation.metrics
    assert _at(summary, "data.rows") == report.data.rows
    assert _at(summary, "data.rejected") == 312
    for metric in ("auc", "log_loss", "calibration_error"):
        assert _at(summary, f"model.{metric}") == metrics[metric].estimate
        assert _at(summary, f"model.intervals.{metric}") == [metrics[metric].low, metrics[metric].high]
        assert isinstance(_at(summary, f"baselines.lightgbm.{metric}"), float)
    assert _at(summary, "experiment.verdict") == "ship"
    assert _at(summary, "drift.detected") is True
    assert _at(summary, "retrain.version") == 3
    assert _at(summary, "timings_seconds.tune") == 61.7
    assert summary["skipped"] == {}


def test_the_impact_ranking_is_in_order(report: LoopReport) -> None:
    ranking = _at(summarise(report), "impact.ranking")
    assert isinstance(ranking, list)
    assert [entry["rank"] for entry in ranking] == list(range(1, len(ranking) + 1))
    assert ranking[0]["kpi"] == "lcp_ms"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_did_not_run_keeps_its_keys_and_gives_its_reason(stage: str, report: LoopReport) -> None:
    summary = summarise(skipped_report(stage, reason="why"))
    assert summary["skipped"] == {stage: "why"}
    assert summary.keys() == summarise(report).keys()
    for path in (
        "data.rows", "data.rejected", "model.auc", "model.log_loss", "model.calibration_error", "experiment.verdict",
        "drift.detected", "retrain.version",
    ):  # fmt: skip
        if path.startswith(f"{stage}."):
            assert _at(summary, path) is None
