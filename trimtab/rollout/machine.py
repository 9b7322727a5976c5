"""The rollout as a pure state machine: a plan, a state and an observation make the next state and a decision.

Bad news stops at once: harm that is shown, a version that nobody planned. Good news waits for its bound, for the ramp
to be complete, and for every guardrail to be shown safe. Where there is nothing to judge, all stays as it is. An end is
for good.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import isfinite

from trimtab.errors import BadInput
from trimtab.experiments.criteria import Criterion
from trimtab.rollout.guardrails import LEAST_REQUESTS, Levels, due, level_of_check, service_criteria
from trimtab.rollout.look import LookResult
from trimtab.rollout.observation import Action, Command, Decision, Observation
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan
from trimtab.rollout.service import ServiceLevel
from trimtab.rollout.state import RecordedLook, RolloutState, Status


def look_due(plan: RolloutPlan, state: RolloutState, *, now: datetime, enrolled: int, open_windows: int) -> bool:
    """Whether it is time for a look. Its timing depends on counts and the clock, never on an effect.

    Args:
        plan: The plan.
        state: The state.
        now: Aware time.
        enrolled: Units that were first exposed since the ramp began.
        open_windows: How many of them may still bring outcomes.
    """
    if state.tested or not state.running:
        return False
    if state.status == "settling":
        return open_windows == 0
    newest = state.looks[-1] if state.looks else None
    known = enrolled - open_windows
    waited = newest is None or now - newest.time >= timedelta(minutes=plan.looks.minutes)
    return waited and known - (newest.information if newest else 0.0) >= plan.look_units


def is_last_look(state: RolloutState, *, open_windows: int) -> bool:
    """Whether a look taken now is the last: nobody is enrolled any more, and every window is closed."""
    return state.status == "settling" and open_windows == 0


def advance(plan: RolloutPlan, state: RolloutState, seen: Observation) -> tuple[RolloutState, Decision]:
    """The next state.

    Args:
        plan: The plan.
        state: The state.
        seen: What is known now.

    Returns:
        The state from now on, and the decision.

    Raises:
        BadInput: The look was judged from another state than this one.
    """
    if state.over:
        return _Turn(plan, state, state, seen).decide("hold", state, ("The rollout has ended.",))
    looked = state if seen.look is None else _record(state, seen.look)
    after, service = _judge_service(plan, looked, seen)
    turn = _Turn(plan, state, after, seen, service)
    harm = _harm(turn)
    if harm:
        return turn.end("roll_back", "rolled_back", harm)
    if seen.command is not None:
        return _obey(turn, seen.command)
    if state.status == "pending":
        return _start(turn)
    return _in_shadow(turn) if state.status == "shadow" else _running(turn)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One call of `advance`.

    Attributes:
        plan: The plan.
        before: The state that was given.
        state: That with the look and the judgement of the service recorded.
        seen: The observation.
        service: Lines of the service's guardrails.
    """

    plan: RolloutPlan
    before: RolloutState
    state: RolloutState
    seen: Observation
    service: tuple[Criterion, ...] = ()

    def decide(self, action: Action, after: RolloutState, reasons: Sequence[str]) -> tuple[RolloutState, Decision]:
        """The state after, and the decision with the evidence."""
        look = self.seen.look
        return after, Decision(
            time=self.seen.now,
            action=action,
            before=described(self.plan, self.before),
            after=described(self.plan, after),
            weight=treated_weight(self.plan, after),
            reasons=tuple(reasons),
            criteria=(*(look.criteria if look else ()), *self.service),
            numbers=_numbers(self.seen),
        )

    def end(self, action: Action, status: Status, reasons: Sequence[str]) -> tuple[RolloutState, Decision]:
        """The rollout ends."""
        over = replace(self.state, status=status, since=self.seen.now, revision=self.state.revision + 1)
        return self.decide(action, over, reasons)

    def hold(self, reasons: Sequence[str]) -> tuple[RolloutState, Decision]:
        """All stays as it is."""
        return self.decide("hold", self.state, reasons)

    @property
    def starts(self) -> datetime:
        """When what is decided now comes into force: once all routers have heard of it."""
        return self.seen.now + timedelta(seconds=max(self.plan.lead_seconds, self.seen.hearing_seconds))

    @property
    def late(self) -> bool:
        """Whether the rollout has taken as long as it may."""
        return self.seen.now >= self.state.created + timedelta(days=self.plan.maximum_days)

    @property
    def at_last_step(self) -> bool:
        """Whether the ramp is complete."""
        return self.state.step == len(self.plan.ramp) - 1

    @property
    def treatment(self) -> ServiceLevel | None:
        """How the treatment served its requests."""
        return _served(self.before, self.seen)


def described(plan: RolloutPlan, state: RolloutState) -> str:
    """The status in words, with the step while the ramp goes on: `ramping 1/3`."""
    return f"{state.status} {state.step + 1}/{len(plan.ramp)}" if state.running else state.status


