from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from trimtab.errors import BadInput
from trimtab.experiments.analysis.evidence import Material
from trimtab.experiments.cells import Cell, UnitCheck
from trimtab.experiments.moments import Moments
from trimtab.experiments.spending import Spending
from trimtab.rollout.look import LookResult, judge_look
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan
from trimtab.rollout.state import RecordedLook, RolloutState
from trimtab.testing.rollout_store import START, plan_of, started

GUARDED: dict[str, Any] = {
    "metrics": {
        "conversion": {"kind": "binary", "column": "conversion", "role": "primary"},
        "value": {"kind": "mean", "column": "value", "role": "guardrail", "margin": 0.05},
    }
}


def ramping(plan: RolloutPlan, *looks: RecordedLook) -> RolloutState:
    return replace(started(plan), status="ramping", steps=(START,), looks=looks)


def recorded(information: float, statistic: float, hour: int = 0) -> RecordedLook:
    return RecordedLook(START + timedelta(hours=hour), information, statistic)


def cell(arm: str, n: int, rate: float, value: float | None = None, deviation: float = 10.0) -> Cell:
    bought = round(n * rate)
    spread = np.array([[bought * (n - bought) / n]])
    moments = {"conversion": Moments(("conversion",), n, np.array([bought / n]), spread)}
    if value is not None:
        moments["value"] = Moments.of_summary("value", n=n, mean=value, variance=deviation**2)
    return Cell(arm, "", n, moments)


def material(control: Cell, treatment: Cell, **fields: Any) -> Material:
    units = UnitCheck(control.units + treatment.units)
    return Material("test", {CONTROL: control, TREATMENT: treatment}, **{"units": units, **fields})


def look(plan: RolloutPlan, state: RolloutState, data: Material, **options: Any) -> LookResult:
    now: datetime = options.pop("now", START + timedelta(days=1))
    found = judge_look(plan, state, data, now=now, **options)
    assert found is not None
    return found


def line(result: LookResult, name: str) -> str:
    return next(line.status for line in result.criteria if line.name == name)


def test_bounds_come_from_the_looks_as_they_were_recorded() -> None:
    plan = plan_of()
    state = ramping(plan, recorded(3_000, 0.4), recorded(7_500, -0.2))
    found = look(plan, state, material(cell(CONTROL, 5_000, 0.1), cell(TREATMENT, 5_000, 0.1)))
    assert (found.number, found.information, found.last, found.decision) == (3, 10_000, False, "hold")
    assert found.good_bound == pytest.approx(plan.good_news.looks([3_000, 7_500, 10_000])[-1].bound)
    assert found.bad_bound == pytest.approx(plan.bad_news().looks([3_000, 7_500, 10_000])[-1].bound)
    assert plan.bad_news().spending == Spending("pocock")
    assert found.bad_bound < found.good_bound


@pytest.mark.parametrize(("treated", "decision"), [(0.13, "ship"), (0.106, "hold"), (0.09, "roll_back")])
def test_good_news_waits_for_a_higher_bound_than_bad_news(treated: float, decision: str) -> None:
    """At half of the plan a gain of 30% ships, one of 6% waits, and a loss of 10% is enough to take back."""
    plan = plan_of(planned_units=40_000)
    found = look(plan, ramping(plan), material(cell(CONTROL, 10_000, 0.1), cell(TREATMENT, 10_000, treated)))
    assert found.decision == decision


def test_where_lower_is_better_the_tests_change_sides() -> None:
    plan = plan_of(
        planned_units=40_000,
        experiment={"metrics": {"value": {"kind": "mean", "column": "value", "direction": "lower"}}},
    )
    better, worse = cell(TREATMENT, 10_000, 0.1, 19.0), cell(TREATMENT, 10_000, 0.1, 20.5)
    decided = [look(plan, ramping(plan), material(cell(CONTROL, 10_000, 0.1, 20.0), one)) for one in (better, worse)]
    assert [one.decision for one in decided] == ["ship", "roll_back"]
    assert [one.effect is not None and one.effect.low < one.effect.estimate < one.effect.high for one in decided] == [
        True,
        True,
    ]


def test_the_interval_lies_beyond_zero_where_a_bound_is_crossed() -> None:
    plan = plan_of()
    for treated, sign in ((0.13, 1), (0.07, -1)):
        found = look(plan, ramping(plan), material(cell(CONTROL, 5_000, 0.1), cell(TREATMENT, 5_000, treated)))
        assert found.effect is not None
        assert min(sign * found.effect.low, sign * found.effect.high) > 0
    going_on = look(plan, ramping(plan), material(cell(CONTROL, 5_000, 0.1), cell(TREATMENT, 5_000, 0.105)))
    assert going_on.effect is not None
    assert going_on.effect.low < 0 < going_on.effect.high


def test_a_crossing_stands_at_later_looks() -> None:
    plan = plan_of()
    state = ramping(plan, recorded(10_000, 4.5))
    found = look(plan, state, material(cell(CONTROL, 6_000, 0.1), cell(TREATMENT, 6_000, 0.101)))
    assert (found.decision, line(found, "better")) == ("ship", "pass")


