from dataclasses import replace
from math import sqrt

import pytest
from scipy import stats

from trimtab.report.experiment import headline
from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.words import Card
from trimtab.testing.experiment_reports import METRICS, simulated_report


def _card(report: ExperimentReport, label: str) -> Card | None:
    return next((card for card in headline.cards(report) if card.label.startswith(label)), None)


def test_shipping_names_the_treatment_and_its_effect(shipped: ExperimentReport) -> None:
    assert shipped.analysis.verdict.decision == "ship"
    effect = shipped.comparison
    assert effect is not None
    assert effect.relative is not None
    assert headline.lead(shipped).startswith("Ship treatment: conversion rose by ")
    assert f"{effect.relative.estimate:.1%}" in headline.lead(shipped)
    assert "launch plan" in headline.next_steps(shipped)[0]


def test_harm_is_rolled_back(harmful: ExperimentReport) -> None:
    assert headline.lead(harmful).startswith("Roll back treatment: conversion fell by ")
    assert headline.next_steps(harmful)[0] == "Send all units back to control now."
    card = _card(harmful, "Effect")
    assert card is not None
    assert card.tone == "bad"


def test_an_unclear_effect_is_held_and_says_how_many_units_would_tell(unclear: ExperimentReport) -> None:
    assert headline.lead(unclear).startswith("Hold: conversion ")
    assert headline.lead(unclear).endswith("which chance may explain.")
    wanted = headline.units_needed(unclear)
    assert wanted is not None
    assert f"about {wanted:,} units" in headline.next_steps(unclear)[0]
    assert "would not keep the error rate" in headline.next_steps(unclear)[0]


def test_units_needed_have_the_power_that_was_asked_for(unclear: ExperimentReport) -> None:
    wanted, found = headline.units_needed(unclear), unclear.comparison
    assert wanted is not None
    assert found is not None
    seen = sum(arm.units for arm in unclear.primary.arms.values())
    error = found.absolute.standard_error * sqrt(seen / wanted)
    target = unclear.spec.minimum_relative_effect * unclear.primary.arms["control"].value
    assert stats.norm.sf(stats.norm.isf(0.025) - target / error) == pytest.approx(unclear.spec.power, abs=1e-3)


def test_a_lower_metric_that_falls_is_good() -> None:
    metrics = {"conversion": {**METRICS["conversion"], "direction": "lower"}}
    report = simulated_report(lifts={"control": 0.0, "treatment": -0.3}, metrics=metrics)
    assert headline.lead(report).startswith("Ship treatment: conversion fell by ")
    card = _card(report, "Effect")
    assert card is not None
    assert card.tone == "good"


def test_faulty_data_have_no_winner_and_no_figures(faulty: ExperimentReport) -> None:
    assert "no winner" in headline.lead(faulty)
    assert "%" not in headline.lead(faulty)
    card = _card(faulty, "Effect")
    assert card is not None
    assert card.figure == "Not read"
    assert _card(faulty, "First year") is None
    assert _card(faulty, "Guardrails") is None
    assert "do not have their shares" in headline.next_steps(faulty)[0]


def test_every_kind_of_fault_has_its_remedy(faulty: ExperimentReport) -> None:
    health = faulty.analysis.health
    trends = {name: replace(trend, present=True) for name, trend in health.novelty.items()}
    balance = {arm: tuple(replace(line, balanced=False) for line in lines) for arm, lines in health.balance.items()}
    worse = replace(faulty, analysis=replace(faulty.analysis, health=replace(health, novelty=trends, balance=balance)))
    steps = " ".join(headline.next_steps(worse))
    assert "until the effect is steady" in steps
    assert "differed before the start" in steps


def test_the_interval_of_a_sequential_test_allows_for_its_looks(sequential: ExperimentReport) -> None:
    found, effect = sequential.comparison, headline.primary_effect(sequential)
    assert found is not None
    assert found.sequential is not None
    assert effect is not None
    assert effect.estimate == f"{100 * found.sequential.estimate:+.2f} points"
    assert "allows for the looks" in effect.sentence


def test_a_test_under_way_goes_on_to_its_next_look() -> None:
    plan = {"planned_units": 60_000, "looks": ["2026-09-14T00:00:00Z"]}
    report = simulated_report(lifts={"control": 0.0, "treatment": 0.02}, sequential=plan)
    assert report.analysis.verdict.decision == "hold"
    assert "next look" in headline.next_steps(report)[0]


def test_a_guardrail_that_may_be_broken_is_named() -> None:
    metrics = {**METRICS, "latency": {**METRICS["latency"], "margin": 0.012}}
    report = simulated_report(lifts={"control": 0.0, "treatment": 0.3}, metrics=metrics)
    status = {line.name: line.status for line in report.analysis.verdict.arms[0].criteria}
    assert status["guardrail latency"] != "pass"
    assert "latency" in headline.lead(report)
    card = _card(report, "Guardrails")
    assert card is not None
    assert card.figure == "0 of 1"


def test_the_best_of_several_ships() -> None:
    report = simulated_report(lifts={"control": 0.0, "A": 0.3, "B": 0.02}, share=1 / 3)
    assert headline.lead(report).startswith("Ship A, the best of 2 treatments: ")
