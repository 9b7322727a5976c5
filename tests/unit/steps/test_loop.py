from pathlib import Path

import pytest

from trimtab import runtime
from trimtab.steps import loop
from trimtab.testing.registry import mlflow_database, register_version


def test_a_model_without_a_champion_does_not_stop_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path))
    mlflow_database(tmp_path)
    ports = runtime.load("local")
    assert not loop.judged_model("shop", ports)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "model.json").write_text("{}")
    register_version(ports.registry, ports.tracker, tmp_path / "bundle")
    assert not loop.judged_model("shop", ports)
    ports.registry.set_alias("shop", "champion", 1)
    assert loop.judged_model("shop", ports) == "shop"