def test_the_planned_end_is_the_last_look_and_nothing_follows_it() -> None:
    plan = plan_of()
    data = material(cell(CONTROL, 10_500, 0.1), cell(TREATMENT, 10_500, 0.1))
    found = look(plan, ramping(plan, recorded(9_000, 0.3)), data)
    assert (found.last, found.decision) == (True, "hold")
    with pytest.raises(BadInput, match="nothing may be tested any more"):
        judge_look(plan, replace(ramping(plan), tested=True), data, now=START)


def test_nothing_new_is_no_look_unless_it_is_the_last() -> None:
    plan = plan_of()
    state = ramping(plan, recorded(4_000, 0.5), recorded(8_000, 2.4))
    data = material(cell(CONTROL, 4_000, 0.1), cell(TREATMENT, 4_000, 0.114))
    assert judge_look(plan, state, data, now=START) is None
    found = look(plan, state, data, last=True)
    assert (found.number, found.last, found.information) == (2, True, 8_000)
    assert found.good_bound == pytest.approx(plan.good_news.looks([4_000, 8_000], final=True)[-1].bound)
    assert found.good_bound < plan.good_news.looks([4_000, 8_000])[-1].bound


def test_no_data_is_no_look_and_at_the_end_a_hold() -> None:
    plan = plan_of()
    empty = Material("test", {CONTROL: cell(CONTROL, 50, 0.1)}, units=UnitCheck(50))
    assert judge_look(plan, ramping(plan), empty, now=START) is None
    found = look(plan, ramping(plan), empty, last=True)
    assert (found.decision, found.effect, found.last) == ("hold", None, True)


@pytest.mark.parametrize(
    ("value", "status", "decision"),
    [(20.0, "pass", "ship"), (19.2, "open", "hold"), (18.0, "fail", "roll_back"), (22.0, "pass", "ship")],
)
def test_shipping_asks_for_the_guardrail_to_be_shown_safe(value: float, status: str, decision: str) -> None:
    plan = plan_of(experiment=GUARDED)
    data = material(cell(CONTROL, 10_000, 0.1, 20.0), cell(TREATMENT, 10_000, 0.13, value))
    found = look(plan, ramping(plan), data)
    assert (line(found, "guardrail value"), found.decision) == (status, decision)


def test_unsound_data_hold_good_news_but_not_bad_news() -> None:
    plan = plan_of()
    for treated, decision in ((0.15, "hold"), (0.05, "roll_back")):
        found = look(plan, ramping(plan), material(cell(CONTROL, 5_000, 0.1), cell(TREATMENT, 4_500, treated)))
        assert "Sample-ratio mismatch" in found.problems[0]
        assert found.decision == decision


def test_the_sample_ratio_test_spends_its_alpha_over_the_looks() -> None:
    """What is a mismatch at the first look, at p = 0.003, is none at the tenth."""
    plan = plan_of(planned_units=200_000)
    data = material(cell(CONTROL, 10_000, 0.1), cell(TREATMENT, 10_425, 0.1))
    assert look(plan, ramping(plan), data).problems
    before = [recorded(1_000.0 * number, 0.0) for number in range(1, 10)]
    assert not look(plan, ramping(plan, *before), data).problems


def test_a_declared_duration_holds_only_the_shipping() -> None:
    plan = plan_of(experiment={**GUARDED, "minimum_days": 7})
    data = material(cell(CONTROL, 10_000, 0.1, 20.0), cell(TREATMENT, 10_000, 0.13, 20.0))
    early = look(plan, ramping(plan), data)
    assert (early.decision, early.problems, line(early, "duration")) == ("hold", (), "open")
    assert look(plan, ramping(plan), data, now=START + timedelta(days=7)).decision == "ship"


def test_predictions_that_do_not_hold_take_back() -> None:
    plan = plan_of(service={"calibration": {"margin": 0.02}})
    data = material(cell(CONTROL, 5_000, 0.1), cell(TREATMENT, 5_000, 0.1))
    for predicted, status in ((0.1, "pass"), (0.2, "fail")):
        both = Moments(("conversion", "probability"), 5_000, np.array([0.1, predicted]), np.diag([450.0, 10.0]))
        assert line(look(plan, ramping(plan), data, predictions={TREATMENT: both}), "guardrail calibration") == status
    assert line(look(plan, ramping(plan), data), "guardrail calibration") == "open"


def test_a_strange_arm_is_refused() -> None:
    plan = plan_of()
    arms = {CONTROL: cell(CONTROL, 50, 0.1), "treatment2": cell("treatment2", 50, 0.1)}
    with pytest.raises(BadInput, match="treatment2"):
        judge_look(plan, ramping(plan), Material("test", arms), now=START)


def test_the_stagewise_interval_changes_no_decision() -> None:
    plan = plan_of()
    data = material(cell(CONTROL, 5_000, 0.1), cell(TREATMENT, 5_000, 0.13))
    full, quick = (look(plan, ramping(plan), data, stagewise=stagewise) for stagewise in (True, False))
    assert replace(quick, effect=full.effect) == full
    assert quick.effect != full.effect
