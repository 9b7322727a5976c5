"""Load each unit's latest history into the online store, where servers read it."""

import time
from dataclasses import dataclass

from trimtab.ports import Ports
from trimtab.sessions.history import kpi_state, unit_state
from trimtab.sessions.inputs import has_history
from trimtab.sessions.spec import DatasetSpec


@dataclass(frozen=True, slots=True)
class Config:
    """What to load.

    Attributes:
        snapshot_id: The snapshot that the features step prepared last.
    """

    snapshot_id: str


@dataclass(frozen=True, slots=True)
class Result:
    """What was loaded.

    Attributes:
        units: Number of units; 0 where the spec has no unit or no timestamp.
        features: Number of values per unit.
        seconds: Time that loading took.
    """

    units: int
    features: int
    seconds: float


def run(config: Config, ports: Ports) -> Result:
    """Load the latest history of every unit; running it again changes nothing.

    Args:
        config: The snapshot.
        ports: Uses `snapshots` and, where sessions have a history, `features`.

    Returns:
        How much was loaded.

    Raises:
        NotFound: There is no such snapshot, or the features step has not run on it.
    """
    _, spec = ports.snapshots.read(config.snapshot_id)
    return load(spec, ports)


def load(spec: DatasetSpec, ports: Ports) -> Result:
    """Load the latest history of every unit of the snapshot that the features step prepared last for this spec.

    Args:
        spec: The dataset spec.
        ports: Uses `features` where sessions have a history.

    Returns:
        How much was loaded.

    Raises:
        NotFound: The features step has not run on a snapshot of the spec.
    """
    if not has_history(spec):
        return Result(0, 0, 0.0)
    ports.progress("materialize", 0, 1)
    started = time.perf_counter()
    units = ports.features.materialize(spec)
    seconds = time.perf_counter() - started
    ports.progress("materialize", 1, 1, f"{units} units")
    return Result(units, len(unit_state(spec)) + len(kpi_state(spec)), round(seconds, 3))
