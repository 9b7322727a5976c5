"""Exposures joined with outcomes, phases and looks, through the command line."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from trimtab.cli import app
from trimtab.experiments.analysis.result import Analysis

START = datetime(2026, 11, 1, tzinfo=UTC)
METRICS = {
    "conversion": {"kind": "binary", "column": "purchase"},
    "revenue": {"kind": "mean", "column": "purchase"},
    "clicks": {"kind": "mean", "column": "click"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TRIMTAB_PROFILE", raising=False)
    return tmp_path


def analyse(
    folder: Path, capsys: pytest.CaptureFixture[str], exposures: pd.DataFrame, **fields: object
) -> tuple[Analysis | None, str]:
    exposures.to_csv(folder / "exposures.csv", index=False)
    spec = {"name": "joined", "unit": "unit", "arm": "arm", "control": "A", "time": "at", **fields}
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    with pytest.raises(SystemExit) as stop:
        app.main(
            ["experiment", "analyze", str(folder / "exposures.csv"), "--spec", str(folder / "spec.yaml"), "--json"]
        )
    shown = capsys.readouterr()
    if stop.value.code:
        return None, json.loads(shown.err)["error"]["message"]
    return TypeAdapter(Analysis).validate_json(shown.out), ""


def at(hours: float) -> str:
    return (START + timedelta(hours=hours)).isoformat()


def test_outcomes_count_within_the_window_of_the_first_exposure(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exposures = pd.DataFrame(
        [
            ("a1", "A", at(0)), ("a1", "A", at(5)), ("a2", "A", at(0)), ("a3", "A", at(1)),
            ("b1", "B", at(0)), ("b2", "B", at(0)), ("b3", "B", at(2)),
            ("mixed", "A", at(0)), ("mixed", "B", at(1)),
        ],
        columns=["unit", "arm", "at"],
    )  # fmt: skip
    outcomes = pd.DataFrame(
        [
            ("a1", at(2), "purchase", 10.0), ("a1", at(3), "purchase", 5.0),  # both count, the conversion once
            ("a2", at(-1), "purchase", 99.0),  # before the exposure
            ("a3", at(1), "click", 1.0),  # at the very moment
            ("b1", at(24), "purchase", 99.0),  # at the end of the window: too late
            ("b2", at(23), "purchase", 7.0),
            ("mixed", at(2), "purchase", 99.0),  # left out with its unit
            ("stranger", at(2), "purchase", 99.0),  # never exposed
        ],
        columns=["unit", "at", "what", "amount"],
    )  # fmt: skip
    join = {
        "file": "outcomes.parquet", "unit": "unit", "time": "at", "metric": "what", "value": "amount",
        "window_hours": 24, "until": at(26),
    }  # fmt: skip
    outcomes["at"] = pd.to_datetime(outcomes["at"])
    outcomes.to_parquet(folder / "outcomes.parquet", index=False)
    found, message = analyse(folder, capsys, exposures, metrics=METRICS, outcomes=join)
    assert found is not None, message
    values = {name: [metric.arms[arm].value for arm in "AB"] for name, metric in found.metrics.items()}
    assert values["conversion"] == pytest.approx([1 / 3, 1 / 3])
    assert values["revenue"] == pytest.approx([5.0, 7 / 3])
    assert values["clicks"] == pytest.approx([1 / 3, 0.0])
    assert found.health.counts == {"A": 3, "B": 3}
    assert "1 units were exposed in several arms (e.g. mixed)" in found.health.problems[0]
    notes = " ".join(found.health.notes)
    assert "2 outcomes have no exposure before them" in notes
    assert "1 outcomes came after the attribution window" in notes


def test_units_that_may_convert_yet_are_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last outcome comes at hour 30, so windows of units exposed after hour 6 are open."""
    exposures = pd.DataFrame(
        [(f"{arm}{hour}", arm, at(hour)) for arm in "AB" for hour in (0, 3, 6, 7, 29)], columns=["unit", "arm", "at"]
    )
    outcomes = pd.DataFrame(
        [("A0", at(1), "purchase"), ("A7", at(8), "purchase"), ("B3", at(4), "purchase"), ("B29", at(30), "purchase")],
        columns=["unit", "at", "what"],
    )
    outcomes.to_csv(folder / "outcomes.csv", index=False)
    join = {"file": "outcomes.csv", "unit": "unit", "time": "at", "metric": "what", "window_hours": 24}
    only = {"conversion": METRICS["conversion"]}
    found, message = analyse(folder, capsys, exposures, metrics=only, outcomes=join)
    assert found is not None, message
    assert {arm: value.units for arm, value in found.metrics["conversion"].arms.items()} == {"A": 3, "B": 3}
    assert [found.metrics["conversion"].arms[arm].value for arm in "AB"] == pytest.approx([1 / 3, 1 / 3])
    assert any("4 units were left out because their attribution window" in note for note in found.health.notes)
    later, message = analyse(folder, capsys, exposures, metrics=only, outcomes={**join, "until": at(53)})
    assert later is not None, message
    assert later.health.counts == {"A": 5, "B": 5}
    nothing, message = analyse(folder, capsys, exposures, metrics=only, outcomes={**join, "window_hours": 48})
    assert nothing is None
    assert "window of all 10 units" in message


