"""The next allocation, through the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from trimtab.cli import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TRIMTAB_PROFILE", raising=False)
    return tmp_path


def bandit(capsys: pytest.CaptureFixture[str], path: Path, *options: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as stop:
        app.main(["experiment", "bandit", str(path), *options, "--json"])
    shown = capsys.readouterr()
    code = int(stop.value.code or 0)
    return code, json.loads(shown.err if code else shown.out)


def test_the_better_arm_gets_more_and_a_new_one_its_chance(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "arms.csv"
    path.write_text("arm,successes,units\nA,100,1000\nB,150,1000\n")
    code, found = bandit(capsys, path, "--new", "C", "--floor", "0.05")
    assert code == 0
    shares = {name: arm["share"] for name, arm in found["arms"].items()}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["A"] == pytest.approx(0.05, abs=0.001)
    assert shares["C"] > shares["B"] > shares["A"]  # Nothing is known of C, and a uniform prior is generous.
    assert "Confirm the winner in an experiment with a fixed allocation" in found["caveat"]


def test_young_exposures_count_for_nothing_yet(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "exposures.csv"
    path.write_text(
        "variant,at,bought\n"
        "A,2026-11-01T00:00:00Z,2026-11-01T05:00:00Z\n"
        "A,2026-11-01T00:00:00Z,\n"
        "B,2026-11-01T00:00:00Z,2026-11-03T00:00:00Z\n"  # after its window
        "B,2026-11-02T20:00:00Z,2026-11-02T21:00:00Z\n"  # early, but its window is open
    )
    options = ("--arm", "variant", "--time", "at", "--rewarded", "bought", "--now", "2026-11-03T00:00:00Z")
    code, found = bandit(capsys, path, *options)
    assert code == 0
    counts = {name: (arm["successes"], arm["units"], arm["pending"]) for name, arm in found["arms"].items()}
    assert counts == {"A": (1, 2, 0), "B": (0, 1, 1)}
    assert found["as_of"] == "2026-11-03T00:00:00+00:00"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arm,succeses,units\nA,1,2\n", "no column 'successes'; did you mean 'succeses'?"),
        ("arm,successes,units\nA,3,2\nB,1,2\n", "more successes than units"),
        ("arm,successes,units\nA,1,2\n", "one arm only"),
        ("arm,successes,units\nA,1,2\nA,1,2\n", "a second time"),
        ("arm,successes,units\nA,-1,2\nB,1,2\n", "not negative"),
    ],
)
def test_bad_input_is_told(folder: Path, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    path = folder / "arms.csv"
    path.write_text(text)
    code, found = bandit(capsys, path)
    assert code == 2
    assert message in found["error"]["message"]
