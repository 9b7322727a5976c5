import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.cli import main


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def users(tmp_path: Path) -> str:
    rng = np.random.default_rng(2)
    treated = np.arange(2_000) % 2
    table = pd.DataFrame(
        {
            "user": np.arange(2_000),
            "variant": np.where(treated, "B", "A"),
            "bought": (rng.random(2_000) < 0.2 + 0.1 * treated).astype(int),
        }
    )
    table.to_csv(tmp_path / "users.csv", index=False)
    return "users.csv"


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["experiment", "report", *arguments])
    return int(left.value.code or 0)


OPTIONS = ("--unit", "user", "--arm", "variant", "--control", "A", "--metric", "bought=binary:bought")


def test_writes_three_files_and_says_the_headline(users: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(users, *OPTIONS, "--out", "out") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Ship B: bought rose by ")
    assert sorted(path.name for path in (home / "out").iterdir()) == ["report.html", "report.json", "report.md"]
    assert str(home / "out" / "report.html") in shown


def test_for_machines(users: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(users, *OPTIONS, "--out", "out", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["decision"] == "ship"
    assert Path(found["markdown"]) == home / "out" / "report.md"


def test_the_command_in_the_report_makes_it_again(users: str, home: Path) -> None:
    assert _run(users, *OPTIONS, "--weights", "A=.5,B=.5", "--out", "out") == 0
    first = json.loads((home / "out" / "report.json").read_bytes())
    command = first["command"].split()
    assert command[:3] == ["trimtab", "experiment", "report"]
    assert _run(*command[3:]) == 0
    again = json.loads((home / "out" / "report.json").read_bytes())
    assert again["analysis"] == first["analysis"]


def test_a_spec_changed_by_options_shows_it(users: str, home: Path) -> None:
    (home / "spec.yaml").write_text(
        "name: t\nunit: user\narm: variant\ncontrol: A\nmetrics: {bought: {kind: binary, column: bought}}\n"
    )
    assert _run(users, "--spec", "spec.yaml", "--weights", "A=.5,B=.5", "--out", "out") == 0
    assert "The rules changed" in (home / "out" / "report.md").read_text()


def test_bad_input_writes_nothing(users: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(users, *OPTIONS[:-1], "bought=binary:baught", "--out", "out") == 2
    assert "did you mean 'bought'?" in capsys.readouterr().err
    assert not (home / "out").exists()


def test_a_folder_of_other_work_is_refused_before_any_work(
    users: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "thesis").mkdir()
    (home / "thesis" / "chapter.txt").write_text("mine")
    assert _run("absent.csv", *OPTIONS, "--out", "thesis") == 2
    assert "is not a report" in capsys.readouterr().err
