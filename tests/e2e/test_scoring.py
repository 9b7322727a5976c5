"""A registered version scores sessions: by the command, and by the shipped pipeline, with histories of the store."""

from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest

from trimtab import runtime
from trimtab.cli import main
from trimtab.ports import Ports
from trimtab.sessions.simulator.catalogue import SPEC_NAME
from trimtab.steps import features, register, simulate, train, validate

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

SESSIONS = 2_000


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ports:
    """A profile whose registry holds one version of a model with history features."""
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ports = runtime.load("local")
    simulate.run(simulate.Config(out=str(tmp_path / "shop"), sessions=SESSIONS), ports)
    data = str(tmp_path / "shop" / "sessions.parquet")
    snapshot = validate.run(validate.Config(data=data, spec=SPEC_NAME), ports).snapshot_id
    features.run(features.Config(snapshot_id=snapshot), ports)
    bundle = train.run(train.Config(snapshot_id=snapshot, kind="logistic", resamples=20), ports).bundle
    register.run(register.Config(snapshot_id=snapshot, bundle=bundle, seed=7, run="first"), ports)
    return ports


def _score(data: Path, out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    command = ["score", str(data), "--model", f"{SPEC_NAME}@1", "--out", str(out), "--json", *options]
    with pytest.raises(SystemExit) as left:
        main(command)
    assert not left.value.code
    answer: dict[str, object] = orjson.loads(capsys.readouterr().out)
    return answer


def test_the_command_and_the_pipeline_say_the_same(
    ports: Ports, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "shop" / "sessions.parquet"
    capsys.readouterr()
    result = _score(data, tmp_path / "with", capsys)
    assert (result["history"], result["read"]) == ("store", SESSIONS)
    scores = pd.read_parquet(str(result["scores"]))
    assert len(scores) == result["rows"]
    arguments = {
        "data": str(data), "model": SPEC_NAME, "reference": "1", "out": str(tmp_path / "piped"), "profile": "local",
    }  # fmt: skip
    made = ports.launcher.submit("scoring", arguments, run_key="scores")
    assert made.state == "SUCCEEDED"
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "piped" / "scores.parquet"), scores)
    # The store knows its users, and that is seen in the answers.
    without = _score(data, tmp_path / "without", capsys, "--without-history")
    assert without["history"] == "absent"
    unknown = pd.read_parquet(str(without["scores"]))
    assert scores["unit"].equals(unknown["unit"])
    assert (np.abs(scores["probability"] - unknown["probability"]) > 1e-3).mean() > 0.1
