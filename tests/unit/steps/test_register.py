"""Registering and promoting, against a real registry in a temporary folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from trimtab.adapters.mlflow_session import client, quiet
from trimtab.errors import BadInput, NotFound
from trimtab.models.gate import Limits
from trimtab.ports import Ports
from trimtab.profile import load_profile
from trimtab.runtime import Runtime
from trimtab.steps import features, materialize, promote, register, train
from trimtab.testing.known_truth import make_shop
from trimtab.testing.registry import mlflow_database
from trimtab.testing.shop import shop_sessions, shop_spec

STRICT = Limits(must_beat="a baseline that nobody fitted")  # nothing passes


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, train.Result]:
    """A home with one snapshot and one trained logistic regression."""
    home = tmp_path_factory.mktemp("home")
    ports = _ports(home)
    shop = make_shop(1_500, timed=False)
    snapshot = ports.snapshots.put(shop.frame, shop.spec, source="shop.csv", rejected=0)
    return home, train.run(train.Config(snapshot.id, kind="logistic", resamples=60), ports)


def _ports(home: Path) -> Runtime:
    mlflow_database(home)
    profile = load_profile("local").model_copy(
        update={
            "home": home,
            "tracking_uri": f"sqlite:///{home}/mlflow.db",
            "artifact_root": f"file://{home}/artifacts",
            "feature_registry": f"{home}/features/registry.db",
            "online_store": f"sqlite:///{home}/features/online.db",
        }
    )
    return Runtime(profile, profile_name="local")


@pytest.fixture
def ports(trained: tuple[Path, train.Result]) -> Ports:
    """The same home, its registry emptied."""
    return _ports(trained[0])


@pytest.fixture
def config(trained: tuple[Path, train.Result], ports: Ports) -> Callable[..., register.Config]:
    home, result = trained
    snapshot = next((home / "snapshots").iterdir()).name

    def make(run: str = "r1", limits: Limits | None = None) -> register.Config:
        return register.Config(snapshot, result.bundle, 7, run, limits or Limits(segment_auc_shortfall=1.0))

    return make


Make = Callable[..., register.Config]


def test_the_first_version_is_champion_and_the_next_challenger(ports: Ports, config: Make) -> None:
    first, second = (register.run(config(run), ports) for run in ("r1", "r2"))
    assert first.gate.passed, first.gate.reasons
    assert (first.version, first.aliases) == (1, ("champion",))
    assert (second.version, second.aliases) == (2, ("challenger",))
    third = register.run(config("r3"), ports)
    assert third.aliases == ("challenger",)
    assert ports.registry.resolve(first.model, "2").aliases == ()


def test_the_same_run_registers_once(ports: Ports, config: Make) -> None:
    first, again = (register.run(config(), ports) for _ in range(2))
    assert again == first
    assert len(ports.registry.versions(first.model)) == 1


def test_an_interrupted_registration_is_finished_by_running_it_again(
    ports: Ports, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ports.registry, "set_alias", die)
        with pytest.raises(KeyboardInterrupt):
            register.run(config(), ports)
    assert [version.aliases for version in ports.registry.versions()] == [()]  # whole, but not eligible
    assert register.run(config(), ports).aliases == ("champion",)
    assert len(ports.registry.versions()) == 1


def test_a_version_that_fails_the_gate_gets_no_alias_but_its_reasons(ports: Ports, config: Make) -> None:
    failed = register.run(config(limits=STRICT), ports)
    assert not failed.gate.passed
    assert failed.aliases == ()
    version = ports.registry.resolve(failed.model, str(failed.version))
    assert version.tags["gate"] == "failed"
    assert "not held against" in version.tags["gate_reasons"]
    assert register.run(config("r2"), ports).aliases == ("champion",)  # the first that passes


def test_records_data_code_seed_metrics_and_figures(ports: Ports, config: Make, trained: tuple[Path, object]) -> None:
    made = register.run(config(), ports)
    tracking = client(f"sqlite:///{trained[0]}/mlflow.db")
    recorded = tracking.get_run(made.tracker_run)
    assert recorded.data.params["snapshot_id"] == config().snapshot_id
    assert recorded.data.params["seed"] == "7"
    assert {"auc", "auc.low", "auc.high", "baseline.constant.log_loss"} <= set(recorded.data.metrics)
    assert any(name.startswith("segment.") for name in recorded.data.metrics)
    assert recorded.data.tags["version.code"]
    assert recorded.data.tags["data_source"] == "shop.csv"
    assert {file.path for file in tracking.list_artifacts(made.tracker_run)} == {"figures.html", "gate.json"}
    version = ports.registry.resolve(made.model, "champion")
    assert version.tags["snapshot_id"] == config().snapshot_id
    assert version.metrics["auc"] == recorded.data.metrics["auc"]


def test_the_version_answers_like_the_bundle(ports: Ports, config: Make, trained: tuple[Path, train.Result]) -> None:
    from trimtab.models.bundle import ConversionModel

    made = register.run(config(), ports)
    frame = make_shop(50, timed=False).frame
    local = ConversionModel.load(ports.registry.download(ports.registry.resolve(made.model, "champion")))
    with quiet():
        served = mlflow.pyfunc.load_model(f"models:/{made.model}@champion")
    answer = served.predict(frame)
    np.testing.assert_allclose(answer["probability"], local.act(frame).probability)
    pd.testing.assert_index_equal(answer.index, frame.index)


def test_a_bundle_that_nobody_evaluated_is_refused(ports: Ports, config: Make, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"evaluation\.json"):
        register.run(replace(config(), bundle=str(tmp_path)), ports)
    (tmp_path / "evaluation.json").write_text('{"evaluation": 3}')
    with pytest.raises(BadInput, match="not an evaluation"):
        register.run(replace(config(), bundle=str(tmp_path)), ports)


def _two_versions(ports: Ports, config: Make) -> str:
    made, _ = (register.run(config(run), ports) for run in ("r1", "r2"))
    return made.model


def test_a_ship_moves_the_champion(ports: Ports, config: Make) -> None:
    model = _two_versions(ports, config)
    wanted = promote.Config(model, 2, "ship", experiment="checkout")
    done = promote.run(wanted, ports)
    assert (done.champion_before, done.champion_after) == (1, 2)
    version = ports.registry.resolve(model, "champion")
    assert (version.version, version.aliases) == (2, ("champion",))
    assert version.tags["previous_champion"] == "1"
    assert version.tags["promoted_by"] == "verdict: ship"
    with pytest.raises(NotFound):
        ports.registry.resolve(model, "challenger")
    assert promote.run(wanted, ports) == done


@pytest.mark.parametrize("stop_before", ["set_alias", "delete_alias"])
def test_an_interrupted_promotion_is_finished_by_running_it_again(
    ports: Ports, config: Make, monkeypatch: pytest.MonkeyPatch, stop_before: str
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    wanted = promote.Config(_two_versions(ports, config), 2, "ship")
    with monkeypatch.context() as patch:
        patch.setattr(ports.registry, stop_before, die)
        with pytest.raises(KeyboardInterrupt):
            promote.run(wanted, ports)
    assert ports.registry.resolve(wanted.model, "champion").version in (1, 2)  # never none
    done = promote.run(wanted, ports)
    assert (done.champion_before, done.champion_after) == (1, 2)
    assert ports.registry.resolve(wanted.model, "2").aliases == ("champion",)


@pytest.mark.parametrize("decision", ["hold", "roll_back"])
def test_only_a_ship_promotes_unless_somebody_answers_for_it(ports: Ports, config: Make, decision: str) -> None:
    model = _two_versions(ports, config)
    wanted = promote.Config(model, 2, decision)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=f"'{decision}', not 'ship'"):
        promote.run(wanted, ports)
    assert ports.registry.resolve(model, "champion").version == 1
    promote.run(replace(wanted, override="Ada: legal deadline"), ports)
    assert ports.registry.resolve(model, "champion").tags["promoted_by"] == "override: Ada: legal deadline"


def test_a_version_gets_a_feature_service_of_its_own(tmp_path: Path) -> None:
    ports = _ports(tmp_path)
    spec = shop_spec()
    snapshot = ports.snapshots.put(
        shop_sessions(np.random.default_rng(1), spec, rows=1_500), spec, source="shop.csv", rejected=0
    )
    features.run(features.Config(snapshot.id), ports)
    result = train.run(train.Config(snapshot.id, kind="logistic", resamples=60), ports)
    made = register.run(register.Config(snapshot.id, result.bundle, 7, "r1", Limits()), ports)
    materialize.run(materialize.Config(snapshot.id), ports)
    own, shared = (ports.features.online(["nobody"], spec, version=version) for version in (made.version, None))
    assert own.equals(shared)
    with pytest.raises(NotFound, match="no service"):
        ports.features.online(["nobody"], spec, version=made.version + 1)
