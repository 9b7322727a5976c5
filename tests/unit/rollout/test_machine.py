from dataclasses import replace
from datetime import timedelta

import pytest

from trimtab.errors import BadInput
from trimtab.rollout.audit import AuditEntry, parse_entry, replay
from trimtab.rollout.look import LookResult
from trimtab.rollout.machine import advance, is_last_look, look_due
from trimtab.rollout.observation import Command, Observation
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan
from trimtab.rollout.state import RecordedLook, RolloutState
from trimtab.testing.rollout_store import START, decided, level, plan_of, started

LEVELS = {CONTROL: level(5_000), TREATMENT: level(5_000)}
HOUR = timedelta(hours=1)


def result(state: RolloutState, decision: str = "hold", **fields: object) -> LookResult:
    base = LookResult(
        number=len(state.looks) + 1,
        time=state.since + HOUR,
        information=1_000.0 * (len(state.looks) + 1),
        fraction=0.1,
        statistic=0.5,
        units={CONTROL: 500, TREATMENT: 500},
        effect=None,
        relative=None,
        good_bound=4.0,
        bad_bound=2.4,
        level=0.02,
        last=False,
        decision=decision,  # type: ignore[arg-type]
        reasons=(f"The look says {decision}.",),
        criteria=(),
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def at_step(plan: RolloutPlan, step: int, **fields: object) -> RolloutState:
    steps = tuple(START + 10 * place * HOUR for place in range(step + 1))
    state = replace(started(plan), status="ramping", step=step, steps=steps, since=steps[-1])
    return replace(state, **fields)  # type: ignore[arg-type]


def seen(state: RolloutState, look: LookResult | None = None, **fields: object) -> Observation:
    base = Observation(state.since + HOUR, look=look, levels=LEVELS, enrolled=3_000)
    return replace(base, **fields)  # type: ignore[arg-type]


def test_a_good_rollout_goes_from_shadow_to_shipped() -> None:
    plan, entries = plan_of(), []
    state = started(plan)

    def turn(observation: Observation) -> RolloutState:
        entries.append(decided(plan, state, observation))
        return entries[-1].state

    state = turn(Observation(START))
    state = turn(Observation(START + HOUR, levels={CONTROL: level(900)}, shadow={TREATMENT: level(300)}))
    state = turn(seen(state, result(state)))
    state = turn(seen(state, result(state)))
    state = turn(seen(state, result(state)))
    state = turn(seen(state, result(state, "ship")))
    assert [entry.decision.action for entry in entries] == [
        "start_shadow", "start_ramp", "grow", "grow", "hold", "ship",
    ]  # fmt: skip
    assert [entry.decision.weight for entry in entries] == [0, 0.05, 0.25, 0.5, 0.5, 1]
    assert entries[2].decision.before == "ramping 1/3"
    assert replay(plan, entries) == state


def test_a_step_starts_when_all_routers_have_heard_of_it() -> None:
    state = at_step(plan_of(lead_seconds=30), 0)
    after, _ = advance(plan_of(lead_seconds=30), state, seen(state, result(state)))
    assert after.since == after.steps[-1] == state.since + HOUR + timedelta(seconds=30)


def test_good_news_before_the_ramp_is_complete_waits_for_it() -> None:
    plan = plan_of()
    state = at_step(plan, 0)
    after, decision = advance(plan, state, seen(state, result(state, "ship", last=True)))
    assert (after.step, after.cleared, after.tested, decision.action) == (1, True, True, "grow")
    after, decision = advance(plan, after, seen(after))
    assert decision.action == "grow"
    after, decision = advance(plan, after, seen(after))
    assert (after.status, decision.action) == ("shipped", "ship")


def test_shipping_asks_for_the_service_to_be_shown_safe() -> None:
    plan = plan_of()
    state = at_step(plan, 2)
    slow = {CONTROL: level(5_000), TREATMENT: level(5_000, p99=23.7)}
    after, decision = advance(plan, state, seen(state, result(state, "ship"), levels=slow))
    assert (after.status, after.cleared, decision.action) == ("ramping", True, "hold")
    assert "Latency p99 is not shown" in decision.reasons[0]
    assert advance(plan, after, seen(after))[0].status == "shipped"


@pytest.mark.parametrize("step", [0, 2])
def test_problems_with_the_data_hold_until_a_sound_look(step: int) -> None:
    plan = plan_of()
    state = at_step(plan, step)
    after, decision = advance(plan, state, seen(state, result(state, problems=("Sample-ratio mismatch.",))))
    assert (after.step, decision.action) == (step, "hold")
    later, decision = advance(plan, after, seen(after))
    assert decision.action == "hold"
    sound, _ = advance(plan, later, seen(later, result(later, "ship" if step else "hold")))
    assert (sound.step, sound.status) == ((1, "ramping") if step == 0 else (2, "shipped"))


def test_the_planned_units_end_the_enrolment_and_the_last_look_decides() -> None:
    plan = plan_of()
    state = at_step(plan, 2)
    after, decision = advance(plan, state, seen(state, result(state), enrolled=20_000, open_windows=4_000))
    assert (after.status, after.ended, decision.action) == ("settling", state.since + HOUR, "settle")
    assert after.since == state.since
    waiting, decision = advance(plan, after, seen(after, enrolled=20_000, open_windows=900))
    assert decision.action == "hold"
    assert not is_last_look(waiting, open_windows=900)
    assert is_last_look(waiting, open_windows=0)
    for news, status in (("hold", "held"), ("ship", "shipped"), ("roll_back", "rolled_back")):
        look = result(waiting, news, last=True)
        assert advance(plan, waiting, seen(waiting, look, enrolled=20_000))[0].status == status


def test_time_that_is_over_ends_a_shadow_without_requests_and_a_ramp_by_a_last_look() -> None:
    plan = plan_of(maximum_days=1)
    late = START + 25 * HOUR
    shadow = replace(started(plan), status="shadow", shadowed=START)
    assert advance(plan, shadow, Observation(late))[0].status == "held"
    ramp = at_step(plan, 0)
    settling, decision = advance(plan, ramp, Observation(late, levels=LEVELS, enrolled=100, open_windows=50))
    assert (settling.status, decision.reasons[0]) == ("settling", "The rollout has taken as long as it may.")
    empty = result(settling, last=True, information=0.0)
    after, _ = advance(plan, settling, Observation(late, look=empty, levels=LEVELS, enrolled=100))
    assert (after.status, after.looks) == ("held", ())


def test_failing_requests_take_back_between_looks_and_in_the_shadow() -> None:
    plan = plan_of()
    broken = level(400, 200)
    ramp = at_step(plan, 1)
    after, decision = advance(plan, ramp, seen(ramp, levels={CONTROL: level(4_000), TREATMENT: broken}))
    assert (after.status, decision.action) == ("rolled_back", "roll_back")
    assert "Error rate is beyond its margin: 50.00% of requests failed" in decision.reasons[0]
    shadow = replace(started(plan), status="shadow", shadowed=START)
    observation = Observation(START + HOUR, levels={CONTROL: level(4_000)}, shadow={TREATMENT: broken})
    assert advance(plan, shadow, observation)[0].status == "rolled_back"


def test_another_version_takes_back() -> None:
    plan = plan_of()
    state = at_step(plan, 1)
    retrained = {**LEVELS, TREATMENT: replace(LEVELS[TREATMENT], versions=("4", "5"))}
    after, decision = advance(plan, state, seen(state, levels=retrained))
    assert after.status == "rolled_back"
    assert "answered by version 5" in decision.reasons[0]
    right = {CONTROL: replace(LEVELS[CONTROL], versions=("3",)), TREATMENT: replace(LEVELS[TREATMENT], versions=("4",))}
    assert advance(plan, state, seen(state, levels=right))[0].status == "ramping"


def test_a_person_is_obeyed_and_named_but_not_against_bad_news() -> None:
    plan = plan_of()
    state = at_step(plan, 0)
    promote = Command("promote", "Ada", "The sale starts.", START)
    after, decision = advance(plan, state, seen(state, command=promote))
    assert after.status == "shipped"
    assert decision.reasons == ("Promoted by Ada: The sale starts. No look has shown that the treatment is better.",)
    abort = Command("abort", "Bo", "Wrong price.", START)
    assert advance(plan, state, seen(state, command=abort))[1].reasons == ("Aborted by Bo: Wrong price.",)
    harmed = seen(state, result(state, "roll_back"), command=promote)
    assert advance(plan, state, harmed)[0].status == "rolled_back"


def test_a_look_from_another_state_is_refused() -> None:
    plan = plan_of()
    state = at_step(plan, 0)
    with pytest.raises(BadInput, match="does not follow"):
        advance(plan, state, seen(state, result(state, number=3)))
    with pytest.raises(BadInput, match="does not follow"):
        advance(plan, started(plan), seen(state, result(state)))


def test_looks_are_due_by_units_and_minutes() -> None:
    plan = plan_of(looks={"units": 1_000, "minutes": 30})
    state = at_step(plan, 0)

    def due(state: RolloutState, minutes: float, enrolled: int, open_windows: int = 0) -> bool:
        now = START + timedelta(minutes=minutes)
        return look_due(plan, state, now=now, enrolled=enrolled, open_windows=open_windows)

    assert not due(state, 0, 999)
    assert due(state, 0, 1_000)
    assert not due(state, 0, 5_000, 4_500)
    once = replace(state, looks=(RecordedLook(START, 1_000, 0.0),))
    assert not due(once, 29, 2_000)
    assert due(once, 30, 2_000)
    assert not due(replace(once, tested=True), 30, 2_000)
    settling = replace(once, status="settling")
    assert (due(settling, 1, 1_500), due(settling, 1, 1_500, 1)) == (True, False)


def test_a_log_that_was_changed_does_not_replay() -> None:
    plan = plan_of()
    first = decided(plan, started(plan), Observation(START))
    forged = replace(first, state=replace(first.state, status="ramping"))
    with pytest.raises(BadInput, match=r"entry 1 .* does not follow"):
        replay(plan, [forged])
    with pytest.raises(BadInput, match="is empty"):
        replay(plan, [])
    with pytest.raises(BadInput, match="line 3"):
        parse_entry(b'{"seen": 1}', where="line 3")
    assert isinstance(first, AuditEntry)
