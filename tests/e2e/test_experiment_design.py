"""`trimtab experiment design` and `simulate`, and locking a spec; and the business report as an example."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from trimtab.cli import app

EXAMPLE = Path(__file__).parents[2] / "examples" / "recommendations"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TRIMTAB_PROFILE", raising=False)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    with pytest.raises(SystemExit) as stop:
        app.main(["experiment", *arguments, "--json"])
    shown = capsys.readouterr()
    code = int(stop.value.code or 0)
    return code, json.loads(shown.err if code else shown.out)


def test_a_rate(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(capsys, "design", "--baseline", "0.1", "--effect", "0.1", "--per-day", "2000")
    assert code == 0
    assert found["metrics"][0]["per_arm"] == [14_749, 14_749]
    assert found["metrics"][0]["days"] == 15
    powers = [point["power"] for point in found["metrics"][0]["curve"]]
    assert powers == sorted(powers)
    assert powers[3] == pytest.approx(0.8, abs=1e-3)


def test_the_effect_that_a_size_finds(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(capsys, "design", "--baseline", "0.1", "--units", "29498")
    assert code == 0
    assert found["metrics"][0]["effect"] == pytest.approx(0.01, rel=1e-3)


def test_looks_arms_and_weights_cost_units(capsys: pytest.CaptureFixture[str]) -> None:
    plain = run(capsys, "design", "--baseline", "0.1", "--effect", "0.1")[1]["metrics"][0]["total"]
    looked = run(capsys, "design", "--baseline", "0.1", "--effect", "0.1", "--looks", "5")[1]
    assert len(looked["looks"]) == 5
    assert 1.01 * plain < looked["metrics"][0]["total"] < 1.1 * plain
    uneven = run(capsys, "design", "--baseline", "0.1", "--effect", "0.1", "--weights", "control=.8,b=.2")[1]
    assert uneven["metrics"][0]["total"] > 1.3 * plain
    three = run(capsys, "design", "--baseline", "0.1", "--effect", "0.1", "--weights", "control=1,b=1,c=1")[1]
    assert three["metrics"][0]["total"] > 1.5 * plain


def test_a_history_tells_what_cuped_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(2)
    before = rng.gamma(2.0, 10.0, 3_000)
    table = pd.DataFrame({"user": np.arange(3_000), "before": before, "revenue": before + rng.normal(0, 5, 3_000)})
    table.to_csv(tmp_path / "history.csv", index=False)
    options = ("--history", str(tmp_path / "history.csv"), "--unit", "user", "--metric", "revenue=mean:revenue")
    code, found = run(capsys, "design", *options, "--covariate", "revenue=before", "--effect", "0.05")
    assert code == 0
    metric = found["metrics"][0]
    assert metric["saving"] == pytest.approx(np.corrcoef(before, table["revenue"])[0, 1] ** 2, rel=1e-6)
    assert metric["total"] == pytest.approx(metric["total_without_covariate"] * (1 - metric["saving"]), rel=0.01)


def test_simulated_experiments_keep_the_promise(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--baseline", "0.1", "--effect", "0.1", "--looks", "5", "--per-day", "2000", "--runs", "4000")
    code, found = run(capsys, "simulate", *options)
    assert code == 0
    assert found["type_one_error"]["low"] <= 0.053
    assert found["power"]["low"] <= 0.81
    assert found["power"]["high"] >= 0.79
    assert found["peeking_error"]["low"] > 0.1
    assert found["expected_units"] < found["total"]
    assert run(capsys, "simulate", *options)[1] == found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("design", "--effect", "0.1"), "nothing is known of the metric"),
        (("design", "--baseline", "0.1"), "effect to be found, or the number of units"),
        (("design", "--baseline", "1.5", "--effect", "0.1"), "strictly between 0 and 1"),
        (("design", "--baseline", "0.6", "--effect", "0.9"), "out of [0, 1]"),
        (("design", "--baseline", "0.1", "--effect", "0.1", "--alpha", "2"), "alpha is 2.0"),
        (("design", "--baseline", "0.1", "--effect", "0.1", "--lock"), "only a spec can be locked"),
        (("simulate", "--baseline", "0.1"), "needs the effect or the number of units"),
    ],
)
def test_mistakes_are_named(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    code, found = run(capsys, *arguments)
    assert code == 2
    assert words in found["error"]["message"]


def test_changes_after_the_lock_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "units.csv"
    pd.DataFrame({"unit": range(8), "arm": ["a", "b"] * 4, "bought": [0, 1, 1, 1, 0, 0, 1, 1]}).to_csv(
        data, index=False
    )
    declared = {"name": "e", "control": "a", "metrics": {"bought": {"kind": "binary", "column": "bought"}}}
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(declared))
    code, design = run(capsys, "design", "--spec", str(path), "--baseline", "0.1", "--effect", "0.1", "--lock")
    assert code == 0
    _, before = run(capsys, "analyze", str(data), "--spec", str(path))
    assert before["experiment"]["changes"] == []
    assert before["experiment"]["declared_hash"] == before["experiment"]["spec_hash"] == design["spec_hash"]
    path.write_text("# a comment changes nothing\n" + yaml.safe_dump({**declared, "alpha": 0.1}))
    _, after = run(capsys, "analyze", str(data), "--spec", str(path))
    assert after["experiment"]["changes"] == ["alpha: 0.05 became 0.1"]
    assert after["experiment"]["declared_hash"] == design["spec_hash"] != after["experiment"]["spec_hash"]
    code, error = run(capsys, "design", "--spec", str(path), "--baseline", "0.1", "--effect", "0.1", "--lock")
    assert code == 2
    assert "locked before" in error["error"]["message"]


def test_the_business_report(capsys: pytest.CaptureFixture[str]) -> None:
    """The right numbers, where the report that this example is taken from printed others."""
    options = ("--aggregates", str(EXAMPLE / "aggregates.csv"), "--spec", str(EXAMPLE / "spec.yaml"))
    code, found = run(capsys, "analyze", *options)
    assert code == 0
    conversion = found["metrics"]["conversion"]["comparisons"][0]
    assert conversion["relative"]["estimate"] == pytest.approx(0.0848, abs=5e-5)
    assert conversion["bayesian"]["probability_better"] == pytest.approx(0.9999, abs=1e-4)
    assert found["health"]["srm"]["p_value"] == pytest.approx(0.287, abs=5e-4)
    guard = found["metrics"]["page_load_seconds"]["comparisons"][0]
    assert guard["relative"]["estimate"] == pytest.approx(0.0773, abs=5e-5)
    assert guard["noninferiority"]["shown"]
    case = found["business"]["treatment"]
    assert case["revenue"]["estimate"] == pytest.approx(3.84e6, rel=0.01)
    assert case["net"]["estimate"] == pytest.approx(2.89e6, rel=0.01)
    assert case["return_on_investment"]["estimate"] == pytest.approx(3.04, rel=0.01)
    assert case["payback_months"] == pytest.approx(3.0, abs=0.1)
    effects = {one["segment"]: one["relative"]["estimate"] for one in found["segments"][0]["segments"]}
    assert effects == pytest.approx({"power": 0.1379, "casual": 0.0891, "new": -0.0087}, abs=2e-3)
    assert found["verdict"]["decision"] == "ship"
