from dataclasses import replace

import pytest

from trimtab.report import words
from trimtab.report.loop import EffectRow, ExperimentSection, ModelSection
from trimtab.testing.reports import loop_report, skipped_report
from trimtab.types import Interval


@pytest.mark.parametrize(
    ("value", "text"), [(0.0423, "+4.2%"), (-0.0423, "−4.2%"), (0.00001, "0.0%"), (-0.00001, "0.0%"), (1.5, "+150.0%")]
)
def test_a_signed_percentage_has_a_true_minus_and_no_sign_on_zero(value: float, text: str) -> None:
    assert words.percent(value, signed=True) == text


def test_durations_turn_to_minutes() -> None:
    assert words.duration(59.94) == "59.9 s"
    assert words.duration(119.6) == "2 min 00 s"


@pytest.mark.parametrize(
    ("conversions", "decision", "begins", "side"),
    [
        ((1_676, 1_842), "ship", "Ship version 2.", "higher than"),
        ((1_842, 1_600), "roll_back", "Roll back version 2.", "lower than"),
        ((1_676, 1_680), "hold", "Hold: version 2", "than with the champion"),
    ],
)
def test_the_lead_states_the_verdict_and_the_effect(
    conversions: tuple[int, int], decision: str, begins: str, side: str
) -> None:
    report = loop_report(rows=800, conversions=conversions)
    assert isinstance(report.experiment, ExperimentSection)
    assert report.experiment.decision == decision
    lead = words.lead(report)
    assert lead.startswith(begins)
    assert side in lead
    assert "95% interval" in lead


def test_the_lead_says_why_there_is_no_verdict() -> None:
    lead = words.lead(skipped_report("experiment", reason="The data have no unit column."))
    assert lead.endswith("there is no verdict, because the data have no unit column.")


def test_without_a_model_the_lead_says_so() -> None:
    assert words.lead(skipped_report()) == "The loop stopped before a model was trained."


def test_a_control_without_conversions_has_no_relative_effect() -> None:
    experiment = loop_report(rows=800).experiment
    assert isinstance(experiment, ExperimentSection)
    effect = EffectRow("conversion", Interval(0.01, 0.0, 0.02), None, 0.2)
    lead = words.lead(replace(loop_report(rows=800), experiment=replace(experiment, effects=(effect,))))
    assert "no relative effect" in lead


def test_a_baseline_that_wins_is_named() -> None:
    model = loop_report(rows=800).model
    assert isinstance(model, ModelSection)
    evaluation = replace(
        model.evaluation,
        winner="lightgbm",
        log_loss_gap={**model.evaluation.log_loss_gap, "lightgbm": Interval(0.004, 0.001, 0.007)},
    )
    sentence = words.winner_sentence(replace(model, evaluation=evaluation))
    assert sentence.startswith("lightgbm has the lowest log loss")
    assert "more than chance explains" in sentence


def test_a_gap_whose_interval_holds_zero_is_within_chance() -> None:
    model = loop_report(rows=800).model
    assert isinstance(model, ModelSection)
    gaps = {"lightgbm": Interval(-0.001, -0.003, 0.001), "logistic": Interval(-0.02, -0.03, -0.01)}
    sentence = words.winner_sentence(replace(model, evaluation=replace(model.evaluation, log_loss_gap=gaps)))
    assert "between plr_mlp and lightgbm is within what chance explains" in sentence


def test_a_sample_ratio_mismatch_forbids_reading_the_effects() -> None:
    experiment = loop_report(rows=800).experiment
    assert isinstance(experiment, ExperimentSection)
    assert "as planned" in words.srm_sentence(experiment)
    assert "do not read the effects" in words.srm_sentence(replace(experiment, srm_p_value=1e-9))


def test_a_failed_gate_is_told_in_the_headlines() -> None:
    report = loop_report(rows=800)
    model = report.model
    assert isinstance(model, ModelSection)
    assert model.gate is not None
    failed = replace(report, model=replace(model, gate=replace(model.gate, passed=False)))
    card = next(card for card in words.cards(failed) if card.label == "Model quality")
    assert card.tone == "bad"
    assert "did not let it pass" in card.sentence
