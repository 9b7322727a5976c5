"""`trimtab experiment analyze` on files as people have them: good ones, and every kind of bad one."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from trimtab.cli import app
from trimtab.experiments.analysis.result import Analysis
from trimtab.experiments.multiplicity import adjust

UNITS = 2_000
OPTIONS = ("--unit", "user", "--arm", "variant", "--control", "A")
BINARY, MEAN, RATIO = (
    ("--metric", "bought=binary:bought"),
    ("--metric", "revenue=mean:revenue"),
    ("--metric", "ctr=ratio:clicks/views"),
)


def good_units(units: int = UNITS) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    treated = np.arange(units) % 2
    before = rng.gamma(2.0, 10.0, units)
    views = rng.poisson(4, units) + 1
    return pd.DataFrame(
        {
            "user": [f"u{number}" for number in range(units)],
            "variant": np.where(treated, "B", "A"),
            "bought": (rng.random(units) < 0.2 + 0.1 * treated).astype(int),
            "before": before,
            "revenue": before + rng.normal(2.0 * treated, 5.0),
            "views": views,
            "clicks": rng.binomial(views, 0.3),
            "device": rng.choice(["mobile", "desktop"], units),
            "at": pd.date_range("2026-11-01", periods=units, freq="10min"),
        }
    )


@dataclass
class Workshop:
    """A folder with data, and the command to run on them."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    def csv(self, table: pd.DataFrame, name: str = "units.csv") -> str:
        path = self.folder / name
        table.to_csv(path, index=False)
        return str(path)

    def parquet(self, table: pd.DataFrame) -> str:
        path = self.folder / "units.parquet"
        table.to_parquet(path, index=False)
        return str(path)

    def text(self, content: str, name: str = "units.csv") -> str:
        path = self.folder / name
        path.write_text(content)
        return str(path)

    def spec(self, **fields: object) -> str:
        path = self.folder / "spec.yaml"
        path.write_text(yaml.safe_dump({"name": "test", **fields}, sort_keys=False))
        return str(path)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        with pytest.raises(SystemExit) as stop:
            app.main(["experiment", "analyze", *arguments])
        shown = self.capture.readouterr()
        return int(stop.value.code or 0), shown.out, shown.err

    def result(self, *arguments: str) -> Analysis:
        code, out, err = self.run(*arguments, "--json")
        assert code == 0, err
        assert_finite(json.loads(out))
        return TypeAdapter(Analysis).validate_json(out)


def assert_finite(value: Any) -> None:
    """No number of the document is NaN or infinite (JSON has neither; a parser that is lenient would let them in)."""
    if isinstance(value, dict):
        for item in value.values():
            assert_finite(item)
    elif isinstance(value, list):
        for item in value:
            assert_finite(item)
    elif isinstance(value, float):
        assert math.isfinite(value)