def treated_weight(plan: RolloutPlan, state: RolloutState) -> float:
    """Share of the eligible units that the treatment answers."""
    if state.running:
        return plan.ramp[state.step].weight
    return 1.0 if state.status == "shipped" else 0.0


def _judge_service(
    plan: RolloutPlan, state: RolloutState, seen: Observation
) -> tuple[RolloutState, tuple[Criterion, ...]]:
    """The lines of the service, and the state that knows when it was judged."""
    treatment = _served(state, seen)
    requests = treatment.requests if treatment else 0
    bad = 0.0
    if due(requests, checked=state.checked):
        state = replace(state, checks=state.checks + 1, checked=requests)
        bad = level_of_check(plan, state.checks)
    return state, service_criteria(plan, seen.levels.get(CONTROL), treatment, Levels(bad, state.level))


def _served(state: RolloutState, seen: Observation) -> ServiceLevel | None:
    """How the treatment, or before the ramp its shadow, served its requests."""
    return (seen.levels if state.running else seen.shadow).get(TREATMENT)


def _record(state: RolloutState, look: LookResult) -> RolloutState:
    """The state with a look that was taken from it; the last look may stand in for the one before."""
    taken = len(state.looks)
    if not state.running or state.tested or look.number not in ({taken, taken + 1} if look.last else {taken + 1}):
        raise BadInput(
            f"look {look.number} of rollout '{state.name}' does not follow from its state: it is "
            f"'{state.status}' after {taken} looks{', the last of them' if state.tested else ''}.",
            remedy="Judge the look from the state that it is to advance.",
        )
    kept = state.looks[: look.number - 1]
    new = (RecordedLook(look.time, look.information, look.statistic),) if look.information > 0 else ()
    return replace(
        state,
        looks=(*kept, *new),
        tested=look.last,
        cleared=look.decision == "ship",
        sound=not look.problems,
        level=look.level,
    )


def _harm(turn: _Turn) -> tuple[str, ...]:
    """Every piece of bad news."""
    pinned = {CONTROL: str(turn.state.control), TREATMENT: str(turn.state.treatment)}
    strange = tuple(
        f"{arm} was answered by version {version}, but the rollout was started with version {pinned[arm]}."
        for levels in (turn.seen.levels, turn.seen.shadow)
        for arm, level in levels.items()
        for version in level.versions
        if arm in pinned and version != pinned[arm]
    )
    look = turn.seen.look
    shown = look.reasons if look is not None and look.decision == "roll_back" else ()
    return (*shown, *(line.reason for line in turn.service if line.status == "fail"), *strange)


def _obey(turn: _Turn, command: Command) -> tuple[RolloutState, Decision]:
    said = f"by {command.who}: {command.why}"
    if command.kind == "abort":
        return turn.end("abort", "aborted", (f"Aborted {said}",))
    shown = "" if turn.state.cleared else " No look has shown that the treatment is better."
    return turn.end("ship", "shipped", (f"Promoted {said}{shown}",))


def _start(turn: _Turn) -> tuple[RolloutState, Decision]:
    shadow = turn.plan.shadow
    if shadow is None:
        return _start_ramp(turn, ("There is no shadow stage.",))
    after = replace(
        turn.state, status="shadow", since=turn.starts, shadowed=turn.starts, revision=turn.state.revision + 1
    )
    least = f"at least {shadow.requests:,} requests and {shadow.minutes:g} minutes"
    return turn.decide("start_shadow", after, (f"The treatment is sent copies of {least} before any unit meets it.",))


def _start_ramp(turn: _Turn, reasons: Sequence[str]) -> tuple[RolloutState, Decision]:
    after = replace(
        turn.state,
        status="ramping",
        since=turn.starts,
        steps=(turn.starts,),
        checked=0,
        revision=turn.state.revision + 1,
    )
    return turn.decide("start_ramp", after, reasons)


def _in_shadow(turn: _Turn) -> tuple[RolloutState, Decision]:
    shadow, level = turn.plan.shadow, turn.seen.shadow.get(TREATMENT)
    asked, answered = (shadow.requests if shadow else 1), (level.requests if level else 0)
    missing = [] if answered >= asked else [f"The shadow was sent {answered:,} of {asked:,} requests."]
    missing += _too_short(turn, shadow.minutes if shadow else 0.0)
    if not missing:
        return _start_ramp(turn, (f"The shadow was sent {answered:,} requests, and no guardrail was shown to fail.",))
    return turn.end("end", "held", (*missing, _TOO_LATE)) if turn.late else turn.hold(missing)


def _running(turn: _Turn) -> tuple[RolloutState, Decision]:
    state = turn.state
    if state.tested and not state.cleared:
        reasons = turn.seen.look.reasons if turn.seen.look else ()
        return turn.end("end", "held", ("The last look does not allow shipping.", *reasons))
    below = _below_minimums(turn)
    missing = (*below, *(_not_shipping(turn) if turn.at_last_step else _not_growing(turn)))
    if not missing:
        return _ship(turn) if turn.at_last_step else _grow(turn)
    if state.tested:  # And cleared: the ramp is completed, but no guardrail of the service is waited for without end.
        over = turn.late and turn.at_last_step and not below
        return turn.end("end", "held", (*missing, _TOO_LATE)) if over else turn.hold(missing)
    enough = turn.at_last_step and not below and turn.seen.enrolled >= turn.plan.planned_units
    if state.status == "ramping" and (turn.late or enough):
        return _settle(turn)
    return turn.hold(missing)


