from pathlib import Path

import orjson
import pytest

from trimtab import runtime
from trimtab.cli import main
from trimtab.testing.registry import mlflow_database, register_version


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    mlflow_database(tmp_path)
    return tmp_path


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def _champion(home: Path) -> None:
    ports = runtime.load("local")
    (home / "bundle").mkdir()
    (home / "bundle" / "model.json").write_text("{}")
    register_version(ports.registry, ports.tracker, home / "bundle")
    ports.registry.set_alias("shop", "champion", 1)


def test_lists_versions(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _champion(home)
    assert _run("models", "list") == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[:5] == ["shop", "1", "champion", "0.8000", "passed"]


def test_lists_versions_for_machines(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _champion(home)
    assert _run("models", "list", "--json", "--name", "shop") == 0
    (version,) = orjson.loads(capsys.readouterr().out)
    assert (version["version"], version["aliases"], version["metrics"]) == (1, ["champion"], {"auc": 0.8})


def test_says_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("models", "list") == 0
    assert "No model is registered yet" in capsys.readouterr().out


def test_an_unknown_model_is_not_an_empty_registry(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("models", "list", "--name", "nosuch") == 2
    assert "no model 'nosuch' is registered" in capsys.readouterr().err
