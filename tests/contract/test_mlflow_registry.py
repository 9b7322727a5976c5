import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from trimtab.adapters.mlflow import MlflowRegistry, MlflowTracker
from trimtab.adapters.mlflow_session import client, quiet
from trimtab.errors import BadInput, NotFound, Unavailable
from trimtab.ports import Registry, Tracker
from trimtab.testing.registry import RegistryContract, mlflow_database, register_version
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec

# Registers a version and dies by SIGKILL right after a step of MLflow's client that argv names.
_KILLED = """
import os, signal, sys
from pathlib import Path
from mlflow.tracking import MlflowClient
from trimtab.adapters.mlflow import MlflowRegistry, MlflowTracker
from trimtab.testing.registry import register_version

folder, step = Path(sys.argv[1]), sys.argv[2]
done = getattr(MlflowClient, step)
def do_and_die(*args, **kwargs):
    done(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(MlflowClient, step, do_and_die)
uri, root = f"sqlite:///{folder}/mlflow.db", f"file://{folder}/artifacts"
registry = MlflowRegistry(uri, artifact_root=root, cache=folder / "models")
register_version(registry, MlflowTracker(uri, artifact_root=root), folder / "plr_mlp")
registry.set_alias("shop", "champion", 1)
"""


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return mlflow_database(tmp_path)


@pytest.fixture
def tracker(uri: str, tmp_path: Path) -> MlflowTracker:
    return MlflowTracker(uri, artifact_root=f"file://{tmp_path}/artifacts")


@pytest.fixture
def registry(uri: str, tmp_path: Path) -> MlflowRegistry:
    return MlflowRegistry(uri, artifact_root=f"file://{tmp_path}/artifacts", cache=tmp_path / "models")


class TestMlflowRegistry(RegistryContract):
    @pytest.fixture
    def registry(self, uri: str, tmp_path: Path) -> Registry:
        return MlflowRegistry(uri, artifact_root=f"file://{tmp_path}/artifacts", cache=tmp_path / "models")

    @pytest.fixture
    def tracker(self, uri: str, tmp_path: Path) -> Tracker:
        return MlflowTracker(uri, artifact_root=f"file://{tmp_path}/artifacts")

    def test_the_bundles_address_is_immutable_and_readable(
        self, registry: Registry, tracker: Tracker, bundle: Path
    ) -> None:
        version = register_version(registry, tracker, bundle)
        assert version.uri.startswith("file://")
        assert (Path(version.uri.removeprefix("file://")) / "model.json").is_file()
        assert "/m-" in version.uri  # by the logged model's own id, not by an alias or a number that may move

    def test_a_metric_that_is_not_a_number_is_left_out(
        self, registry: Registry, tracker: Tracker, bundle: Path
    ) -> None:
        with tracker.run("train", experiment="shop") as run:
            metrics = {"auc": float("nan"), "log_loss": 0.5}
            version = registry.register(
                "shop", bundle, run_id=run.id, example=pd.DataFrame({"a": [1.0]}), tags={}, metrics=metrics
            )
        assert version.metrics == {"log_loss": 0.5}


def test_users_load_a_version_as_a_pyfunc(
    registry: MlflowRegistry, tracker: MlflowTracker, tmp_path: Path, uri: str
) -> None:
    spec = shop_spec()
    sessions = shop_sessions(np.random.default_rng(1), spec, rows=600)
    bundle = shop_bundle(tmp_path / "bundle", sessions, spec, rng=np.random.default_rng(2))
    example = sessions[["lcp_ms", "api_ms", "device"]].head(20)
    with tracker.run("train", experiment="shop") as run:
        registry.register("shop", bundle, run_id=run.id, example=example, tags={}, metrics={})
    registry.set_alias("shop", "champion", 1)
    with quiet():
        model = mlflow.pyfunc.load_model("models:/shop@champion")
    answer = model.predict(sessions.head(5))
    assert list(answer.columns) == ["probability", "uplift", "act"]
    assert answer["probability"].between(0, 1).all()
    assert model.metadata.signature.inputs.input_names() == ["lcp_ms", "api_ms", "device"]


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("log_model_artifacts", marks=pytest.mark.slow),
        pytest.param("finalize_logged_model", marks=pytest.mark.slow),
        "create_model_version",
    ],
)
def test_a_killed_registration_leaves_no_champion_and_can_be_done_again(
    registry: MlflowRegistry, tracker: MlflowTracker, tmp_path: Path, step: str
) -> None:
    (tmp_path / "plr_mlp").mkdir()
    (tmp_path / "plr_mlp" / "model.json").write_text("{}")
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), step], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(NotFound):
        registry.resolve("shop", "champion")
    for version in registry.versions("shop"):  # a version that is visible is whole
        assert (registry.download(version) / "model.json").is_file()
    again = register_version(registry, tracker, tmp_path / "plr_mlp")
    registry.set_alias("shop", "champion", again.version)
    assert registry.resolve("shop", "champion").version == again.version


def test_a_run_records_what_it_is_told(tracker: MlflowTracker, uri: str, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    with tracker.run("first", experiment="shop") as run:
        run.params({f"p{number}": number for number in range(120)} | {"long": "x" * 9000})
        run.metrics({"loss": 0.5}, step=1)
        run.metrics({"loss": 0.25}, step=2)
        run.tags({"snapshot_id": "abc"})
        run.artifact(tmp_path / "note.txt", folder="notes")
    recorded = client(uri).get_run(run.id)
    assert recorded.info.status == "FINISHED"
    assert recorded.data.params["p119"] == "119"
    assert len(recorded.data.params) == 121
    assert recorded.data.metrics == {"loss": 0.25}
    assert recorded.data.tags["snapshot_id"] == "abc"
    assert recorded.data.tags["trimtab.version"]
    assert [file.path for file in client(uri).list_artifacts(run.id, "notes")] == ["notes/note.txt"]


def test_a_run_whose_block_raises_is_recorded_as_failed(tracker: MlflowTracker, uri: str) -> None:
    with pytest.raises(ZeroDivisionError), tracker.run("first", experiment="shop") as run:
        raise ZeroDivisionError
    assert client(uri).get_run(run.id).info.status == "FAILED"


def test_two_processes_may_make_the_same_experiment(tracker: MlflowTracker, uri: str, tmp_path: Path) -> None:
    other = MlflowTracker(uri, artifact_root=f"file://{tmp_path}/artifacts")
    with tracker.run("a", experiment="shop") as one, other.run("b", experiment="shop") as two:
        assert client(uri).get_run(one.id).info.experiment_id == client(uri).get_run(two.id).info.experiment_id


def test_a_folder_is_not_a_tracking_server(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="sqlite"):
        MlflowRegistry(f"file://{tmp_path}", artifact_root="", cache=tmp_path).versions()


def test_a_server_that_is_away_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Unavailable, match="did not answer"):
        MlflowRegistry("http://127.0.0.1:9", artifact_root="", cache=tmp_path).versions()


@pytest.mark.slow
def test_it_is_silent_and_sends_nothing(tmp_path: Path) -> None:
    script = (
        "from trimtab.adapters.mlflow import MlflowRegistry; from pathlib import Path; import sys, mlflow.telemetry\n"
        "MlflowRegistry(f'sqlite:///{sys.argv[1]}/new.db', artifact_root='', cache=Path(sys.argv[1])).versions()\n"
        "assert mlflow.telemetry.get_telemetry_client() is None\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path)],
        capture_output=True, check=False, text=True, timeout=120, env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
