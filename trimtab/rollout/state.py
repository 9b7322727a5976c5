"""Where a rollout stands: all that is carried from one decision to the next, as one JSON document.

The versions are pinned at the start, so that a retraining cannot slip into a running rollout, and looks that were taken
are kept as they were seen.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Literal

import orjson
from pydantic import TypeAdapter, ValidationError

from trimtab.errors import BadInput
from trimtab.experiments.spec import ExperimentSpec, Outcomes
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan
from trimtab.rollout.route import Route, RoutePhase, Target

SCHEMA_VERSION = 1
Status = Literal["pending", "shadow", "ramping", "settling", "shipped", "rolled_back", "held", "aborted"]
TERMINAL: frozenset[Status] = frozenset({"shipped", "rolled_back", "held", "aborted"})


@dataclass(frozen=True, slots=True)
class RecordedLook:
    """A look that was taken, as it was seen then.

    Attributes:
        time: When.
        information: Units that would be as informative at the plan's weights.
        statistic: Z of the primary metric, treatment minus control.
    """

    time: datetime
    information: float
    statistic: float


@dataclass(frozen=True, slots=True)
class RolloutState:
    """One rollout at one moment.

    Attributes:
        name: Name of the rollout.
        control: Version that answers control.
        treatment: Version that answers the treatment.
        created: When the rollout was started.
        status: `pending` until the first decision; `shadow`; `ramping`; `settling` once nobody is enrolled any more and
            attribution windows are still open; then one of the four ends.
        since: From when the status, or the step of the ramp, is in force; may lie a little in the future.
        step: Place of the ramp's step.
        shadowed: Start of the shadow stage; None without one.
        steps: Start of each step so far.
        ended: Units that were first exposed from then on do not count; None while units are enrolled.
        units_before: Units that had been enrolled when the step was decided.
        looks: The looks so far.
        tested: Whether the last look has been taken: nothing may be tested any more.
        cleared: Whether the newest look, or the last one, allows shipping.
        sound: Whether the newest look found no problem with the data.
        level: One-sided level of good news at the newest look; 0 before the first.
        checks: Times that the service was judged.
        checked: Requests of the treatment, since `since`, when the service was last judged.
        revision: Grows whenever the route changes.
        schema_version: Version of this document.
    """

    name: str
    control: int
    treatment: int
    created: datetime
    status: Status
    since: datetime
    step: int = 0
    shadowed: datetime | None = None
    steps: tuple[datetime, ...] = ()
    ended: datetime | None = None
    units_before: int = 0
    looks: tuple[RecordedLook, ...] = ()
    tested: bool = False
    cleared: bool = False
    sound: bool = False
    level: float = 0.0
    checks: int = 0
    checked: int = 0
    revision: int = 1
    schema_version: int = SCHEMA_VERSION

    @property
    def over(self) -> bool:
        """Whether the rollout has ended."""
        return self.status in TERMINAL

    @property
    def running(self) -> bool:
        """Whether units meet the treatment."""
        return self.status in ("ramping", "settling")


def begin(plan: RolloutPlan, *, control: int, treatment: int, now: datetime) -> RolloutState:
    """A rollout that has not done anything yet.

    Args:
        plan: The plan.
        control: Version behind the plan's control.
        treatment: Version behind its treatment.
        now: Aware time.

    Raises:
        BadInput: Both are one version, and the plan does not allow that.
    """
    if control == treatment and not plan.allow_same_version:
        raise BadInput(
            f"control '{plan.control}' and treatment '{plan.treatment}' of model '{plan.model}' are both version "
            f"{control}.",
            remedy="Register another version, or set 'allow_same_version' for an A/A test.",
        )
    return RolloutState(plan.name, control, treatment, created=now, status="pending", since=now)


def route_of(plan: RolloutPlan, state: RolloutState, targets: Mapping[str, Target]) -> Route:
    """What routers are to be told.

    Args:
        plan: The plan.
        state: The state.
        targets: Where control and, while the treatment or its shadow answers, the treatment are served.

    Raises:
        BadInput: A target that is needed is absent, or serves another version than the state's.
    """
    if state.status == "shipped":
        return _route(plan, state, TREATMENT, {TREATMENT: _target(state, targets, TREATMENT)})
    arms = {CONTROL: _target(state, targets, CONTROL)}
    if state.status == "pending" or state.over:
        return _route(plan, state, CONTROL, arms)
    arms[TREATMENT] = _target(state, targets, TREATMENT)
    declared = plan.experiment.model_copy(update={"arms": plan.weights}).experiment
    shadow = plan.shadow if state.status == "shadow" else None
    return replace(
        _route(plan, state, CONTROL, arms),
        experiment=plan.name,
        phases=_phases(plan, state),
        share=declared.share,
        layer=declared.layer,
        holdout=declared.holdout,
        shadow=TREATMENT if shadow else "",
        shadow_share=shadow.share if shadow else 1.0,
    )


def experiment_of(plan: RolloutPlan, state: RolloutState, *, outcomes: str, until: datetime) -> ExperimentSpec:
    """The experiment that a look analyses, over the event log.

    Weights are the same in all steps, so the arms' plain values may be compared; units that met control before the ramp
    began, during the shadow stage, count from their first exposure in the ramp on.

    Args:
        plan: The plan.
        state: The state.
        outcomes: Where the warehouse reads the outcomes.
        until: Outcomes are known until then; units whose window is still open are left out.
    """
    return plan.experiment.model_copy(
        update={
            "arms": plan.weights,
            "starts": state.steps[0] if state.steps else state.since,
            "ends": state.ended,
            "outcomes": Outcomes(file=outcomes, value="value", id="id", window_hours=plan.window_hours, until=until),
        }
    )


def dump_state(state: RolloutState) -> bytes:
    """A state as JSON."""
    return orjson.dumps(asdict(state), option=orjson.OPT_INDENT_2)


def parse_state(document: bytes, *, where: str) -> RolloutState:
    """A state from JSON.

    Args:
        document: The JSON.
        where: Where it came from, for messages.

    Raises:
        BadInput: It is not JSON, lacks a field, or was written by another version of this program.
    """
    try:
        state = _ADAPTER.validate_json(document)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise BadInput(f"{where}: {place or 'the document'}: {problem['msg']}.") from error
    if state.schema_version != SCHEMA_VERSION:
        raise BadInput(f"{where} has schema version {state.schema_version}; this program reads {SCHEMA_VERSION}.")
    return state


_ADAPTER = TypeAdapter(RolloutState)


def _route(plan: RolloutPlan, state: RolloutState, control: str, arms: Mapping[str, Target]) -> Route:
    return Route(
        plan.model,
        control,
        dict(arms),
        unit_field=plan.unit_field,
        attributes=plan.attributes,
        timeout_ms=plan.timeout_ms,
        revision=state.revision,
    )


def _phases(plan: RolloutPlan, state: RolloutState) -> tuple[RoutePhase, ...]:
    """One phase per step; the shadow stage before them logs what control does, and gives the treatment no unit."""
    alone = {CONTROL: 1.0, TREATMENT: 0.0}
    before = (RoutePhase(state.shadowed, alone),) if state.shadowed else ()
    steps = (
        RoutePhase(starts, plan.weights, plan.ramp[place].eligible, plan.enrolled_share(place))
        for place, starts in enumerate(state.steps)
    )
    return (*before, *steps)


def _target(state: RolloutState, targets: Mapping[str, Target], arm: str) -> Target:
    pinned = state.control if arm == CONTROL else state.treatment
    if arm not in targets:
        raise BadInput(f"rollout '{state.name}' has no server for {arm}.", remedy=f"Deploy version {pinned}.")
    if targets[arm].version != pinned:
        raise BadInput(
            f"the server of {arm} has version {targets[arm].version}, but rollout '{state.name}' was started with "
            f"version {pinned}.",
            remedy="Deploy the version that the rollout was started with.",
        )
    return targets[arm]
