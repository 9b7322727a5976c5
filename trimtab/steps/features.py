"""Give each session of a snapshot its user's history as of just before it."""

import os
from dataclasses import dataclass

from trimtab.ports import Ports
from trimtab.sessions.inputs import has_history, history_features

TRAINING_FILE = "training.parquet"


@dataclass(frozen=True, slots=True)
class Config:
    """What to prepare.

    Attributes:
        snapshot_id: The snapshot.
    """

    snapshot_id: str


@dataclass(frozen=True, slots=True)
class Result:
    """What was prepared.

    Attributes:
        snapshot_id: The snapshot.
        rows: Sessions in the training file.
        features: Names of the history features; empty where the spec has no unit or no timestamp.
        path: The training file: the snapshot's columns and the history features, in time order.
    """

    snapshot_id: str
    rows: int
    features: tuple[str, ...]
    path: str


def run(config: Config, ports: Ports) -> Result:
    """Register the snapshot with the feature store and write its training file.

    Args:
        config: The snapshot.
        ports: Uses `snapshots` and, where sessions have a history, `features`.

    Returns:
        What was written.

    Raises:
        NotFound: There is no such snapshot.
    """
    sessions, spec = ports.snapshots.read(config.snapshot_id)
    ports.progress("features", 0, 3, "history")
    if has_history(spec):
        ports.features.prepare(config.snapshot_id, sessions, spec)
        ports.progress("features", 1, 3, "point-in-time join")
        sessions = ports.features.training_frame(sessions, spec)
    if spec.timestamp is not None:
        sessions = sessions.sort_values(spec.timestamp, kind="stable", ignore_index=True)
    ports.progress("features", 2, 3, "writing")
    path = ports.snapshots.folder(config.snapshot_id) / TRAINING_FILE
    part = path.with_name(f".{path.name}.{os.getpid()}")
    sessions.to_parquet(part, index=False)
    part.replace(path)
    ports.progress("features", 3, 3)
    return Result(config.snapshot_id, len(sessions), history_features(spec), str(path))
