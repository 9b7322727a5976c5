"""The experiment and its verdict on a small shop, with real models, a real event log, and servers in this process."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trimtab.errors import Unavailable
from trimtab.models.bundle import ConversionModel
from trimtab.sessions.spec import DatasetSpec
from trimtab.steps import decide, experiment
from trimtab.steps.results import perform, recall
from trimtab.testing.ports import StepPorts
from trimtab.testing.shop import shop_model, shop_sessions, shop_spec


def _registered(home: Path, spec: DatasetSpec, *, rows: int = 3_000) -> tuple[StepPorts, str]:
    """Ports with a snapshot and two versions: one that acts on everybody, one that acts where its model says so."""
    ports = StepPorts(home)
    rng = np.random.default_rng(4)
    sessions = shop_sessions(rng, spec, rows=rows)
    snapshot = ports.snapshots.put(sessions, spec, source="shop.csv", rejected=0)
    model = shop_model(sessions, spec, rng=rng)
    eager = ConversionModel(replace(model.manifest, action_cost=-1.0), model.preprocessor, model.network)
    ports.registry.put(spec.name, 1, eager.save(home / "eager"), "champion")
    ports.registry.put(spec.name, 2, model.save(home / "choosy"), "challenger")
    return ports, snapshot.id


def test_replays_logged_sessions_and_logs_what_came_of_it(tmp_path: Path) -> None:
    spec = shop_spec()
    ports, snapshot = _registered(tmp_path, spec)
    result = perform(experiment.run, experiment.Config(snapshot, "shop"), ports.as_ports(), run="r", stage="experiment")
    assert recall(experiment.Result, ports.as_ports(), run="r", stage="experiment").result == result
    control, treatment = result.arms
    assert (result.mode, result.reason, len(result.assumptions)) == ("replay", "", 3)
    assert control.served + treatment.served == 450
    assert control.users + treatment.users == pytest.approx(225, abs=45)
    assert control.acted_share == 1.0
    assert (control.version, treatment.version) == (1, 2)
    assert result.repeat_same_answer == result.repeat_users == 450
    exposures = ports.events.read(result.experiment, "exposure")
    assert exposures["unit"].nunique() == control.users + treatment.users
    assert set(exposures["device"]) == {"mobile", "desktop"}
    assert ports.arms.running == frozenset()


def test_sends_what_the_model_needs_and_never_what_came_later(tmp_path: Path) -> None:
    ports, snapshot = _registered(tmp_path, shop_spec())
    experiment.run(experiment.Config(snapshot, "shop", batch=50), ports.as_ports())
    arms = {arm for arm, _ in ports.arms.asked}
    assert arms == {"control", "treatment"}
    for _, sent in ports.arms.asked:
        assert len(sent) <= 50
        assert not {"bought", "revenue", "lighter"} & set(sent)


def test_a_rerun_logs_nothing_twice(tmp_path: Path) -> None:
    ports, snapshot = _registered(tmp_path, shop_spec())
    config = experiment.Config(snapshot, "shop", users=300)
    first = experiment.run(config, ports.as_ports())
    logged = ports.events.read(first.experiment, "exposure")
    again = experiment.run(config, ports.as_ports())
    assert again.experiment == first.experiment
    assert ports.events.read(first.experiment, "exposure").equals(logged)
    other = experiment.run(replace(config, seed=8), ports.as_ports())
    assert other.experiment != first.experiment


def test_without_a_treatment_it_serves_but_nothing_can_be_judged(tmp_path: Path) -> None:
    ports, snapshot = _registered(tmp_path, shop_spec(treatment=False))
    result = experiment.run(experiment.Config(snapshot, "shop"), ports.as_ports())
    assert (result.mode, result.outcomes) == ("no_action", 0)
    assert result.requests > 0
    verdict = decide.run(decide.Config(result.experiment, problem=result.reason), ports.as_ports())
    assert verdict.decision == "hold"
    assert verdict.reasons[0] == result.reason
    forgetful = decide.run(decide.Config(result.experiment), ports.as_ports())
    assert forgetful.decision == "hold"


def test_without_users_or_a_second_version_it_is_skipped(tmp_path: Path) -> None:
    ports, snapshot = _registered(tmp_path / "a", shop_spec(users=False))
    nobody = experiment.run(experiment.Config(snapshot, "shop"), ports.as_ports())
    assert (nobody.mode, nobody.experiment) == ("skipped", "")
    assert "no unit column" in nobody.reason
    ports, snapshot = _registered(tmp_path / "b", shop_spec())
    missing = experiment.run(experiment.Config(snapshot, "shop", treatment="5"), ports.as_ports())
    same = experiment.run(experiment.Config(snapshot, "shop", treatment="champion"), ports.as_ports())
    assert "no version to compare with" in missing.reason
    assert "the same version, 1" in same.reason
    verdict = decide.run(decide.Config("", problem=same.reason), ports.as_ports())
    assert (verdict.decision, verdict.p_value) == ("hold", None)


def test_servers_are_gone_when_one_of_them_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports, snapshot = _registered(tmp_path, shop_spec())
    deploy = ports.arms.deploy

    def fails_for_treatment(model: object, *, arm: str) -> object:
        if arm == "treatment":
            raise Unavailable("no")
        return deploy(model, arm=arm)  # type: ignore[arg-type]

    monkeypatch.setattr(ports.arms, "deploy", fails_for_treatment)
    with pytest.raises(Unavailable):
        experiment.run(experiment.Config(snapshot, "shop"), ports.as_ports())
    assert ports.arms.running == frozenset()
