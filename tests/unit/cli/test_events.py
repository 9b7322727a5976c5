"""What the event log holds, and its compaction, through the command."""

from pathlib import Path

import orjson
import pytest

from trimtab import runtime
from trimtab.cli import main
from trimtab.testing.event_log import exposure


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def logged() -> None:
    log = runtime.load("local").events
    for number in range(3):
        log.append([exposure(f"u{number}"), exposure("u", experiment="other")])


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def test_says_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("events", "show") == 0
    assert "No event is logged yet" in capsys.readouterr().out


@pytest.mark.usefixtures("logged")
def test_shows_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("events", "show") == 0
    rows = [line.split()[:4] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["e", "exposure", "3", "3"], ["other", "exposure", "3", "3"]]


@pytest.mark.usefixtures("logged")
def test_compacts_one_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("events", "compact", "--experiment", "e", "--json") == 0
    rows = orjson.loads(capsys.readouterr().out)
    assert [(row["experiment"], row["segments"], row["rows"]) for row in rows] == [("e", 1, 3), ("other", 3, 3)]
    assert _run("events", "compact") == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:4] == ["other", "exposure", "1", "1"]


@pytest.mark.usefixtures("logged")
def test_refuses_an_experiment_without_events(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("events", "compact", "--experiment", "nothing") == 2
    assert "'nothing' has no events" in capsys.readouterr().err