@pytest.fixture
def workshop(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TRIMTAB_PROFILE", raising=False)
    return Workshop(tmp_path, capsys)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_three_kinds_of_metrics(workshop: Workshop, kind: str) -> None:
    data = getattr(workshop, kind)(good_units())
    found = workshop.result(data, *OPTIONS, *BINARY, *MEAN, *RATIO, "--covariate", "revenue=before")
    bought, revenue = found.metrics["bought"].comparisons[0], found.metrics["revenue"].comparisons[0]
    assert (bought.treatment, bought.control) == ("B", "A")
    assert bought.absolute.estimate == pytest.approx(0.1, abs=0.06)
    every = [metric.comparisons[0] for metric in found.metrics.values()]
    assert [one.p_value_adjusted for one in every] == pytest.approx(adjust([one.p_value for one in every]))
    assert "CUPED" in revenue.method
    assert revenue.absolute.low < 2.0 < revenue.absolute.high
    assert found.health.srm.p_value == pytest.approx(1.0)
    assert found.health.problems == ()
    assert found.verdict.decision == "ship"


def test_people_read_the_verdict_first(workshop: Workshop) -> None:
    code, out, _ = workshop.run(workshop.csv(good_units()), *OPTIONS, *BINARY, "--segment", "device")
    assert code == 0
    assert out.startswith("Ship")
    assert "desktop" in out
    assert "sample ratio p = 1" in out


def test_cuped_narrows_the_interval(workshop: Workshop) -> None:
    data = workshop.csv(good_units())
    plain = workshop.result(data, *OPTIONS, *MEAN).metrics["revenue"].comparisons[0].absolute
    cuped = workshop.result(data, *OPTIONS, *MEAN, "--covariate", "revenue=before").metrics["revenue"].comparisons[0]
    assert cuped.absolute.standard_error < 0.5 * plain.standard_error


def test_segments_add_up_to_the_whole(workshop: Workshop) -> None:
    data = workshop.csv(good_units())
    whole = workshop.result(data, *OPTIONS, *MEAN)
    parts = workshop.result(data, *OPTIONS, *MEAN, "--segment", "device")
    assert parts.metrics["revenue"].comparisons[0].p_value == pytest.approx(
        whole.metrics["revenue"].comparisons[0].p_value
    )
    assert sum(segment.units for segment in parts.segments[0].segments) == UNITS


def test_weights_decide_what_a_mismatch_is(workshop: Workshop) -> None:
    data = workshop.csv(good_units())
    found = workshop.result(data, *OPTIONS, *BINARY, "--weights", "A=.9,B=.1")
    assert found.health.srm.p_value < 1e-12
    assert found.verdict.decision == "hold"
    assert "Sample-ratio mismatch" in found.verdict.reasons[0]


def test_a_large_mean_keeps_its_variance(workshop: Workshop) -> None:
    """Sums of squares would lose the variance of values near ten million entirely."""
    table = good_units()
    noise = np.random.default_rng(1).normal(size=UNITS)
    table["revenue"] = 1e7 + noise
    error = workshop.result(workshop.parquet(table), *OPTIONS, *MEAN).metrics["revenue"].comparisons[0].absolute
    a, b = (noise[table["variant"] == arm] for arm in "AB")
    assert error.standard_error == pytest.approx(math.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)), rel=1e-6)


# Treatments that are stated: the command succeeds, and the document says what was done.


def test_zero_conversions_are_a_hold(workshop: Workshop) -> None:
    found = workshop.result(workshop.csv(good_units().assign(bought=0)), *OPTIONS, *BINARY)
    assert found.metrics["bought"].comparisons[0].relative is None
    assert found.metrics["bought"].comparisons[0].p_value == 1.0
    assert found.verdict.decision == "hold"


def test_zero_conversions_in_control_only(workshop: Workshop) -> None:
    table = good_units()
    table.loc[table["variant"] == "A", "bought"] = 0
    found = workshop.result(workshop.csv(table), *OPTIONS, *BINARY)
    assert found.metrics["bought"].comparisons[0].relative is None
    assert "zero" in found.metrics["bought"].comparisons[0].note


@pytest.mark.parametrize("value", [0.0, 7.5])
def test_no_variance_is_a_hold(workshop: Workshop, value: float) -> None:
    found = workshop.result(workshop.csv(good_units().assign(revenue=value)), *OPTIONS, *MEAN)
    assert found.metrics["revenue"].comparisons[0].p_value == 1.0
    assert found.verdict.decision == "hold"
    assert "does not vary" in " ".join(found.verdict.reasons)


def test_a_unit_in_two_arms_stops_the_verdict(workshop: Workshop) -> None:
    table = pd.concat([good_units(), good_units().iloc[:3].assign(variant=["B", "A", "B"])])
    found = workshop.result(workshop.csv(table), *OPTIONS, *BINARY)
    assert found.verdict.decision == "hold"
    assert "3 units are in several arms (e.g. u0" in found.verdict.reasons[0]


def test_repeated_units_stop_the_verdict(workshop: Workshop) -> None:
    table = pd.concat([good_units(), good_units().iloc[:4]])
    found = workshop.result(workshop.csv(table), *OPTIONS, *BINARY)
    assert found.verdict.decision == "hold"
    assert "4 units have several rows in one arm" in found.verdict.reasons[0]


def test_rows_without_an_arm_stop_the_verdict(workshop: Workshop) -> None:
    table = good_units()
    table.loc[:4, "variant"] = None
    found = workshop.result(workshop.csv(table), *OPTIONS, *BINARY)
    assert found.verdict.decision == "hold"
    assert "5 rows name no arm" in " ".join(found.verdict.reasons)


