from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from trimtab import runtime
from trimtab.errors import BadInput, NotFound
from trimtab.models.gate import Check, Gate
from trimtab.monitoring.drift import DriftReport
from trimtab.report.loop import (
    DriftSection,
    ImpactSection,
    LoopReport,
    ModelSection,
    PromotionSection,
    RetrainSection,
)
from trimtab.steps import (
    decide,
    drift,
    experiment,
    features,
    impact,
    promote,
    register,
    report,
    results,
    train,
    tune,
    validate,
)
from trimtab.testing.reports import loop_report
from trimtab.testing.snapshot_store import SPEC, sessions
from trimtab.types import Interval, StageSkipped

RUN = "r1"


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> runtime.Runtime:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "home"))
    return runtime.load("local")


def _keep(ports: runtime.Runtime, stage: str, result: object, *, run: str = RUN) -> None:
    results.perform(lambda _config, _ports: result, None, ports, run=run, stage=stage)


def _validated(snapshot_id: str) -> validate.Result:
    return validate.Result(snapshot_id, "", "data.csv", SPEC.name, 6, 5, 1, "quarantine.csv", 0.4, 2, ())


def _trained() -> train.Result:
    model = loop_report(rows=800).model
    assert isinstance(model, ModelSection)
    return train.Result(
        bundle="models/plr_mlp", evaluation=model.evaluation, params={"width": 192}, seconds=3.0, fit_seconds=2.0,
        device="cpu", epochs=9, best_epoch=7, rows={"train": 70, "test": 15}, split="time", temperature=1.1, folds=(),
        fold_means=(), notes={"seed": "7"},
    )  # fmt: skip


def _registered(version: int) -> register.Result:
    checks = (Check("calibrated", True, 0.01, 0.02, "calibration error is within the limit."),)
    return register.Result("tiny", version, Gate(True, checks, ()), ("challenger",), "", "")


def _served(mode: experiment.Mode = "world", reason: str = "") -> experiment.Result:
    arms = tuple(
        experiment.ArmTraffic(arm, version, 900, 900, 0.3, 1.0, 80, 0.0, 15, 4.0, 9.0)
        for arm, version in (("control", 1), ("treatment", 2))
    )
    return experiment.Result("exp", mode, reason, arms, 1800, 160, 30, 50, 50)


def _verdict(decision: str) -> decide.Result:
    arms = tuple(
        decide.ArmOutcome(arm, 900, count, Interval(count / 900, 0.0, 1.0), 0.0)
        for arm, count in (("control", 80), ("treatment", 99))
    )
    effect = Interval(0.02, 0.01, 0.03)
    return decide.Result("exp", decision, ("it is better.",), (), arms, effect, effect, 0.01, 0.4)  # type: ignore[arg-type]


def _gather(ports: runtime.Runtime) -> LoopReport:
    return report.gather(report.Config(RUN, now=datetime(2026, 11, 22, tzinfo=UTC)), ports)


def test_a_run_that_left_nothing_says_so_everywhere(ports: runtime.Runtime) -> None:
    found = _gather(ports)
    assert isinstance(found.data, StageSkipped)
    assert "'validate' of run 'r1' has left no result" in found.data.reason
    assert found.timings_seconds == {}


def test_a_run_that_never_was_replaces_no_report(ports: runtime.Runtime, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="run 'typo' has left no result"):
        report.run(report.Config("typo", out=str(tmp_path / "latest")), ports)
    assert not (tmp_path / "latest").exists()


