from pathlib import Path

import orjson
import pytest
import typer
from typer.testing import CliRunner

from trimtab.cli import simulate
from trimtab.errors import BadInput


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "home"))
    made = typer.Typer()
    made.callback()(lambda: None)  # so that the single command keeps its name
    simulate.register(made)
    return made


def test_json_names_the_files(app: typer.Typer, tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["simulate", "--sessions", "300", "--out", str(tmp_path / "o"), "--json"])
    assert answer.exit_code == 0, answer.output
    result = orjson.loads(answer.stdout)
    assert result["rows"] == 300
    assert Path(result["data"]).is_file()
    assert Path(result["truth"]).is_file()


def test_people_read_sentences(app: typer.Typer, tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["simulate", "--sessions", "300", "--out", str(tmp_path / "o")])
    assert answer.exit_code == 0, answer.output
    assert "300 sessions" in answer.stdout
    assert "sessions.parquet" in answer.stdout


def test_help_has_an_example_and_exit_codes(app: typer.Typer) -> None:
    text = " ".join(CliRunner().invoke(app, ["simulate", "--help"]).stdout.split())
    assert "Example: trimtab simulate" in text
    assert "2 bad input" in text


@pytest.mark.parametrize("wrong", [["--drift", "hail"], ["--sessions", "0"], ["--start", "monday"]])
def test_wrong_arguments_raise_bad_input(app: typer.Typer, tmp_path: Path, wrong: list[str]) -> None:
    answer = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path / "o"), *wrong])
    assert isinstance(answer.exception, BadInput)
    assert not (tmp_path / "o").exists()
