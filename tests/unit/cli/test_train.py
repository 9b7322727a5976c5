from pathlib import Path

import orjson
import pytest
import typer
import yaml
from typer.testing import CliRunner

from trimtab.cli import train
from trimtab.errors import BadInput, NotFound
from trimtab.testing.known_truth import make_shop


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "home"))
    made = typer.Typer()
    made.callback()(lambda: None)  # so that the single command keeps its name
    train.register(made)
    return made


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    shop = make_shop(1_200)
    data, spec = tmp_path / "sessions.csv", tmp_path / "spec.yaml"
    shop.frame.to_csv(data, index=False)
    spec.write_text(yaml.safe_dump(shop.spec.model_dump(mode="json", exclude_defaults=True)))
    return ["--data", str(data), "--spec", str(spec)]


def test_a_file_becomes_a_model_and_its_snapshot_can_be_trained_again(app: typer.Typer, files: list[str]) -> None:
    first = CliRunner().invoke(app, ["train", *files, "--kind", "logistic", "--json"])
    assert first.exit_code == 0, first.output
    result = orjson.loads(first.stdout)
    assert Path(result["bundle"]).is_dir()
    assert result["evaluation"]["model"] == "logistic"
    again = CliRunner().invoke(app, ["train", "--snapshot", result["notes"]["snapshot"], "--kind", "logistic"])
    assert again.exit_code == 0, again.output
    assert "lowest log loss" in again.stdout
    assert "constant" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--snapshot"),
        (["--data", "x.csv"], "--spec"),
        (["--snapshot", "a", "--data", "x.csv", "--spec", "s"], "--snapshot"),
        (["--snapshot", "a", "--kind", "forest"], "forest"),
        (["--snapshot", "a", "--device", "tpu"], "tpu"),
    ],
)
def test_wrong_arguments_are_named(app: typer.Typer, arguments: list[str], message: str) -> None:
    answer = CliRunner().invoke(app, ["train", *arguments])
    assert isinstance(answer.exception, BadInput)
    assert message in str(answer.exception)


def test_an_unknown_snapshot_is_not_found(app: typer.Typer) -> None:
    answer = CliRunner().invoke(app, ["train", "--snapshot", "0123456789abcdef"])
    assert isinstance(answer.exception, NotFound)


def test_help_has_an_example_and_exit_codes(app: typer.Typer) -> None:
    text = " ".join(CliRunner().invoke(app, ["train", "--help"]).stdout.split())
    assert "Example: trimtab train" in text
    assert "2 bad input" in text