def test_a_whole_run_becomes_a_report(ports: runtime.Runtime, tmp_path: Path) -> None:
    snapshot = ports.snapshots.put(sessions(), SPEC, source="data.csv", rejected=1)
    made_up = loop_report(rows=800)
    assert isinstance(made_up.impact, ImpactSection)
    assert isinstance(made_up.drift, DriftSection)
    page = tmp_path / "evidently.html"
    page.write_text("the full drift page")
    _keep(ports, "validate", _validated(snapshot.id))
    _keep(ports, "features", features.Result(snapshot.id, 5, ("prior_sessions",), ""))
    _keep(ports, "tune", tune.Result("study", 5, 2, 0, 0.3, {}))
    _keep(ports, "tune-1", tune.Result("study", 9, 3, 0, 0.3, {}))
    _keep(ports, "train", _trained())
    _keep(ports, "register", _registered(2))
    _keep(ports, "impact", impact.Result(snapshot.id, "", made_up.impact.study, made_up.impact.agreement, 0.9))
    _keep(ports, "experiment", _served())
    _keep(ports, "decide", _verdict("ship"))
    _keep(ports, "promote", promote.Result("tiny", 1, 2))
    columns = made_up.drift.columns
    _keep(
        ports, "drift", drift.Result(True, "retrain", ("far",), DriftReport(columns, 5, 4, str(page)), page=str(page))
    )
    _keep(ports, "validate", _validated("newer"), run="r1-retrain")
    _keep(ports, "train", _trained(), run="r1-retrain")
    _keep(ports, "register", _registered(3), run="r1-retrain")

    published = report.run(report.Config(RUN, out=str(tmp_path / "latest")), ports)

    summary = orjson.loads(Path(published.summary).read_bytes())
    assert summary["skipped"] == {}
    assert (summary["data"]["rows"], summary["data"]["rejected"]) == (5, 1)
    assert summary["model"]["bayes_auc"] == 0.9
    assert summary["model"]["version"] == 2
    assert summary["model"]["gate_reasons"] == ["calibration error is within the limit."]
    assert summary["experiment"]["verdict"] == "ship"
    assert [arm["version"] for arm in summary["experiment"]["arms"]] == [1, 2]
    assert summary["promotion"] == {"champion_before": 1, "champion_after": 2}
    assert summary["drift"]["detected"] is True
    assert (summary["retrain"]["version"], summary["retrain"]["snapshot_id"]) == (3, "newer")
    assert summary["seeds"] == {"everything": 7}
    assert list(summary["timings_seconds"]) == [
        "validate", "features", "tune", "train", "register", "impact", "experiment", "decide", "promote", "drift",
    ]  # fmt: skip
    assert (tmp_path / "latest" / "drift.html").read_text() == "the full drift page"
    assert 'href="drift.html"' in Path(published.html).read_text(encoding="utf-8")
    assert "tuned over 9 completed trials" in " ".join(Path(published.html).read_text(encoding="utf-8").split())


def test_without_a_ship_the_champion_stays(ports: runtime.Runtime) -> None:
    _keep(ports, "experiment", _served())
    _keep(ports, "decide", _verdict("hold"))
    results.skip(ports, run=RUN, stage="promote", reason="The verdict is hold.")
    promotion = _gather(ports).promotion
    assert isinstance(promotion, PromotionSection)
    assert (promotion.champion_before, promotion.champion_after) == (1, 1)


def test_a_skipped_stage_gives_its_own_reason(ports: runtime.Runtime) -> None:
    for stage in ("experiment", "decide", "promote", "retrain"):
        results.skip(ports, run=RUN, stage=stage, reason=f"no {stage}, because.")
    found = _gather(ports)
    assert found.experiment == StageSkipped("experiment", "no experiment, because.")
    assert found.promotion == StageSkipped("promote", "no promote, because.")
    assert found.retrain == StageSkipped("retrain", "no retrain, because.")


def test_an_experiment_that_could_not_run_gives_its_reason(ports: runtime.Runtime) -> None:
    _keep(ports, "experiment", replace(_served("skipped", "there are no users."), arms=()))
    assert _gather(ports).experiment == StageSkipped("experiment", "there are no users.")


def test_data_too_broken_to_compare_have_no_columns(ports: runtime.Runtime) -> None:
    _keep(ports, "drift", drift.Result(False, "page", ("column 'lcp_ms' is gone.",)))
    found = _gather(ports).drift
    assert isinstance(found, DriftSection)
    assert (found.columns, found.action, found.page) == ((), "page", "")


def test_a_retraining_that_failed_its_gate_is_still_reported(ports: runtime.Runtime) -> None:
    failed = replace(_registered(3), gate=Gate(False, (), ("behind",)))
    _keep(ports, "register", failed, run="r1-retrain")
    found = _gather(ports).retrain
    assert isinstance(found, RetrainSection)
    assert not found.gate.passed


def test_a_result_of_another_version_is_named(ports: runtime.Runtime) -> None:
    _keep(ports, "decide", {"verdict": "ship"})
    _keep(ports, "experiment", _served())
    with pytest.raises(BadInput, match="stage 'decide' of run 'r1' was left by another version"):
        _gather(ports)


def test_results_survive_being_written_and_read(ports: runtime.Runtime) -> None:
    _keep(ports, "train", _trained())
    assert results.recall(train.Result, ports, run=RUN, stage="train").result == _trained()
