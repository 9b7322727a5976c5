from pathlib import Path

import orjson
import pytest

from trimtab.cli import main


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "home"))
    (tmp_path / "sessions.csv").write_text("a,b\n1,2\n")
    return tmp_path / "home"


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["run", *arguments])
    return int(left.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data", "absent.csv", "--spec", "churn"), ("'absent.csv' is not a file",)),
        (("--data", "sessions.csv"), ("--data needs --spec", "bring-your-own-data.md")),
        (("--spec", "churn"), ("--spec 'churn' needs --data",)),
        (("--device", "quantum"), ("--device 'quantum' is not known", "auto, cpu, cuda, hpu")),
        (("--out", "sessions.csv"), ("sessions.csv' is not a report",)),
        (("--out", "sessions.csv/report"), ("cannot be made in", "where you may write")),
        (("--profile", "absent"), ("profile 'absent'", "cluster, local")),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else None,
)
def test_a_wrong_argument_is_told_before_any_work(
    arguments: tuple[str, ...], said: tuple[str, ...], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    for part in (*said, "what to do"):
        assert part in " ".join(shown.err.split())
    assert not (home / "runs").exists()


def test_a_wrong_option_is_json_where_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--sessions", "5", "--json") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    error = orjson.loads(shown.err)["error"]
    assert error["kind"] == "BadInput"
    assert "--sessions" in error["message"]


def test_a_state_folder_that_cannot_be_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.write_text("a file")
    assert _run() == 2
    assert "Set TRIMTAB_HOME" in capsys.readouterr().err
