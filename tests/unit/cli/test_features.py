from pathlib import Path

import numpy as np
import orjson
import pytest
import yaml

from trimtab import runtime
from trimtab.cli import main
from trimtab.sessions.spec import DatasetSpec
from trimtab.steps import features
from trimtab.testing.feature_store import visits, visits_spec


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def _written(folder: Path, spec: DatasetSpec) -> str:
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec.model_dump(mode="json", exclude_defaults=True)))
    return str(path)


def test_materialize_loads_the_newest_histories(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, ports = visits_spec(), runtime.load("local")
    sessions = visits(np.random.default_rng(3))[list(spec.columns)]
    snapshot = ports.snapshots.put(sessions, spec, source="test", rejected=0)
    features.run(features.Config(snapshot.id), ports)
    assert _run("features", "materialize", _written(home, spec), "--json") == 0
    assert orjson.loads(capsys.readouterr().out)["units"] == sessions["user_id"].nunique()
    unit = str(sessions["user_id"].iloc[0])
    assert ports.features.online([unit], spec)["prior_sessions"].iloc[0] == (sessions["user_id"] == unit).sum()


def test_materialize_before_features_is_one_message(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("features", "materialize", _written(home, visits_spec())) == 2
    assert "features step" in capsys.readouterr().err


def test_sessions_without_units_have_nothing_to_load(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {name: column for name, column in visits_spec().columns.items() if name != "user_id"}
    assert _run("features", "materialize", _written(home, visits_spec().model_copy(update={"columns": columns}))) == 0
    assert "no history" in capsys.readouterr().out