def daily(days: int, per_day: int, *, lift: float, share: float = 0.5) -> pd.DataFrame:
    rng = np.random.default_rng(11)
    count = days * per_day
    treated = rng.random(count) < share
    return pd.DataFrame(
        {
            "unit": np.arange(count),
            "arm": np.where(treated, "B", "A"),
            "at": [(START + timedelta(days=int(i // per_day), minutes=int(i % 600))).isoformat() for i in range(count)],
            "converted": (rng.random(count) < 0.2 + lift * treated).astype(int),
        }
    )


CONVERTED = {"conversion": {"kind": "binary", "column": "converted"}}


def test_a_look_says_why_it_may_not_stop(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    looks = {"planned_units": 8_000, "looks": [at(48)]}
    found, message = analyse(folder, capsys, daily(4, 500, lift=0.03), metrics=CONVERTED, sequential=looks)
    assert found is not None, message
    look = found.metrics["conversion"].comparisons[0].sequential
    assert look is not None
    assert look.look.fraction == pytest.approx(0.25)
    assert not look.stop
    assert "Go on: Z = " in look.reason
    assert found.verdict.decision == "hold"
    assert look.reason in found.verdict.reasons[0]


def test_a_look_that_crosses_stops(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    looks = {"planned_units": 3_000, "looks": [at(24), at(48)]}
    found, message = analyse(folder, capsys, daily(4, 500, lift=0.15), metrics=CONVERTED, sequential=looks)
    assert found is not None, message
    look = found.metrics["conversion"].comparisons[0].sequential
    assert look is not None
    assert look.crossed
    assert "Stop: at look" in found.verdict.reasons[0]
    assert found.verdict.decision == "ship"


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_a_hopeless_look_says_so(folder: Path, capsys: pytest.CaptureFixture[str], direction: str) -> None:
    looks = {"planned_units": 3_000, "futility": "pocock"}
    metrics = {"conversion": {**CONVERTED["conversion"], "direction": direction}}
    exposures = daily(4, 500, lift=-0.02 if direction == "higher" else 0.02)
    found, message = analyse(folder, capsys, exposures, metrics=metrics, sequential=looks)
    assert found is not None, message
    look = found.metrics["conversion"].comparisons[0].sequential
    assert look is not None
    assert look.futile
    assert not look.stop
    assert look.futility is not None
    assert look.futility > 0
    assert "stopping is advised" in look.reason
    assert look.reason in found.verdict.reasons[0]
    assert any(rule.startswith("Overrun: ") for rule in found.experiment.method)
    hopeful, message = analyse(folder, capsys, daily(4, 500, lift=0.06), metrics=CONVERTED, sequential=looks)
    assert hopeful is not None, message
    look = hopeful.metrics["conversion"].comparisons[0].sequential
    assert look is not None
    assert not look.futile
    assert "there is no reason to give up" in look.reason


def test_always_valid_watching(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch = {"method": "always_valid", "planned_units": 2_000}
    found, message = analyse(folder, capsys, daily(4, 500, lift=0.15), metrics=CONVERTED, sequential=watch)
    assert found is not None, message
    sequence = found.metrics["conversion"].comparisons[0].always_valid
    assert sequence is not None
    assert sequence.low > 0
    assert "Stop at will" in sequence.reason


def test_a_ramp_is_no_mismatch_when_its_phases_are_declared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = daily(2, 1_000, lift=0.1, share=0.1), daily(2, 1_000, lift=0.1)
    second["unit"] += len(first)
    second["at"] = [(datetime.fromisoformat(when) + timedelta(days=2)).isoformat() for when in second["at"]]
    exposures = pd.concat([first, second])
    phases = [
        {"starts": at(0), "weights": {"A": 0.9, "B": 0.1}},
        {"starts": at(48), "weights": {"A": 0.5, "B": 0.5}},
    ]
    arms = {"A": 0.5, "B": 0.5}
    naive, message = analyse(folder, capsys, exposures, metrics=CONVERTED, arms=arms)
    assert naive is not None, message
    assert naive.health.srm.mismatch
    phased, message = analyse(folder, capsys, exposures, metrics=CONVERTED, arms=arms, phases=phases)
    assert phased is not None, message
    assert [phase.starts for phase in phased.health.phases] == ["2026-11-01", "2026-11-03"]
    assert not phased.health.srm.mismatch


def test_a_ramp_in_better_times_does_not_flatter_the_treatment(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The treatment harms in either phase, but most of it ran while everybody converted more (Simpson's paradox)."""
    first, second = daily(2, 5_000, lift=0.0, share=0.1), daily(2, 5_000, lift=0.0)
    second["unit"] += len(first)
    second["at"] = [(datetime.fromisoformat(when) + timedelta(days=2)).isoformat() for when in second["at"]]
    rng = np.random.default_rng(3)
    for part, base in ((first, 0.1), (second, 0.4)):
        chance = base - 0.04 * (part["arm"] == "B")
        part["converted"] = (rng.random(len(part)) < chance).astype(int)
    exposures, arms = pd.concat([first, second]), {"A": 0.5, "B": 0.5}
    exposures["half"] = np.where(exposures["unit"] % 2, "odd", "even")
    phases = [
        {"starts": at(0), "weights": {"A": 0.9, "B": 0.1}},
        {"starts": at(48), "weights": {"A": 0.5, "B": 0.5}},
    ]
    looks = {"planned_units": 40_000, "looks": [at(24)]}
    found, message = analyse(
        folder, capsys, exposures, metrics=CONVERTED, arms=arms, phases=phases, segments=["half"], sequential=looks
    )
    assert found is not None, message
    conversion = found.metrics["conversion"]
    assert conversion.arms["B"].value > conversion.arms["A"].value + 0.05
    comparison = conversion.comparisons[0]
    assert comparison.absolute.low < -0.04 < comparison.absolute.high < 0
    assert comparison.method.endswith("within phases")
    assert comparison.bayesian is not None
    assert comparison.bayesian.probability_better < 0.001
    assert all(segment.absolute.estimate < 0 for segment in found.segments[0].segments)
    assert found.days[-1].cumulative.high < 0
    assert comparison.sequential is not None
    assert comparison.sequential.look.fraction < 20_000 / 40_000  # The ramp's unequal arms tell less.
    assert any("compared within each phase" in note for note in found.health.notes)
    assert found.verdict.decision != "ship"


def test_an_effect_that_wears_off_stops_the_verdict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exposures = daily(6, 1_000, lift=0.0)
    rng = np.random.default_rng(0)
    day = np.arange(len(exposures)) // 1_000
    chance = 0.2 + np.where(exposures["arm"] == "B", 0.3 - 0.05 * day, 0.0)
    found, message = analyse(
        folder, capsys, exposures.assign(converted=(rng.random(len(exposures)) < chance).astype(int)), metrics=CONVERTED
    )
    assert found is not None, message
    assert found.verdict.decision == "hold"
    assert "not stable" in found.verdict.reasons[0]
    assert [day.day for day in found.days] == [f"2026-11-0{number}" for number in range(1, 7)]


def test_control_is_calibrated_where_it_has_the_units(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, message = analyse(folder, capsys, daily(4, 1_500, lift=0.1), metrics=CONVERTED)
    assert found is not None, message
    assert found.health.calibration is not None
    assert found.health.calibration.splits == 127
    assert not found.health.calibration.excessive
    few, message = analyse(folder, capsys, daily(4, 500, lift=0.1), metrics=CONVERTED)
    assert few is not None, message
    assert few.health.calibration is None
    assert any("No A/A calibration: control has" in note for note in few.health.notes)


def test_too_few_days_stop_the_verdict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, message = analyse(folder, capsys, daily(4, 500, lift=0.15), metrics=CONVERTED, minimum_days=7)
    assert found is not None, message
    assert found.verdict.decision == "hold"
    assert "4 days; at least 7" in found.verdict.reasons[0]


def test_only_eligible_units_within_the_dates_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exposures = daily(4, 500, lift=0.15)
    exposures["country"] = np.where(np.arange(len(exposures)) % 5, "DE", "FR")
    found, message = analyse(
        folder, capsys, exposures, metrics=CONVERTED, eligible={"country": ["FR"]}, starts=at(24), ends=at(72)
    )
    assert found is not None, message
    assert sum(found.health.counts.values()) == 200


def test_outcomes_need_a_column_of_what_happened(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pd.DataFrame({"unit": ["a"], "at": [at(0)], "waht": ["purchase"]}).to_csv(folder / "outcomes.csv", index=False)
    join = {"file": "outcomes.csv", "unit": "unit", "time": "at", "metric": "what", "window_hours": 24}
    found, message = analyse(
        folder, capsys, daily(1, 10, lift=0.0)[["unit", "arm", "at"]], metrics=METRICS, outcomes=join
    )
    assert found is None
    assert "has no column 'what'; did you mean 'waht'?" in message
