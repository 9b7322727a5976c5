"""What a rollout sees: how the arms served, who was enrolled, and, when one is due, a look at the outcomes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trimtab.errors import TrimtabError
from trimtab.experiments.analysis.evidence import Material, whole
from trimtab.experiments.moments import Moments
from trimtab.experiments.spec import ExperimentSpec
from trimtab.ports import Ports
from trimtab.rollout.calibration import METRIC, calibration_request
from trimtab.rollout.look import LookResult, judge_look
from trimtab.rollout.machine import is_last_look, look_due
from trimtab.rollout.observation import Observation
from trimtab.rollout.plan import RolloutPlan
from trimtab.rollout.state import RolloutState, experiment_of
from trimtab.steps import analyze


@dataclass(frozen=True, slots=True)
class _Enrolled:
    """Units that were first exposed in the ramp, in one arm, and how many of them may still bring outcomes."""

    units: int = 0
    open_windows: int = 0


def observe(
    plan: RolloutPlan, state: RolloutState, ports: Ports, *, now: datetime, known_until: datetime | None = None
) -> Observation:
    """What is known now.

    Args:
        plan: The plan.
        state: The state.
        ports: Uses `events`, `warehouse`, `rollouts` and `routes`.
        now: Aware time.
        known_until: Outcomes are known until then; where absent, until the plan's time of reporting before now, so
            that an outcome on its way is not taken for none. Later than now where nothing more can come of the units
            so far, as in a simulation.

    Raises:
        Unavailable: The event log does not answer, and a decision needs it: to give up needs no evidence.
    """
    command, hearing = ports.rollouts.next_command(plan.name), ports.routes.hearing.total_seconds()
    bare = Observation(now, command=command, hearing_seconds=hearing)
    if state.over or state.status == "pending":
        return bare
    try:
        return _with_evidence(bare, plan, state, ports, known_until=known_until)
    except TrimtabError:
        if command is None or command.kind != "abort":
            raise
        return bare


def _with_evidence(
    bare: Observation, plan: RolloutPlan, state: RolloutState, ports: Ports, *, known_until: datetime | None
) -> Observation:
    now = bare.now
    levels = ports.events.service_levels(plan.name, "exposure", since=state.since)
    shadow = ports.events.service_levels(plan.name, "shadow", since=state.since) if state.status == "shadow" else {}
    until = known_until or now - timedelta(minutes=plan.reporting_minutes)
    enrolled, look = _outcomes(plan, state, ports, now=now, until=until)
    return replace(
        bare,
        look=look,
        levels=levels,
        shadow=shadow,
        enrolled=enrolled.units,
        open_windows=enrolled.open_windows,
    )


def _outcomes(
    plan: RolloutPlan, state: RolloutState, ports: Ports, *, now: datetime, until: datetime
) -> tuple[_Enrolled, LookResult | None]:
    """Who was enrolled, and a look where one is due. Until somebody reports an outcome there are no data at all."""
    exposures = ports.events.location(plan.name, "exposure")
    outcomes = ports.events.location(plan.name, "outcome")
    if not state.running:
        return _Enrolled(), None
    if ports.events.empty(plan.name, "exposure") or ports.events.empty(plan.name, "outcome"):
        last = is_last_look(state, open_windows=0)
        return _Enrolled(), judge_look(plan, state, Material(exposures, {}), now=now, last=True) if last else None
    spec = experiment_of(plan, state, outcomes=outcomes, until=until)
    table = ports.warehouse.open(exposures, analyze.layout(spec))
    check = table.units()
    enrolled = _Enrolled(check.rows - check.mixed, check.open_windows or 0)
    last = is_last_look(state, open_windows=enrolled.open_windows)
    if not look_due(plan, state, now=now, enrolled=enrolled.units, open_windows=enrolled.open_windows):
        return enrolled, None
    if enrolled.units <= enrolled.open_windows:
        nothing = Material(exposures, {})
        return enrolled, judge_look(plan, state, nothing, now=now, last=True) if last else None
    material = analyze.read_material(spec, exposures, ports)
    predictions = _predictions(plan, spec, exposures, ports)
    return enrolled, judge_look(plan, state, material, now=now, last=last, predictions=predictions)


def _predictions(plan: RolloutPlan, spec: ExperimentSpec, exposures: str, ports: Ports) -> Mapping[str, Moments]:
    """Joint moments of outcome and prediction by arm; none where calibration is no guardrail.

    What control answered in the treatment's place is no prediction of the treatment.
    """
    column = plan.experiment.metrics[plan.predicted].column if plan.predicted else None
    request = calibration_request(plan, source=analyze.EVENT.format(column))
    if request is None:
        return {}
    rows = analyze.layout(spec)
    own = ports.warehouse.open(exposures, replace(rows, eligible={**rows.eligible, "fallback": ("",)}))
    return {arm: cell.moments[METRIC] for arm, cell in whole(own.cells([request])).items()}
