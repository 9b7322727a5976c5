"""The feature repository is an ordinary Feast repository: `feast apply` and `feast materialize` work on it."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from trimtab.adapters.feast import FeastFeatureStore
from trimtab.testing.feature_store import START, visits, visits_spec

ROOT = Path(__file__).parents[2]


def feast(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TRIMTAB_HOME": str(home), "TRIMTAB_DATASET": "visits", "FEAST_USAGE": "False"}
    command = [sys.executable, "-c", "from feast.cli.cli import cli; cli()", "-c", str(ROOT / "feature_repo")]
    return subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.e2e
def test_feast_applies_and_materialises(tmp_path: Path) -> None:
    spec, sessions = visits_spec(), visits(np.random.default_rng(4))
    folder = tmp_path / "features"
    store = FeastFeatureStore(folder, registry=f"{folder}/registry.db", online_store=f"sqlite:///{folder}/online.db")
    store.prepare("0123456789abcdef", sessions, spec)
    (folder / "registry.db").unlink()

    applied = feast(tmp_path, "apply")
    assert applied.returncode == 0, applied.stderr
    end = (START + timedelta(days=60)).isoformat()
    loaded = feast(tmp_path, "materialize", datetime(1970, 1, 1, tzinfo=UTC).isoformat(), end)
    assert loaded.returncode == 0, loaded.stderr

    fresh = FeastFeatureStore(folder, registry=f"{folder}/registry.db", online_store=f"sqlite:///{folder}/online.db")
    units = sorted(sessions["user_id"].unique())
    by_feast = fresh.online(units, spec, at=[START + timedelta(days=60)] * len(units))
    store.prepare("0123456789abcdef", sessions, spec)
    store.materialize(spec)
    assert by_feast.equals(store.online(units, spec, at=[START + timedelta(days=60)] * len(units)))


@pytest.mark.slow
@pytest.mark.e2e
def test_absent_dataset_is_named(tmp_path: Path) -> None:
    applied = feast(tmp_path, "apply")
    assert applied.returncode != 0
    assert "holds no dataset" in applied.stderr
