"""Profiles: those that come along and those of the examples load, and what is wrong in one is named."""

from pathlib import Path

import pytest
import yaml

from trimtab.errors import BadInput
from trimtab.profile import load_profile, shipped_profiles

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "profiles").glob("*.yaml"))


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path))
    for name in ("MLFLOW_TRACKING_URI", "TRIMTAB_BUCKET", "TRIMTAB_DATABASE"):
        monkeypatch.setenv(name, "here")
    monkeypatch.delenv("SPARK_MASTER", raising=False)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_loads(path: Path, tmp_path: Path) -> None:
    found = load_profile(str(path))
    assert (found.name, found.home) == (path.stem, tmp_path)


def test_there_are_examples_and_their_engines_are_feasts() -> None:
    engines = {path.stem: load_profile(str(path)).features.batch_engine for path in EXAMPLES}
    assert {name: engine and engine["type"] for name, engine in engines.items()} == {
        "ray": "ray.engine",
        "spark": "spark.engine",
        "stores": None,
    }
    assert engines["spark"]
    assert engines["spark"]["spark_conf"]["spark.master"] == "local[2]"


def test_an_engine_needs_a_type(tmp_path: Path) -> None:
    profile = yaml.safe_load(shipped_profiles()["local"].read_text())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**profile, "features": {"batch_engine": {"workers": 3}}}))
    with pytest.raises(BadInput, match=r"features: .*batch_engine has no type"):
        load_profile(str(tmp_path / "mine.yaml"))


def test_variables_are_filled_in_lists_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOL", "spot")
    profile = yaml.safe_load(shipped_profiles()["local"].read_text())
    engine = {"type": "ray.engine", "tags": ["${POOL}", 3]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**profile, "features": {"batch_engine": engine}}))
    found = load_profile(str(tmp_path / "mine.yaml")).features.batch_engine
    assert found is not None
    assert found["tags"] == ["spot", 3]
