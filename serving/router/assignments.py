"""Where a unit stands in an experiment and why, for people who debug. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from serving.router.table import ModelRoute
from trimtab.experiments.assignment import Experiment, assign_one


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where a unit stands.

    Attributes:
        model: The model.
        unit: Pseudonym of the unit.
        arm: Arm that answers it.
        version: Version of that arm.
        experiment: The running experiment; empty where none runs.
        phase: Number of the phase in force, from 1; 0 where none is.
        phase_starts: Since when; empty where none is.
        enrolled: Whether the unit takes part.
        reason: Why not; empty where it does.
    """

    model: str
    unit: str
    arm: str
    version: int
    experiment: str
    phase: int
    phase_starts: str
    enrolled: bool
    reason: str


def assignment(model: ModelRoute, unit: str, attributes: Mapping[str, str], *, now: datetime) -> Assignment:
    """Where a unit stands at a moment.

    Args:
        model: The model's route.
        unit: Pseudonym.
        attributes: Attributes of the unit as text.
        now: The moment; aware.
    """
    route = model.route
    assigner = model.assigner_at(now)
    arm = assigner.arm(unit, attributes) if assigner else ""
    reason = "" if arm else _reason(model, unit, attributes, now)
    return Assignment(
        model=route.model,
        unit=unit,
        arm=arm or route.control,
        version=route.arms[arm or route.control].version,
        experiment=route.experiment,
        phase=assigner.phase if assigner else 0,
        phase_starts=assigner.starts.isoformat() if assigner else "",
        enrolled=bool(arm),
        reason=reason,
    )


def _reason(model: ModelRoute, unit: str, attributes: Mapping[str, str], now: datetime) -> str:
    if not model.route.experiment:
        return "no experiment runs."
    assigner = model.assigner_at(now)
    if assigner is None:
        return "the experiment has not begun."
    experiment = assigner.experiment
    for name, allowed in experiment.segments.items():
        if name not in attributes:
            return f"the attribute '{name}' decides who takes part, and it is not known."
        if attributes[name] not in allowed:
            return f"'{name}' is '{attributes[name]}'; those with {', '.join(allowed)} take part."
    everyone = replace(experiment, segments={}, share=1.0, layer=None, holdout=None)
    for reason, rule in (
        ("it is in the holdout.", replace(everyone, holdout=experiment.holdout)),
        ("it is outside the experiment's range of the layer.", replace(everyone, layer=experiment.layer)),
        ("it is outside the share of units that is enrolled.", replace(everyone, share=experiment.share)),
    ):
        if not _takes_part(unit, rule):
            return reason
    return "it does not take part."


def _takes_part(unit: str, experiment: Experiment) -> bool:
    return bool(assign_one(unit, experiment))