_TOO_LATE = "The rollout has taken as long as it may."


def _settle(turn: _Turn) -> tuple[RolloutState, Decision]:
    """Nobody is enrolled any more. Units keep their arms, because their outcomes are those of all their visits."""
    after = replace(turn.state, status="settling", ended=turn.seen.now)
    why = _TOO_LATE if turn.late else f"All {turn.plan.planned_units:,} planned units are enrolled."
    return turn.decide(
        "settle", after, (why, f"The last look waits for the outcomes of {turn.seen.open_windows:,} units.")
    )


def _grow(turn: _Turn) -> tuple[RolloutState, Decision]:
    state = turn.state
    after = replace(
        state,
        status="ramping",
        since=turn.starts,
        step=state.step + 1,
        steps=(*state.steps, turn.starts),
        units_before=turn.seen.enrolled,
        checked=0,
        revision=state.revision + 1,
    )
    before, now = (turn.plan.ramp[place].weight for place in (state.step, state.step + 1))
    return turn.decide("grow", after, (f"From {before:.0%} to {now:.0%}: no harm is shown, and the step is complete.",))


def _ship(turn: _Turn) -> tuple[RolloutState, Decision]:
    look = turn.seen.look
    reasons = look.reasons if look is not None else ("The newest look allows shipping, and the ramp is complete.",)
    return turn.end("ship", "shipped", reasons)


def _below_minimums(turn: _Turn) -> tuple[str, ...]:
    """What the step still lacks. Once nobody is enrolled any more there are no units to wait for."""
    step = turn.plan.ramp[turn.state.step]
    own = turn.seen.enrolled - turn.state.units_before
    few = own < step.units and turn.state.ended is None
    return (
        *([f"The step has enrolled {own:,} of {step.units:,} units."] if few else []),
        *_too_short(turn, step.minutes),
    )


def _too_short(turn: _Turn, minutes: float) -> list[str]:
    lasted = (turn.seen.now - turn.state.since) / timedelta(minutes=1)
    if lasted <= 0:
        begins = f"{turn.state.since.astimezone(UTC):%H:%M:%S} UTC"
        return [f"The step is in force from {begins} on, when every router has heard of it."]
    return [] if lasted >= minutes else [f"The step has lasted {lasted:.1f} of {minutes:g} minutes."]


def _not_growing(turn: _Turn) -> tuple[str, ...]:
    """Why a complete step may not grow: data to judge it by are missing, or are not sound."""
    state, found = turn.state, []
    if not state.tested and not (state.looks and state.looks[-1].time >= state.since):
        found.append("No look has been taken in this step.")
    elif not state.sound:
        problems = turn.seen.look.problems if turn.seen.look else ()
        found += problems or ("The newest look found problems with the data.",)
    served = turn.treatment
    if turn.service and (served is None or served.requests < LEAST_REQUESTS):
        found.append("The treatment has had too few requests in this step to judge its service.")
    return tuple(found)


def _not_shipping(turn: _Turn) -> tuple[str, ...]:
    """Why a complete ramp may not ship."""
    if not turn.state.cleared:
        look = turn.seen.look
        return look.reasons if look is not None else ("No look allows shipping yet.",)
    return tuple(line.reason for line in turn.service if line.status != "pass")


def _numbers(seen: Observation) -> dict[str, float]:
    """Figures of the observation; what is unknown is left out, for JSON has no NaN."""
    figures: dict[str, float] = {"enrolled": seen.enrolled, "open_windows": seen.open_windows}
    for arm, level in seen.levels.items():
        figures |= {f"{arm}.requests": level.requests, f"{arm}.failures": level.failures}
        figures[f"{arm}.latency_p99_ms"] = level.latency_p99_ms
    for arm, level in seen.shadow.items():
        figures |= {f"shadow.{arm}.requests": level.requests, f"shadow.{arm}.failures": level.failures}
        figures[f"shadow.{arm}.latency_p99_ms"] = level.latency_p99_ms
    look = seen.look
    if look is not None:
        figures |= {
            "look": look.number,
            "information": look.information,
            "fraction": look.fraction,
            "statistic": look.statistic,
            "good_bound": look.good_bound,
            "bad_bound": look.bad_bound,
            **{f"{arm}.units": units for arm, units in look.units.items()},
        }
        if look.effect is not None:
            figures |= {"effect": look.effect.estimate, "effect_low": look.effect.low, "effect_high": look.effect.high}
        if look.relative is not None:
            figures["relative_effect"] = look.relative
    return {name: float(value) for name, value in figures.items() if isfinite(value)}