@pytest.mark.parametrize(("missing", "units"), [("zero", UNITS), ("drop", UNITS - 10)])
def test_missing_values_as_declared(workshop: Workshop, missing: str, units: int) -> None:
    table = good_units()
    table.loc[:9, "revenue"] = None
    spec = workshop.spec(
        unit="user",
        arm="variant",
        control="A",
        metrics={"revenue": {"kind": "mean", "column": "revenue", "missing": missing}},
    )
    found = workshop.result(workshop.parquet(table), "--spec", spec).metrics["revenue"]
    assert sum(arm.units for arm in found.arms.values()) == units
    assert "10 units without revenue" in found.treated[0]


def test_units_without_a_history_have_a_covariate_of_zero(workshop: Workshop) -> None:
    table = good_units()
    table.loc[:9, "before"] = None
    found = workshop.result(workshop.csv(table), *OPTIONS, *MEAN, "--covariate", "revenue=before")
    assert found.metrics["revenue"].treated == ("10 units without before have 0 as their covariate.",)


def test_an_arm_without_units_is_a_hold(workshop: Workshop) -> None:
    found = workshop.result(workshop.csv(good_units()), *OPTIONS, *BINARY, "--weights", "A=.4,B=.4,C=.2")
    assert found.verdict.decision == "hold"
    assert "Arm C has no units" in " ".join(found.verdict.reasons)


def test_one_unit_per_arm_is_a_hold(workshop: Workshop) -> None:
    found = workshop.result(workshop.csv(good_units(2)), *OPTIONS, *BINARY)
    assert found.verdict.decision == "hold"
    assert "Arm A has 1 unit; a comparison needs two." in found.verdict.reasons
    assert found.metrics["bought"].comparisons == ()


def test_a_ratio_of_nothing_is_a_hold(workshop: Workshop) -> None:
    found = workshop.result(workshop.csv(good_units().assign(views=0, clicks=0)), *OPTIONS, *RATIO)
    assert found.verdict.decision == "hold"
    assert "denominator of zero" in found.metrics["ctr"].treated[0]


# Mistakes: exit code 2 and a message that names what and where.

Case = tuple[Callable[[Workshop], tuple[str, ...]], tuple[str, ...]]


def changed(**columns: object) -> pd.DataFrame:
    return good_units().assign(**columns)  # type: ignore[arg-type]


def one_cell(column: str, value: str | None) -> pd.DataFrame:
    table = good_units().astype({column: object})
    table.loc[7, column] = value
    return table


