"""`trimtab train` by two processes, started as a TrainJob starts them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from trimtab import runtime
from trimtab.models.bundle import ConversionModel
from trimtab.sessions.spec import dump_spec
from trimtab.steps import features, validate
from trimtab.testing.shop import shop_sessions, shop_spec

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

SPEC = shop_spec(users=False)


def test_two_processes_leave_one_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shop_sessions(np.random.default_rng(4), SPEC).to_csv(tmp_path / "sessions.csv", index=False)
    (tmp_path / "spec.yaml").write_text(dump_spec(SPEC))
    ports = runtime.load("local")
    config = validate.Config(data=str(tmp_path / "sessions.csv"), spec=str(tmp_path / "spec.yaml"))
    snapshot = validate.run(config, ports).snapshot_id
    features.run(features.Config(snapshot), ports)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    trimtab = [sys.executable, "-c", "from trimtab.cli import main; main()", "train", "--device=cpu", "--json"]
    given = [f"--snapshot={snapshot}", f"--out={tmp_path / 'bundle'}"]
    ended = subprocess.run(
        [*torchrun, "--no-python", *trimtab, *given], check=False, capture_output=True, text=True, timeout=280
    )
    assert ended.returncode == 0, ended.stderr
    result = orjson.loads(ended.stdout)  # of the process that leads; the other one says nothing
    assert result["bundle"] == str(tmp_path / "bundle")
    assert ConversionModel.load(tmp_path / "bundle").name == "shop"
