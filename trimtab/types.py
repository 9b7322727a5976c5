"""Ids and frozen values that cross package borders. No behaviour, no third-party types."""

from dataclasses import dataclass, field
from datetime import datetime
from math import nan
from typing import Literal

Decision = Literal["ship", "roll_back", "hold"]
Alias = Literal["champion", "challenger"]
Device = Literal["cpu", "cuda", "hpu"]
EventKind = Literal["exposure", "outcome", "shadow"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A point estimate and the bounds of its interval, in the unit of the estimate.

    >>> Interval(0.1, 0.05, 0.15).low
    0.05
    """

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The identified, hashed data that a model was trained on.

    Attributes:
        id: First 16 hex digits of the SHA-256 over spec and rows; equal data give an equal id.
        uri: Folder that holds `sessions.parquet`, `spec.yaml` and `snapshot.json`.
        rows: Number of accepted sessions.
        rejected: Number of rows in quarantine.
        spec_name: Name of the dataset spec.
        source: Where the rows were read from.
    """

    id: str
    uri: str
    rows: int
    rejected: int
    spec_name: str
    source: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One immutable version of a registered model."""

    name: str
    version: int
    uri: str = ""
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the event log: a unit was exposed to an arm, or something that a metric counts happened to it.

    Every request of an enrolled unit is an exposure; analyses count the first one of a unit, service levels all of
    them. `arm` is always the arm that the unit was assigned to, also where another one had to answer: comparing units
    as they were assigned keeps the comparison randomised.

    Attributes:
        id: Unique; readers drop repeats.
        kind: `exposure`, `outcome`, or `shadow` for an answer that nobody was given.
        experiment: Name of the experiment.
        unit: Pseudonymous id of what is randomised.
        time: Aware time of the event.
        arm: Arm that the unit was assigned to (exposures), or that answered in the shadow (shadow events).
        version: Model version that answered (exposures and shadow events).
        metric: What an outcome counts, e.g. `conversion` (outcomes only).
        value: Amount of the outcome, in the metric's unit (outcomes only).
        segments: Attributes of the unit at exposure.
        served_by: Arm that answered in place of `arm`; empty where `arm` itself did (exposures).
        fallback: Why another arm answered, or why a shadow has no answer, e.g. `timeout`; empty where nothing failed.
        latency_ms: How long the unit waited for the answer; NaN where unknown (exposures and shadow events).
        probability: Predicted probability of conversion under the action that the answer asks for; NaN where unknown.
    """

    id: str
    kind: EventKind
    experiment: str
    unit: str
    time: datetime
    arm: str = ""
    version: str = ""
    metric: str = ""
    value: float = 0.0
    segments: dict[str, str] = field(default_factory=dict)
    served_by: str = ""
    fallback: str = ""
    latency_ms: float = nan
    probability: float = nan


@dataclass(frozen=True, slots=True)
class EventSegments:
    """What the event log holds of one experiment and kind.

    Attributes:
        experiment: The experiment.
        kind: The kind of its events.
        segments: Files.
        rows: Events in them, repeated ones included.
        bytes: Their size.
    """

    experiment: str
    kind: EventKind
    segments: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an arm's server answers: `<url>/v1/models/<model>:predict`."""

    arm: str
    url: str
    model: str
    version: int


@dataclass(frozen=True, slots=True)
class StageSkipped:
    """A stage that could not run on this data, and the plain reason."""

    stage: str
    reason: str
