"""Whatever is seen, in whatever order: what the machine promises holds."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.rollout.audit import AuditEntry, dump_entry, parse_entry, replay
from trimtab.rollout.look import LookResult
from trimtab.rollout.machine import advance, treated_weight
from trimtab.rollout.observation import Command, Decision, Observation
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan
from trimtab.rollout.service import ServiceLevel
from trimtab.rollout.state import RolloutState, dump_state, parse_state
from trimtab.testing.rollout_store import START, plan_of, started
from trimtab.types import Interval


@dataclass(frozen=True)
class Moment:
    """What happens between two observations."""

    minutes: float
    look: str
    sound: bool
    last: bool
    requests: int
    failing: bool
    units: int
    open_share: float
    command: str
    strange: bool


PLANS = st.sampled_from(
    [
        plan_of(),
        plan_of(shadow=None, service={}),
        plan_of(maximum_days=0.2, lead_seconds=0),
        plan_of(ramp=[{"weight": 0.1, "units": 300, "minutes": 10}, {"weight": 0.5, "units": 500}], lead_seconds=30),
    ]
)
MOMENTS = st.lists(
    st.builds(
        Moment,
        minutes=st.sampled_from([0.0, 1.0, 61.0, 300.0]),
        look=st.sampled_from(["none", "none", "hold", "ship", "ship", "roll_back"]),
        sound=st.sampled_from([True, True, True, False]),
        last=st.sampled_from([False, False, False, True]),
        requests=st.sampled_from([0, 30, 200, 5_000]),
        failing=st.sampled_from([False] * 9 + [True]),
        units=st.sampled_from([0, 100, 600, 12_000]),
        open_share=st.sampled_from([0.0, 0.5, 1.0]),
        command=st.sampled_from([""] * 15 + ["promote", "abort"]),
        strange=st.sampled_from([False] * 15 + [True]),
    ),
    max_size=40,
)


@dataclass(frozen=True)
class Turn:
    """One call of the machine."""

    before: RolloutState
    seen: Observation
    after: RolloutState
    decision: Decision


def looked(state: RolloutState, moment: Moment, now: Any) -> LookResult | None:
    if moment.look == "none" or not state.running or state.tested:
        return None
    problems = () if moment.sound or moment.look == "roll_back" else ("Sample-ratio mismatch.",)
    decision: Any = moment.look if not problems else "hold"
    information = (state.looks[-1].information if state.looks else 0.0) + 500
    return LookResult(
        number=len(state.looks) + 1,
        time=now,
        information=information,
        fraction=information / 20_000,
        statistic=1.0,
        units={CONTROL: 250, TREATMENT: 250},
        effect=Interval(0.01, -0.01, 0.03),
        relative=None,
        good_bound=4.0,
        bad_bound=2.5,
        level=0.02,
        last=moment.last or state.status == "settling",
        decision=decision,
        reasons=("A reason.",),
        criteria=(),
        problems=problems,
    )


def served(state: RolloutState, requests: int, *, failing: bool, strange: bool) -> dict[str, ServiceLevel]:
    if not requests:
        return {}
    treatment = ServiceLevel(
        requests, requests // 2 if failing else 0, 9.0, 20.0, 19.9, 20.1, ("9" if strange else "4",)
    )
    return {CONTROL: ServiceLevel(requests, 0, 9.0, 20.0, 19.9, 20.1, ("3",)), TREATMENT: treatment}


def run(plan: RolloutPlan, moments: list[Moment]) -> list[Turn]:
    state, now, turns, enrolled, requests = started(plan), START, [], 0, 0
    for moment in moments:
        now += timedelta(minutes=moment.minutes)
        enrolled += moment.units if state.running and state.ended is None else 0
        requests += moment.requests
        levels = served(state, requests, failing=moment.failing, strange=moment.strange)
        shadow = state.status == "shadow"
        command: Any = moment.command
        seen = Observation(
            now=now,
            look=looked(state, moment, now),
            levels={arm: level for arm, level in levels.items() if not (shadow and arm == TREATMENT)},
            shadow={TREATMENT: levels[TREATMENT]} if shadow and levels else {},
            enrolled=enrolled,
            open_windows=round(enrolled * moment.open_share),
            command=Command(command, "Ada", "Because.", now) if command else None,
        )
        after, decision = advance(plan, state, seen)
        turns.append(Turn(state, seen, after, decision))
        requests = 0 if after.since != state.since else requests
        state = after
    return turns


@settings(max_examples=100, deadline=None)
@given(PLANS, MOMENTS)
def test_an_end_is_for_good(plan: RolloutPlan, moments: list[Moment]) -> None:
    for turn in run(plan, moments):
        if turn.before.over:
            assert turn.after == turn.before
            assert turn.decision.action == "hold"


@settings(max_examples=100, deadline=None)
@given(PLANS, MOMENTS)
def test_weight_grows_only_when_the_step_is_complete_and_was_judged(plan: RolloutPlan, moments: list[Moment]) -> None:
    for turn in run(plan, moments):
        before, after = turn.before, turn.after
        if after.running and before.running and after.step > before.step:
            step = plan.ramp[before.step]
            assert after.step == before.step + 1
            assert turn.seen.now >= before.since + timedelta(minutes=step.minutes)
            assert after.since > before.since
            if not after.tested:
                assert turn.seen.enrolled - before.units_before >= step.units
                assert after.looks[-1].time >= before.since
                assert after.sound
            if plan.service.error_rate:
                assert turn.seen.levels[TREATMENT].requests >= 20
        if treated_weight(plan, after) > treated_weight(plan, before):
            assert turn.decision.action in ("start_ramp", "grow", "ship")
        assert turn.decision.weight == treated_weight(plan, after)


@settings(max_examples=100, deadline=None)
@given(PLANS, MOMENTS)
def test_ships_only_what_a_look_cleared_or_a_person_promoted(plan: RolloutPlan, moments: list[Moment]) -> None:
    for turn in run(plan, moments):
        if turn.after.status == "shipped" and turn.before.status != "shipped":
            if turn.seen.command is not None:
                assert turn.seen.command.kind == "promote"
                assert turn.decision.reasons[0].startswith("Promoted by Ada")
                assert ("No look has shown" in turn.decision.reasons[0]) == (not turn.after.cleared)
            else:
                assert turn.after.cleared
                assert turn.before.step == len(plan.ramp) - 1
                assert all(line.status == "pass" for line in turn.decision.criteria)


@settings(max_examples=100, deadline=None)
@given(PLANS, MOMENTS)
def test_bad_news_takes_back_from_wherever_the_rollout_is(plan: RolloutPlan, moments: list[Moment]) -> None:
    for turn in run(plan, moments):
        if turn.before.over:
            continue
        failed = any(line.status == "fail" for line in turn.decision.criteria)
        strange = any("9" in level.versions for level in (*turn.seen.levels.values(), *turn.seen.shadow.values()))
        harmful = turn.seen.look is not None and turn.seen.look.decision == "roll_back"
        assert (turn.after.status == "rolled_back") == (failed or strange or harmful)
        if turn.after.status == "rolled_back":
            assert turn.decision.reasons
            assert treated_weight(plan, turn.after) == 0


@settings(max_examples=80, deadline=None)
@given(PLANS, MOMENTS)
def test_without_data_nothing_grows_or_ships(plan: RolloutPlan, moments: list[Moment]) -> None:
    silent = [replace(one, look="none", requests=0, units=0, command="", strange=False) for one in moments]
    for turn in run(plan, silent):
        assert turn.decision.action in ("start_shadow", "start_ramp", "settle", "hold", "end")
        assert treated_weight(plan, turn.after) <= plan.ramp[0].weight
        assert turn.decision.action != "start_ramp" or plan.shadow is None


@settings(max_examples=100, deadline=None)
@given(PLANS, MOMENTS)
def test_versions_never_change(plan: RolloutPlan, moments: list[Moment]) -> None:
    for turn in run(plan, moments):
        assert (turn.after.control, turn.after.treatment) == (3, 4)


@settings(max_examples=80, deadline=None)
@given(PLANS, MOMENTS)
def test_everything_survives_json_and_the_log_replays(plan: RolloutPlan, moments: list[Moment]) -> None:
    turns = run(plan, moments)
    entries = [AuditEntry(turn.seen, turn.decision, turn.after) for turn in turns]
    again = [parse_entry(dump_entry(entry), where="the log") for entry in entries]
    assert again == entries
    for turn in turns:
        assert parse_state(dump_state(turn.after), where="the state") == turn.after
    if entries:
        assert replay(plan, again) == turns[-1].after


@settings(max_examples=80, deadline=None)
@given(PLANS, MOMENTS)
def test_the_route_changes_with_the_revision_and_not_without(plan: RolloutPlan, moments: list[Moment]) -> None:
    for turn in run(plan, moments):
        changed = turn.before.steps != turn.after.steps or turn.before.status != turn.after.status
        assert turn.after.revision - turn.before.revision == int(changed and turn.decision.action != "settle")
        assert list(turn.after.steps) == sorted(set(turn.after.steps))
