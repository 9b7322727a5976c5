"""The visits of an experiment, and what comes of them once a version has decided whom to act on.

Two sources: a simulated world, which knows what an action does to each visit, and logged sessions, which know it only
where the version decides what was done at random. Pure: who serves the visits is the step's business.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trimtab.errors import BadInput
from trimtab.rollout.replay import Flags, replayed
from trimtab.sessions.inputs import model_inputs
from trimtab.sessions.privacy import pseudonymise
from trimtab.sessions.simulator import World
from trimtab.sessions.spec import DatasetSpec, TreatmentColumn

Mode = Literal["world", "replay", "no_action"]

NO_ACTION = (
    "The data have no randomised treatment, so nothing is known about what acting on an answer does: "
    "the outcome cannot depend on the version."
)


@dataclass(frozen=True, slots=True)
class Happened:
    """What came of each visit.

    Attributes:
        counted: Whether the visit counts, shape [visits].
        converted: Whether it counts and converted, shape [visits].
        value: What it brought in; 0 where it did not convert, shape [visits].
    """

    counted: Flags
    converted: Flags
    value: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Visits to serve, one per unit.

    Attributes:
        instances: What is sent to a server, one row per visit.
        units: Pseudonymous unit of each visit, shape [visits].
        times: Aware time of each visit.
        segments: Values of the attributes by which results are split, as text, of each visit.
        mode: Where outcomes come from.
        reason: Why the result cannot be judged; empty where it can.
        outcomes: From the decisions of the versions, shape [visits], to what happened.
    """

    instances: pd.DataFrame
    units: npt.NDArray[np.object_]
    times: tuple[datetime, ...]
    segments: tuple[dict[str, str], ...]
    mode: Mode
    reason: str
    outcomes: Callable[[Flags], Happened]


def world_traffic(world: World, spec: DatasetSpec, *, users: int, key: bytes, rng: np.random.Generator) -> Traffic:
    """The next visit of some users of a simulated world.

    Each visit has one uniform draw, by which it converts under either action: the arms share potential outcomes, so
    that they differ by what the versions decide and by which users they were given, and by nothing else.

    Args:
        world: The world; does not change.
        spec: Spec of its sessions; has a unit.
        users: Number of users.
        key: Secret key of the pseudonyms.
        rng: Source of visits and outcomes.
    """
    visits = world.next_visits(users, rng)
    draw = rng.random(len(visits.frame))

    def outcomes(act: Flags) -> Happened:
        converted = draw < np.where(act, visits.p_treated, visits.p_control)
        return Happened(np.ones(len(act), dtype=bool), converted, np.where(converted, visits.value, 0.0))

    return _traffic(visits.frame, pseudonymise(visits.frame[spec.unit], key), spec, mode="world", outcomes=outcomes)


def logged_traffic(held_out: pd.DataFrame, spec: DatasetSpec, *, users: int, rng: np.random.Generator) -> Traffic:
    """The first held-out session of some users, as it was logged.

    Args:
        held_out: Sessions that no version was trained on, with their history features; the unit is a pseudonym.
        spec: Their spec; has a unit.
        users: Most users.
        rng: Source of the choice of users and of the replay's thinning.

    Raises:
        BadInput: No session has a unit.
    """
    sessions = held_out.dropna(subset=[spec.unit])
    if spec.timestamp:
        sessions = sessions.sort_values(spec.timestamp, kind="stable")
    sessions = sessions.drop_duplicates(spec.unit).reset_index(drop=True)
    if sessions.empty:
        raise BadInput(f"no held-out session has a value in the unit column '{spec.unit}'.")
    if len(sessions) > users:
        sessions = sessions.iloc[np.sort(rng.choice(len(sessions), users, replace=False))].reset_index(drop=True)
    label = sessions[spec.label].to_numpy() == 1
    value = sessions[spec.value].fillna(0.0).to_numpy(dtype=np.float64) if spec.value else np.zeros(len(sessions))
    column = spec.columns[spec.treatment] if spec.treatment else None
    if not isinstance(column, TreatmentColumn):
        return _traffic(sessions, sessions[spec.unit], spec, mode="no_action", outcomes=_nothing, reason=NO_ACTION)
    logged = sessions[spec.treatment].to_numpy() == 1

    def outcomes(act: Flags) -> Happened:
        counted = replayed(logged, act, probability=column.probability, rng=rng)
        converted = counted & label
        return Happened(counted, converted, np.where(converted, value, 0.0))

    return _traffic(sessions, sessions[spec.unit], spec, mode="replay", outcomes=outcomes)


def _nothing(act: Flags) -> Happened:
    """Every visit counts as served, and no outcome is known to have come of it."""
    return Happened(np.ones(len(act), dtype=bool), np.zeros(len(act), dtype=bool), np.zeros(len(act)))


def _traffic(
    frame: pd.DataFrame,
    units: pd.Series,
    spec: DatasetSpec,
    *,
    mode: Mode,
    outcomes: Callable[[Flags], Happened],
    reason: str = "",
) -> Traffic:
    inputs = model_inputs(spec)
    sent = (*inputs.request, *inputs.history, spec.unit, spec.timestamp)
    return Traffic(
        instances=frame[[name for name in dict.fromkeys(sent) if name in frame]].reset_index(drop=True),
        units=units.astype(str).to_numpy(dtype=object),
        times=_times(frame, spec),
        segments=_segments(frame, spec),
        mode=mode,
        reason=reason,
        outcomes=outcomes,
    )


def _segments(frame: pd.DataFrame, spec: DatasetSpec) -> tuple[dict[str, str], ...]:
    columns = [frame[name].fillna("").astype(str) for name in spec.segments]
    if not columns:
        return ({},) * len(frame)
    return tuple(dict(zip(spec.segments, values, strict=True)) for values in zip(*columns, strict=True))


def _times(frame: pd.DataFrame, spec: DatasetSpec) -> tuple[datetime, ...]:
    """Times of the visits; without a timestamp column, a fixed time: only their order within a unit matters."""
    if spec.timestamp is None:
        return (datetime(2000, 1, 1, tzinfo=UTC),) * len(frame)
    return tuple(pd.DatetimeIndex(pd.to_datetime(frame[spec.timestamp], utc=True)).to_pydatetime())
