"""The shipped pipeline on this machine, from a file of sessions to a champion."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def _trimtab(home: Path, *arguments: str) -> bytes:
    environment = {**os.environ, "TRIMTAB_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from trimtab.cli import main; main()", *arguments, "--json"]
    return subprocess.run(command, env=environment, check=True, capture_output=True, timeout=280).stdout


def test_sessions_become_a_champion_and_a_second_run_is_free(tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "shop"
    _trimtab(home, "simulate", "--out", str(out), "--sessions", "3000")
    run = ("pipeline", "run", "--data", str(out / "sessions.parquet"), "--spec", "ux_sessions",
           "--set", "kind=logistic", "--set", "trials=0")  # fmt: skip
    first, again = (orjson.loads(_trimtab(home, *run)) for _ in range(2))
    assert first["state"] == "SUCCEEDED"
    assert again == first
    (version,) = orjson.loads(_trimtab(home, "models", "list"))
    assert (version["version"], version["aliases"]) == (1, ["champion"])
    stages = {path.stem for path in (home / "runs" / first["id"]).glob("*.json")}
    assert {"validate", "features", "materialize", "first_champion", "train", "register", "impact"} == stages
