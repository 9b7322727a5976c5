"""The worked example's numbers: what its counts imply, and none of the slips of the report that was printed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from trimtab.cli import app

FOLDER = Path(__file__).parents[2] / "examples" / "recommendations"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("example") / "report"
    command = "experiment report --aggregates aggregates.csv --spec spec.yaml --json --out"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FOLDER)
        patch.setenv("TRIMTAB_HOME", str(out.parent / "home"))
        with pytest.raises(SystemExit) as stop:
            app.main([*command.split(), str(out)])
    assert stop.value.code in (0, None)
    return out


@pytest.fixture(scope="module")
def found(report: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((report / "report.json").read_bytes())
    return loaded


def _comparison(found: dict[str, Any], metric: str) -> dict[str, Any]:
    (only,) = found["analysis"]["metrics"][metric]["comparisons"]
    loaded: dict[str, Any] = only
    return loaded


def test_the_lift_is_what_the_counts_imply(found: dict[str, Any]) -> None:
    control, treatment = 3762 / 24881, 4120 / 25119
    effect = _comparison(found, "conversion")
    assert effect["relative"]["estimate"] == pytest.approx(treatment / control - 1)
    assert effect["relative"]["estimate"] == pytest.approx(0.0848, abs=5e-5)
    assert (effect["relative"]["low"], effect["relative"]["high"]) == pytest.approx((0.0417, 0.1297), abs=5e-5)
    assert effect["bayesian"]["probability_better"] == pytest.approx(0.9999, abs=1e-4)


def test_the_arms_have_their_shares(found: dict[str, Any]) -> None:
    assert found["analysis"]["health"]["srm"]["p_value"] == pytest.approx(0.287, abs=5e-4)
    assert found["analysis"]["health"]["problems"] == []


def test_a_slower_page_is_inside_its_guardrail_and_still_a_risk(found: dict[str, Any]) -> None:
    assert _comparison(found, "page_load_seconds")["relative"]["estimate"] == pytest.approx(0.0773, abs=5e-5)
    (arm,) = found["analysis"]["verdict"]["arms"]
    status = {line["name"]: line["status"] for line in arm["criteria"]}
    assert status["guardrail page_load_seconds"] == "pass"
    assert "page_load_seconds deteriorates" in {risk["name"] for risk in found["risks"]}


def test_segments_as_printed_are_not_shown_to_differ(found: dict[str, Any]) -> None:
    (part,) = found["analysis"]["segments"]
    relative = {segment["segment"]: segment["relative"]["estimate"] for segment in part["segments"]}
    assert relative == pytest.approx({"power": 0.1379, "casual": 0.0891, "new": -0.0087}, abs=5e-5)
    assert part["differs"] is False
    assert [phase["name"] for phase in found["analysis"]["launch"]] == ["everyone"]


def test_money_follows_from_the_counts(found: dict[str, Any]) -> None:
    case = found["analysis"]["business"]["treatment"]
    gain = (4120 / 25119 - 3762 / 24881) * 11_000 * 365 * 75
    assert case["revenue"]["estimate"] == pytest.approx(gain)
    assert case["revenue"]["estimate"] == pytest.approx(3.86e6, abs=5e3)
    assert case["net"]["estimate"] == pytest.approx(gain - 950_000)
    assert case["return_on_investment"]["estimate"] == pytest.approx(3.06, abs=5e-3)
    assert case["payback_months"] == pytest.approx(3.0, abs=0.05)


def test_it_ships(found: dict[str, Any], report: Path) -> None:
    assert found["analysis"]["verdict"]["decision"] == "ship"
    assert found["headline"] == "Ship treatment: conversion rose by 8.5% (95% interval +4.2% to +13.0%)."
    assert found["headline"] in (report / "report.html").read_text(encoding="utf-8")
    assert found["headline"] in (report / "report.md").read_text(encoding="utf-8")


def test_no_printed_slip_is_repeated(report: Path) -> None:
    text = re.sub(r"<svg.*?</svg>", "", (report / "report.html").read_text(encoding="utf-8"), flags=re.DOTALL)
    for slip in ("8.45%", "0.584", "4.23", "12.67", "3.84", "304%"):
        assert slip not in text


def test_the_guide_says_what_the_report_says(found: dict[str, Any]) -> None:
    guide = " ".join((FOLDER / "README.md").read_text(encoding="utf-8").split())
    case = found["analysis"]["business"]["treatment"]
    money = {end: value / 1e6 for end, value in case["net"].items()}
    worst = _comparison(found, "page_load_seconds")["noninferiority"]["worst"]
    new = found["analysis"]["segments"][0]["segments"][2]["relative"]
    for said in (
        "conversion rose by 8.5% (95% interval +4.2% to +13.0%)",
        f"{case['revenue']['estimate'] / 1e6:.2f} million a year",
        f"nets {money['estimate']:.2f} million ({money['low']:.2f} to {money['high']:.2f})",
        f"return of {case['return_on_investment']['estimate']:.0%}, paid back in {case['payback_months']:.1f} months",
        f"sample ratio p = {found['analysis']['health']['srm']['p_value']:.3f}",
        f"p = {found['analysis']['segments'][0]['heterogeneity']['p_value']:.3f}",
        f"(at worst {worst:.1%})",
        f"−{-new['estimate']:.2%} (−{-new['low']:.1%} to +{new['high']:.1%})",
    ):
        assert said in guide


def test_the_report_says_how_to_make_it_again(found: dict[str, Any]) -> None:
    assert found["command"].startswith("trimtab experiment report --aggregates aggregates.csv --spec spec.yaml --out ")
    assert len(found["data_sha256"]) == 64