BAD: dict[str, Case] = {
    "no file": (lambda w: ("absent.csv", *OPTIONS, *BINARY), ("no file 'absent.csv'",)),
    "neither file nor aggregates": (lambda w: (*OPTIONS, *BINARY), ("--aggregates",)),
    "a folder": (lambda w: (str(w.folder), *OPTIONS, *BINARY), ("is a folder",)),
    "empty file": (lambda w: (w.text(""), *OPTIONS, *BINARY), ("is empty",)),
    "header only": (lambda w: (w.csv(good_units(0)), *OPTIONS, *BINARY), ("no rows",)),
    "one row": (lambda w: (w.csv(good_units(1)), *OPTIONS, *BINARY), ("one arm only ('A')",)),
    "one arm only": (lambda w: (w.csv(changed(variant="A")), *OPTIONS, *BINARY), ("one arm only ('A')", "--arm")),
    "no metric": (lambda w: (w.csv(good_units()), *OPTIONS), ("no metric", "--metric")),
    "unknown column": (
        lambda w: (w.csv(good_units()), *OPTIONS, "--metric", "x=mean:revenu"),
        ("no column 'revenu'; did you mean 'revenue'?",),
    ),
    "unknown unit": (
        lambda w: (w.csv(good_units()), "--unit", "usr", "--arm", "variant", "--control", "A", *BINARY),
        ("no column 'usr'; did you mean 'user'?",),
    ),
    "unknown control": (
        lambda w: (w.csv(good_units()), "--unit", "user", "--arm", "variant", "--control", "a", *BINARY),
        ("control is 'a', which is not an arm; did you mean 'A'?", "Arms: A, B"),
    ),
    "an arm that is not configured": (
        lambda w: (w.csv(one_cell("variant", "C")), *OPTIONS, *BINARY, "--weights", "A=.5,B=.5"),
        ("1 units in 'C', which is not an arm", "Arms: A, B"),
    ),
    "a metric of text": (
        lambda w: (w.csv(one_cell("revenue", "12 EUR")), *OPTIONS, *MEAN),
        ("'revenue'", "holds text, but e.g. '12 EUR'"),
    ),
    "all missing": (lambda w: (w.csv(changed(revenue=None)), *OPTIONS, *MEAN), ("'revenue'", "no value at all")),
    "all missing in Parquet": (
        lambda w: (w.parquet(changed(revenue=np.nan)), *OPTIONS, *MEAN),
        ("'revenue'", "no value at all"),
    ),
    "a missing value": (
        lambda w: (w.csv(one_cell("revenue", None)), *OPTIONS, *MEAN),
        ("'revenue'", "1 missing value", "missing: zero"),
    ),
    "an infinite value": (
        lambda w: (w.parquet(changed(revenue=[np.inf, *[1.0] * (UNITS - 1)])), *OPTIONS, *MEAN),
        ("'revenue'", "infinite"),
    ),
    "an infinite covariate": (
        lambda w: (
            w.parquet(changed(before=[np.inf, *[1.0] * (UNITS - 1)])),
            *OPTIONS,
            *MEAN,
            "--covariate",
            "revenue=before",
        ),
        ("'before'", "infinite"),
    ),
    "not binary": (lambda w: (w.csv(good_units()), *OPTIONS, "--metric", "x=binary:views"), ("'views'", "0 and 1")),
    "a share is not binary": (
        lambda w: (w.csv(changed(bought=0.5)), *OPTIONS, *BINARY),
        ("'bought'", "0 and 1 only"),
    ),
    "kind misspelt": (
        lambda w: (w.csv(good_units()), *OPTIONS, "--metric", "x=binry:bought"),
        ("did you mean 'binary'?", "NAME=binary:COLUMN"),
    ),
    "ratio without denominator": (
        lambda w: (w.csv(good_units()), *OPTIONS, "--metric", "x=ratio:clicks"),
        ("without a denominator",),
    ),
    "metric twice": (lambda w: (w.csv(good_units()), *OPTIONS, *BINARY, *BINARY), ("'bought' is given twice",)),
    "covariate of no metric": (
        lambda w: (w.csv(good_units()), *OPTIONS, *MEAN, "--covariate", "revenu=before"),
        ("did you mean 'revenue'?",),
    ),
    "weights not numbers": (
        lambda w: (w.csv(good_units()), *OPTIONS, *BINARY, "--weights", "A=half,B=half"),
        ("'half' of arm 'A' is not a number",),
    ),
    "negative weight": (
        lambda w: (w.csv(good_units()), *OPTIONS, *BINARY, "--weights", "A=-1,B=2"),
        ("weight -1.0 of arm 'A'",),
    ),
    "weights of one arm": (
        lambda w: (w.csv(good_units()), *OPTIONS, *BINARY, "--weights", "A=1"),
        ("at least two arms",),
    ),
    "ragged CSV": (
        lambda w: (w.text("user,variant,bought\nu1,A,1\nu2,B\nu3,B,1,4\n"), *OPTIONS, *BINARY),
        ("cannot be read as CSV",),
    ),
    "not a Parquet file": (
        lambda w: (w.text("user,variant", "units.parquet"), *OPTIONS, *BINARY),
        ("cannot be read as Parquet",),
    ),
    "no spec": (lambda w: (w.csv(good_units()), "--spec", "absent.yaml"), ("no experiment spec 'absent.yaml'",)),
    "misspelt field of the spec": (
        lambda w: (w.csv(good_units()), "--spec", w.spec(contrl="A")),
        ("'contrl' is not a field; did you mean 'control'?",),
    ),
    "misspelt field of a metric": (
        lambda w: (w.csv(good_units()), "--spec", w.spec(metrics={"x": {"kind": "mean", "colum": "revenue"}})),
        ("metrics.x: 'colum' is not a field; did you mean 'column'?",),
    ),
    "guardrail without margin": (
        lambda w: (
            w.csv(good_units()),
            "--spec",
            w.spec(metrics={"x": {"kind": "mean", "column": "revenue", "role": "guardrail"}}),
        ),
        ("metrics.x", "margin"),
    ),
    "ends before it starts": (
        lambda w: (
            w.csv(good_units()),
            "--spec",
            w.spec(time="at", starts="2026-11-02T00:00:00Z", ends="2026-11-01T00:00:00Z"),
        ),
        ("'ends'", "is not after 'starts'"),
    ),
    "phases out of order": (
        lambda w: (
            w.csv(good_units()),
            "--spec",
            w.spec(
                time="at",
                phases=[
                    {"starts": "2026-11-05T00:00:00Z", "weights": {"A": 1, "B": 1}},
                    {"starts": "2026-11-01T00:00:00Z", "weights": {"A": 1, "B": 1}},
                ],
            ),
        ),
        ("phases must be in order of time",),
    ),
    "time is not a time": (
        lambda w: (w.csv(good_units()), *OPTIONS, *BINARY, "--spec", w.spec(time="device")),
        ("'device'", "does not hold times"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_named(workshop: Workshop, case: str) -> None:
    arguments, words = BAD[case]
    code, out, err = workshop.run(*arguments(workshop))
    said = " ".join(err.split())
    assert code == 2, said
    assert out == ""
    assert "Traceback" not in said
    for word in words:
        assert word in said


AGGREGATES = "arm,metric,n,mean,variance\n"
BAD_AGGREGATES = {
    "no rows": (AGGREGATES, "no rows"),
    "no variance": ("arm,metric,n,mean\nA,x,10,1\nB,x,10,1\n", "no column 'variance'"),
    "negative count": (AGGREGATES + "A,x,-10,1,1\nB,x,10,1,1\n", "row 1 of"),
    "half a unit": (AGGREGATES + "A,x,10.5,1,1\nB,x,10,1,1\n", "whole number"),
    "negative variance": (AGGREGATES + "A,x,10,1,-1\nB,x,10,1,1\n", "cannot be negative"),
    "infinite mean": (AGGREGATES + "A,x,10,inf,1\nB,x,10,1,1\n", "must be finite"),
    "text": (AGGREGATES + "A,x,ten,1,1\nB,x,10,1,1\n", "'n' is 'ten'"),
    "missing": (AGGREGATES + "A,x,10,,1\nB,x,10,1,1\n", "'mean' is"),
    "twice": (AGGREGATES + "A,x,10,1,1\nA,x,10,1,1\nB,x,10,1,1\n", "second time"),
    "one arm": (AGGREGATES + "A,x,10,1,1\n", "one arm only"),
    "an arm lacks a metric": (AGGREGATES + "A,x,10,1,1\nB,y,10,1,1\n", "no row of metric"),
}


@pytest.mark.parametrize("case", BAD_AGGREGATES)
def test_mistakes_in_aggregates_are_named(workshop: Workshop, case: str) -> None:
    content, word = BAD_AGGREGATES[case]
    path = workshop.text(content, "aggregates.csv")
    code, out, err = workshop.run("--aggregates", path, "--control", "A", "--json")
    assert code == 2
    assert out == ""
    assert word in json.loads(err)["error"]["message"]


def test_cookie_cats(workshop: Workshop) -> None:
    folder = os.environ.get("TRIMTAB_DATA_DIR")
    if not folder:
        pytest.skip("TRIMTAB_DATA_DIR does not name the folder with cookie_cats.csv.gz")
    found = workshop.result(
        str(Path(folder) / "cookie_cats.csv.gz"),
        *("--unit", "userid", "--arm", "version", "--control", "gate_30"),
        *("--metric", "retention_7=binary:retention_7"),
    )
    week = found.metrics["retention_7"].comparisons[0]
    assert abs(week.statistic) == pytest.approx(3.164, abs=5e-4)
    assert week.p_value == pytest.approx(0.00155, abs=5e-6)
    assert found.health.srm.p_value == pytest.approx(0.0086, abs=5e-5)
    assert found.verdict.decision == "hold"
    assert "Sample-ratio mismatch" in found.verdict.reasons[0]


def test_the_documented_spec(workshop: Workshop) -> None:
    """The spec in the guide, on data made for it: every kind of metric, a look, a guardrail, money."""
    guide = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
    spec = workshop.text(guide.split("```yaml\n")[1].split("```")[0], "spec.yaml")
    rng = np.random.default_rng(4)
    table = good_units(12_000).rename(columns={"user": "user_id", "variant": "variant", "before": "spent_before"})
    table["exposed_at"] = pd.date_range("2026-11-01", periods=len(table), freq="2min").astype(str)
    table["country"] = rng.choice(["DE", "FR", "US"], len(table), p=[0.5, 0.4, 0.1])
    table["load_ms"] = rng.gamma(4.0, 300.0, len(table))
    found = workshop.result(workshop.csv(table), "--spec", spec)
    assert set(found.metrics) == {"conversion", "revenue", "click_through", "latency"}
    assert sum(found.health.counts.values()) == (table["country"] != "US").sum()
    latency = found.metrics["latency"]
    for arm, value in latency.arms.items():
        own = table[(table["variant"] == arm) & (table["country"] != "US")]["load_ms"]
        assert value.value == pytest.approx(np.sort(own)[math.ceil(len(own) * 0.95) - 1])
    assert "revenue was capped at" in found.metrics["revenue"].treated[0]
    conversion = found.metrics["conversion"].comparisons[0]
    assert conversion.sequential is not None
    assert conversion.power is not None
    assert found.business["B"].revenue.low > 0
    assert len(found.days) == 17
    assert {row.variation for row in found.sensitivity} >= {"as declared", "alpha 0.01", "alpha 0.1"}


def test_three_arms_share_alpha_and_the_best_ships(workshop: Workshop) -> None:
    table = good_units(9_000)
    arm = np.arange(len(table)) % 3
    rng = np.random.default_rng(8)
    table["variant"] = np.array(["A", "B", "C"])[arm]
    table["bought"] = (rng.random(len(table)) < np.array([0.2, 0.26, 0.32])[arm]).astype(int)
    found = workshop.result(workshop.csv(table), *OPTIONS, *BINARY, "--segment", "device")
    comparisons = found.metrics["bought"].comparisons
    assert [one.treatment for one in comparisons] == ["B", "C"]
    assert [one.p_value_adjusted for one in comparisons] == pytest.approx(adjust([one.p_value for one in comparisons]))
    assert (found.verdict.decision, found.verdict.treatment) == ("ship", "C")
    assert {part.treatment for part in found.segments} == {"B", "C"}
    code, out, _ = workshop.run(workshop.csv(table), *OPTIONS, *BINARY)
    assert code == 0
    assert out.startswith("Ship C")


def test_harm_is_rolled_back(workshop: Workshop) -> None:
    table = good_units()
    table["variant"] = table["variant"].map({"A": "B", "B": "A"})
    found = workshop.result(workshop.csv(table), *OPTIONS, *BINARY)
    assert found.verdict.decision == "roll_back"


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_one_sided_tests_ask_for_the_better_side(workshop: Workshop, direction: str) -> None:
    metrics = {"bought": {"kind": "binary", "column": "bought", "direction": direction}}
    spec = workshop.spec(
        unit="user", arm="variant", control="A", alternative="one-sided", metrics=metrics,
        business={"units_per_year": 1000},
    )  # fmt: skip
    found = workshop.result(workshop.csv(good_units()), "--spec", spec)
    effect = found.metrics["bought"].comparisons[0].absolute
    assert found.verdict.decision == ("ship" if direction == "higher" else "hold")
    assert math.isinf(effect.high if direction == "higher" else effect.low)


def test_a_covariate_that_differed_before_stops_the_verdict(workshop: Workshop) -> None:
    table = good_units()
    table["before"] += np.where(table["variant"] == "B", 10.0, 0.0)
    found = workshop.result(workshop.csv(table), *OPTIONS, *MEAN, "--covariate", "revenue=before")
    assert found.verdict.decision == "hold"
    assert "before of B already differed" in found.verdict.reasons[0]


def test_a_mean_that_hangs_on_one_outlier(workshop: Workshop) -> None:
    table = good_units()
    rng = np.random.default_rng(9)
    table["revenue"] = rng.gamma(2.0, 10.0, UNITS) + 4.0 * (table["variant"] == "B")
    table.loc[0, "revenue"] = 60_000.0
    found = workshop.result(workshop.csv(table), *OPTIONS, *MEAN)
    rows = {row.variation: row for row in found.sensitivity}
    assert rows["as declared"].decision == "hold"
    assert rows["outliers capped at the 99th percentile"].decision == "ship"
    assert rows["outliers capped at the 99th percentile"].moves
