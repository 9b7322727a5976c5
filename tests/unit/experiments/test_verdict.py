from dataclasses import replace

import orjson
import pytest
from pydantic import TypeAdapter

from trimtab.errors import BadInput
from trimtab.experiments.bayes import compare_proportions_bayes
from trimtab.experiments.business import BusinessInputs, business_case, effect_of
from trimtab.experiments.means import Measure, compare_means
from trimtab.experiments.moments import Moments
from trimtab.experiments.proportions import Proportion, compare_proportions
from trimtab.experiments.sequential import SequentialDesign, analyse
from trimtab.experiments.verdict import Evidence, Policy, Verdict, decide

BETTER = Evidence("conversion", compare_proportions(Proportion(1_000, 10_000), Proportion(1_200, 10_000)))
WORSE = Evidence("conversion", compare_proportions(Proportion(1_200, 10_000), Proportion(1_000, 10_000)))
SAME = Evidence("conversion", compare_proportions(Proportion(1_000, 10_000), Proportion(1_005, 10_000)))


def latency(treatment: float, *, n: int = 5_000, margin: float = 0.1) -> Evidence:
    before, after = (Moments.of_summary("latency", n=n, mean=mean, variance=0.25) for mean in (1.216, treatment))
    comparison = compare_means(before, after, Measure("latency"))
    return Evidence("latency", comparison, direction="lower", margin=margin)


def test_a_shown_improvement_ships() -> None:
    verdict = decide(BETTER, guardrails=[latency(1.22)])
    assert verdict.decision == "ship"
    assert [line.status for line in verdict.criteria] == ["pass"] * 3
    assert verdict.reasons[0].startswith("conversion is better by +20.00%")


def test_a_shown_deterioration_rolls_back() -> None:
    verdict = decide(WORSE)
    assert verdict.decision == "roll_back"
    assert "worse by -16.67%" in verdict.reasons[0]


def test_nothing_shown_holds() -> None:
    verdict = decide(SAME)
    assert verdict.decision == "hold"
    assert "chance may explain" in verdict.reasons[0]


def test_no_data_holds() -> None:
    assert decide(None).reasons == ("There are no data to judge.",)
    assert decide(None).decision == "hold"


def test_bad_health_has_no_winner() -> None:
    for evidence in (BETTER, WORSE, None):
        verdict = decide(evidence, problems=["The arms do not hold their shares."])
        assert verdict.decision == "hold"
        assert verdict.reasons == ("The arms do not hold their shares.",)
        assert verdict.criteria[0].status == "fail"


def test_a_small_improvement_is_not_enough_where_a_larger_one_was_declared() -> None:
    verdict = decide(BETTER, policy=Policy(minimum_relative_effect=0.3))
    assert verdict.decision == "hold"
    assert "less than the 30.00%" in verdict.reasons[0]
    assert decide(BETTER, policy=Policy(minimum_relative_effect=0.1)).criteria[-1].name == "practical"


def test_nothing_is_said_of_a_minimum_that_nobody_declared() -> None:
    for evidence in (BETTER, SAME, WORSE):
        verdict = decide(evidence)
        assert "practical" not in {line.name for line in verdict.criteria}
        assert not any("declared" in reason for reason in verdict.reasons)


def test_a_harmed_guardrail_rolls_back_and_an_unproven_one_holds() -> None:
    assert decide(BETTER, guardrails=[latency(1.5)]).decision == "roll_back"
    for mean, n in ((1.3, 30), (1.345, 200)):  # The second estimate lies beyond the margin, but not its whole interval.
        unsure = decide(BETTER, guardrails=[latency(mean, n=n)])
        assert unsure.decision == "hold"
        assert "may be worse by up to" in unsure.reasons[0]


def test_seven_percent_slower_is_inside_a_ten_percent_guardrail() -> None:
    """The business report: 1.216 s to 1.310 s against +10%."""
    verdict = decide(BETTER, guardrails=[latency(1.310, n=24_000)])
    line = verdict.criteria[-1]
    assert line.status == "pass"
    assert line.actual.startswith("+7.73% worse")


def test_an_adjusted_p_value_counts() -> None:
    shy = replace(BETTER, comparison=replace(BETTER.comparison, p_value_adjusted=0.2))
    assert decide(shy).decision == "hold"


def test_a_lower_metric_is_better_when_it_falls() -> None:
    assert decide(replace(WORSE, direction="lower")).decision == "ship"
    assert decide(replace(BETTER, direction="lower")).decision == "roll_back"


def test_an_early_look_is_no_evidence_until_its_bound_is_crossed() -> None:
    design = SequentialDesign(100)
    early = analyse(design, [25], [2.6], standard_error=0.01)
    verdict = decide(BETTER, sequential=early)
    assert verdict.decision == "hold"
    assert "Go on: Z = 2.60 has not reached 4.33" in verdict.reasons[0]
    crossed = analyse(design, [25, 50], [2.6, 3.5], standard_error=0.01)
    assert decide(BETTER, sequential=crossed).decision == "ship"


def test_a_bound_that_was_crossed_upwards_is_no_harm_when_the_estimate_dips_later() -> None:
    dipped = analyse(SequentialDesign(100), [25, 50, 75], [2.6, 3.5, -0.2], standard_error=0.01)
    lines = {line.name: line.status for line in decide(WORSE, sequential=dipped).criteria}
    assert lines["statistical"] == "pass"
    falling = analyse(SequentialDesign(100), [25, 50, 75], [-2.6, -3.5, 0.2], standard_error=0.01)
    lower = replace(WORSE, direction="lower")
    assert {line.name: line.status for line in decide(lower, sequential=falling).criteria}["statistical"] == "pass"


def test_bayesian_and_revenue_lines() -> None:
    bayes = compare_proportions_bayes(Proportion(1_000, 10_000), Proportion(1_200, 10_000))
    rich = business_case(effect_of(BETTER.comparison), BusinessInputs(1e6, 50, one_off_cost=1_000))
    poor = business_case(effect_of(BETTER.comparison), BusinessInputs(1e3, 50, one_off_cost=1e6))
    assert decide(BETTER, bayesian=bayes, business=rich).decision == "ship"
    verdict = decide(BETTER, bayesian=bayes, business=poor)
    assert verdict.decision == "hold"
    assert [line.name for line in verdict.criteria] == ["health", "statistical", "bayesian", "revenue"]
    assert verdict.criteria[-1].status == "fail"
    reverse = compare_proportions_bayes(Proportion(1_200, 10_000), Proportion(1_000, 10_000))
    assert decide(SAME, bayesian=reverse).decision == "hold"


def test_metrics_without_variance_or_baseline_are_never_shipped() -> None:
    flat = Evidence("y", compare_means(Moments.of({"y": [1.0] * 9}), Moments.of({"y": [2.0] * 9}), Measure("y")))
    assert decide(flat).decision == "hold"
    empty = Evidence("conversion", compare_proportions(Proportion(0, 100), Proportion(0, 100)))
    assert decide(empty).decision == "hold"
    assert decide(BETTER, guardrails=[empty]).criteria[-1].actual == "undefined"
    assert decide(BETTER, guardrails=[empty]).decision == "hold"


def test_a_verdict_survives_json() -> None:
    verdict = decide(BETTER, guardrails=[latency(1.22)])
    assert TypeAdapter(Verdict).validate_python(orjson.loads(orjson.dumps(verdict))) == verdict


def test_a_margin_must_be_a_number() -> None:
    with pytest.raises(BadInput, match="margin nan"):
        replace(BETTER, margin=float("nan"))
