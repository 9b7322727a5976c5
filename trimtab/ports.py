"""What steps ask of the world, as Protocols. Adapters satisfy them; `runtime` picks which; steps never know."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from trimtab.experiments.cells import Cell, Key, Layout, QuantileRequest, Quantiles, Request, UnitCheck
from trimtab.monitoring.drift import DriftReport
from trimtab.rollout.audit import AuditEntry
from trimtab.rollout.observation import Command
from trimtab.rollout.plan import RolloutPlan
from trimtab.rollout.route import Route
from trimtab.rollout.service import ServiceLevel
from trimtab.rollout.state import RolloutState
from trimtab.sessions.spec import DatasetSpec
from trimtab.types import Endpoint, Event, EventKind, ModelVersion, Snapshot


class Progress(Protocol):
    """Hears how far a stage is. Cheap; may be called often."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Report `done` of `total` units of work in `stage`."""
        ...


class SnapshotStore(Protocol):
    """Keeps the identified data that models are trained on."""

    def put(self, frame: pd.DataFrame, spec: DatasetSpec, *, source: str, rejected: int) -> Snapshot:
        """Store accepted sessions; equal data return the snapshot that is there."""
        ...

    def get(self, snapshot_id: str) -> Snapshot:
        """Describe one snapshot. Raises NotFound."""
        ...

    def read(self, snapshot_id: str) -> tuple[pd.DataFrame, DatasetSpec]:
        """The sessions and the spec of one snapshot. Raises NotFound."""
        ...

    def folder(self, snapshot_id: str) -> Path:
        """A folder that later steps may add derived files to."""
        ...


class FeatureStore(Protocol):
    """A unit's history: point-in-time for training, fresh for serving."""

    def prepare(self, snapshot_id: str, frame: pd.DataFrame, spec: DatasetSpec) -> None:
        """Write the offline history of the snapshot and register entities, views and the FeatureService."""
        ...

    def training_frame(self, frame: pd.DataFrame, spec: DatasetSpec) -> pd.DataFrame:
        """`frame` with the history features as of just before each session, in the same row order."""
        ...

    def materialize(self, spec: DatasetSpec) -> int:
        """Load each unit's latest history into the online store; returns the number of units."""
        ...

    def online(
        self,
        units: Sequence[str],
        spec: DatasetSpec,
        *,
        at: Sequence[datetime] | None = None,
        version: int | None = None,
    ) -> pd.DataFrame:
        """History features of `units` at the times of their requests (now where absent), one row each in order.

        Missing for a unit never seen, but for its counts, which are 0. With a version, what its service names.
        """
        ...

    async def online_async(
        self,
        units: Sequence[str],
        spec: DatasetSpec,
        *,
        at: Sequence[datetime] | None = None,
        version: int | None = None,
    ) -> pd.DataFrame:
        """As `online`, without holding up the event loop."""
        ...

    def push(self, frame: pd.DataFrame, spec: DatasetSpec) -> None:
        """Update the online history with rows `unit, timestamp, features` that just happened."""
        ...

    def add_service(self, spec: DatasetSpec, version: int) -> str:
        """Name the features that a model version is given, for as long as it serves; returns the service's name."""
        ...

    async def close(self) -> None:
        """Let go of the connections of the calling thread and event loop; the next call opens them again."""
        ...


class TrackedRun(Protocol):
    """One open run of the tracker."""

    @property
    def id(self) -> str:
        """The tracker's id of the run."""
        ...

    def params(self, values: Mapping[str, object]) -> None:
        """Record parameters."""
        ...

    def metrics(self, values: Mapping[str, float], *, step: int | None = None) -> None:
        """Record metrics."""
        ...

    def tags(self, values: Mapping[str, str]) -> None:
        """Record tags."""
        ...

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Keep a file or folder with the run."""
        ...


class Tracker(Protocol):
    """Records what was tried."""

    def run(self, name: str, *, experiment: str, resume: bool = False) -> AbstractContextManager[TrackedRun]:
        """Open a run; it ends as failed when the block raises. To resume is to go on with the run of that name."""
        ...


class Registry(Protocol):
    """Versions of a model and which of them is champion or challenger."""

    def register(
        self,
        name: str,
        bundle: Path,
        *,
        run_id: str,
        example: pd.DataFrame,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
    ) -> ModelVersion:
        """Log the bundle folder as a model with a signature from `example` and make it a version, without an alias."""
        ...

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias at a version. Raises NotFound."""
        ...

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias; nothing happens where it is not set."""
        ...

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Add or replace tags of a version. Raises NotFound."""
        ...

    def resolve(self, name: str, alias_or_version: str) -> ModelVersion:
        """The version behind an alias or number. Raises NotFound."""
        ...

    def versions(self, name: str | None = None) -> list[ModelVersion]:
        """All versions, newest first, of one model or of all."""
        ...

    def download(self, model: ModelVersion) -> Path:
        """A local folder with the version's bundle."""
        ...


class EventLog(Protocol):
    """Append-only exposures and outcomes."""

    def append(self, events: Iterable[Event]) -> None:
        """Add events, durable on return."""
        ...

    def read(self, experiment: str, kind: EventKind) -> pd.DataFrame:
        """Events of one kind without repeats, in time order, one column per `Event` field and one per segment."""
        ...

    def empty(self, experiment: str, kind: EventKind) -> bool:
        """Whether nothing of that kind has been logged yet."""
        ...

    def location(self, experiment: str, kind: EventKind) -> str:
        """Where the warehouse reads the events of one kind: a Parquet glob. Columns as in `read`; repeats may occur."""
        ...

    def service_levels(
        self, experiment: str, kind: EventKind, *, since: datetime | None = None
    ) -> dict[str, ServiceLevel]:
        """How each arm served its requests since a moment; an arm without requests is left out."""
        ...


class EventWriter(Protocol):
    """Takes events off the hot path and brings them to the log."""

    def put(self, event: Event) -> bool:
        """Take an event, without waiting for the log; returns whether there was room for it."""
        ...

    def close(self) -> None:
        """Bring what was taken to the log, or to a spool where the log is away."""
        ...


class Routes(Protocol):
    """Where routers read what they are told."""

    @property
    def hearing(self) -> timedelta:
        """How long it takes, at most, until all routers have heard of what was published."""
        ...

    def publish(self, route: Route) -> None:
        """Make a route the model's; routers take it up without a restart."""
        ...

    def get(self, model: str) -> Route | None:
        """The model's route; None where it has none. Raises BadInput where it cannot be read."""
        ...

    def versions(self) -> Mapping[str, str]:
        """By model, a fingerprint of its route that changes with the route; cheap enough to ask twice a second."""
        ...

    def remove(self, model: str) -> None:
        """Stop routing the model; nothing happens where it has no route."""
        ...


class Lease(Protocol):
    """What only one process at a time holds."""

    @property
    def term(self) -> timedelta:
        """How long a claim holds."""
        ...

    def claim(self, *, now: datetime) -> bool:
        """Take it, or renew it; returns whether it is held from now on. Raises Unavailable."""
        ...

    def let_go(self) -> None:
        """Give it up, so that the next one need not wait."""
        ...


@dataclass(frozen=True, slots=True)
class ClusterLogin:
    """How a client reaches the Kubernetes API.

    Attributes:
        server: Its URL.
        authorization: Value of the header `Authorization`; empty for none.
        ca_file: Certificates of whoever may sign the server's; empty for the system's.
        verify: Whether the server's certificate is checked.
        certificate_file: The client's certificate; empty for none.
        key_file: Its key.
    """

    server: str
    authorization: str = field(default="", repr=False)
    ca_file: str = ""
    verify: bool = True
    certificate_file: str = ""
    key_file: str = ""


class ExperimentResources(Protocol):
    """ModelExperiments of one namespace, as the documents that the Kubernetes API keeps."""

    namespace: str

    def apply(self, resource: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make a resource, or give it this one's specification. Raises BadInput where the API refuses it."""
        ...

    def get(self, name: str) -> Mapping[str, Any]:
        """One resource. Raises NotFound."""
        ...

    def list(self) -> Sequence[Mapping[str, Any]]:
        """All resources, in the order of the alphabet."""
        ...

    def annotate(self, name: str, annotations: Mapping[str, str]) -> Mapping[str, Any]:
        """Add or replace annotations. Raises NotFound."""
        ...

    def report(self, name: str, status: Mapping[str, Any]) -> None:
        """Write fields of the status; None removes one. Raises NotFound."""
        ...

    def take_off(self, name: str, annotations: Mapping[str, str]) -> None:
        """Remove annotations, unless they say something else by now. Raises NotFound."""
        ...


class RouterHost(Protocol):
    """Where the router runs."""

    def open(self) -> str:
        """Make sure that it runs; returns its URL once it is ready. Raises Unavailable."""
        ...

    def close(self) -> None:
        """Stop it where it was started here; what it has logged is flushed."""
        ...


@dataclass(frozen=True, slots=True)
class Visits:
    """What the router answered to visits, shape [visits] each.

    Attributes:
        arm: Arm that the unit was assigned to.
        version: Version that answered.
        fallback: Why another arm had to answer; empty where none had to.
        act: Whether the app is to act.
        probability: Predicted probability of conversion without the action.
        uplift: What the action adds to it.
        history: Where the history of the answer came from.
        latency_ms: How long the app waited.
    """

    arm: npt.NDArray[np.object_]
    version: npt.NDArray[np.object_]
    fallback: npt.NDArray[np.object_]
    act: npt.NDArray[np.bool_]
    probability: npt.NDArray[np.float64]
    uplift: npt.NDArray[np.float64]
    history: npt.NDArray[np.object_]
    latency_ms: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OutcomeReport:
    """Something that a metric counts, as an app tells it.

    Attributes:
        unit: The unit, as the app knows it.
        metric: What happened, e.g. `conversion`.
        value: Amount, in the metric's unit.
        time: When; aware.
        id: Unique, so that telling it twice counts once; made where empty.
    """

    unit: str
    metric: str
    value: float
    time: datetime
    id: str = ""


class RouterClient(Protocol):
    """A shop's app, as the router sees it."""

    def visit(self, url: str, model: str, units: Sequence[str], instances: pd.DataFrame) -> Visits:
        """Ask for an answer to each visit. Raises BadInput, Unavailable."""
        ...

    def report(self, url: str, outcomes: Sequence[OutcomeReport]) -> int:
        """Tell the router what happened; returns how many outcomes it took. Raises BadInput, Unavailable."""
        ...


class RolloutStore(Protocol):
    """Keeps rollouts: what was planned, what was decided, and what people ask for."""

    def create(self, plan: RolloutPlan, state: RolloutState) -> None:
        """Keep a new rollout. Raises BadInput where there is one of that name."""
        ...

    def names(self) -> list[str]:
        """Names of the rollouts, in the order of the alphabet."""
        ...

    def plan(self, name: str) -> RolloutPlan:
        """The plan. Raises NotFound."""
        ...

    def state(self, name: str) -> RolloutState:
        """The state after the last decision that was recorded. Raises NotFound."""
        ...

    def record(self, name: str, entry: AuditEntry) -> None:
        """Append a decision, durable on return; it answers the command that it saw. Raises NotFound."""
        ...

    def audit(self, name: str) -> Iterator[AuditEntry]:
        """Every decision that was recorded, in order. Raises NotFound."""
        ...

    def ask(self, name: str, command: Command) -> None:
        """Leave a command for whoever drives the rollout, durable on return. Raises NotFound."""
        ...

    def next_command(self, name: str) -> Command | None:
        """The oldest command that no decision has answered; None without one. Raises NotFound."""
        ...

    def tracked(self, name: str) -> int:
        """How many of the decisions the tracker has heard of. Raises NotFound."""
        ...

    def mark_tracked(self, name: str, count: int) -> None:
        """The tracker has heard of the first so many decisions. Raises NotFound."""
        ...

    def starting(self) -> AbstractContextManager[None]:
        """Be the only one that starts a rollout; another one is waited for."""
        ...

    def driving(self, name: str) -> AbstractContextManager[None]:
        """Be the only one that drives the rollout. Raises NotFound, and Unavailable where another one does."""
        ...


class Deployer(Protocol):
    """Runs one model server per arm."""

    @property
    def lasting(self) -> bool:
        """Whether servers go on when this process ends."""
        ...

    def deploy(self, model: ModelVersion, *, arm: str) -> Endpoint:
        """Start a server for the version; returns once it is ready. Raises Unavailable."""
        ...

    def remove(self, arm: str, *, model: str, rollout: str = "") -> None:
        """Stop the server of a model's arm; nothing happens where there is none.

        `rollout` names the rollout that the arm belongs to, where that is another than the deployer's own.
        """
        ...


class Predictor(Protocol):
    """A client of a deployed arm, speaking the inference protocol."""

    def predict(self, endpoint: Endpoint, instances: pd.DataFrame) -> pd.DataFrame:
        """One row per instance, in order: `probability`, `uplift`, `act`, `version`, `history` (where it came from).

        Raises BadInput where the arm refuses the request, and Unavailable where it does not answer.
        """
        ...


class DriftReporter(Protocol):
    """Compares two sets of sessions and writes a page about it."""

    def compare(self, reference: pd.DataFrame, current: pd.DataFrame, spec: DatasetSpec, *, page: Path) -> DriftReport:
        """Score each input column, and write a self-contained HTML page."""
        ...


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """A pipeline run and what became of it; `key` is the run key that it was submitted by."""

    id: str
    pipeline: str
    state: str
    url: str = ""
    outputs: Mapping[str, object] | None = None
    created_at: datetime | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class PipelineTask:
    """One task of a pipeline run.

    Attributes:
        name: Name of the task in the pipeline.
        state: PENDING, RUNNING, SUCCEEDED, FAILED, CANCELED, SKIPPED or CACHED.
        error: Why it failed; empty where it did not, or nobody knows.
        log: The last lines of what it printed; empty where they were not asked for or cannot be read.
        where: Where the whole log is; empty where nobody knows.
        started_at: When it began; None where it has not, or nobody knows.
        ended_at: When it ended; None where it has not, or nobody knows.
    """

    name: str
    state: str
    error: str = ""
    log: tuple[str, ...] = ()
    where: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Launcher(Protocol):
    """Starts pipelines from their compiled form."""

    def submit(self, pipeline: str, arguments: Mapping[str, object], *, run_key: str, wait: bool = True) -> PipelineRun:
        """Run a compiled pipeline once per `run_key`. Raises Unavailable."""
        ...

    def schedule(self, pipeline: str, arguments: Mapping[str, object], *, name: str, cron: str) -> str:
        """Run a compiled pipeline by cron; returns the schedule's id."""
        ...

    def runs(self, *, limit: int = 20) -> list[PipelineRun]:
        """The latest runs, newest first."""
        ...

    def tasks(self, run: str, *, lines: int = 0) -> list[PipelineTask]:
        """Tasks of the newest run of that key, or of the run of that id, with the end of each log. Raises NotFound."""
        ...


class MetricTable(Protocol):
    """A table of an experiment's units, wherever it lies. Only counts and centred moments leave it."""

    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        ...

    def units(self) -> UnitCheck:
        """Whether each unit appears once, in one arm."""
        ...

    def cells(self, requests: Sequence[Request], *, by: Key | None = None) -> list[Cell]:
        """Moments of the requested columns by arm, and by the values of a key. Raises BadInput."""
        ...

    def limits(self, column: str, quantiles: Sequence[float], *, exact: bool = True) -> tuple[float, ...]:
        """Quantiles of a column over all arms together, to cap it at. Raises BadInput."""
        ...

    def quantiles(self, requests: Sequence[QuantileRequest]) -> Quantiles:
        """Quantiles by arm, with the order statistics around them. Raises BadInput."""
        ...


class Warehouse(Protocol):
    """Reaches the tables that experiments are analysed from."""

    def open(self, location: str, layout: Layout) -> MetricTable:
        """The table at a file or at `URI#TABLE`. Raises BadInput where it cannot be read or lacks a column."""
        ...


class Ports(Protocol):
    """All ports of one profile; each is built on first use."""

    @property
    def home(self) -> Path:
        """Folder for this process's own files."""
        ...

    @property
    def profile_name(self) -> str:
        """Name or path that loads the same profile in another process."""
        ...

    @property
    def study_storage(self) -> str:
        """Where tuning keeps its study: `journal://PATH` or an SQLAlchemy URL."""
        ...

    @property
    def progress(self) -> Progress:
        """Where progress is reported."""
        ...

    @property
    def snapshots(self) -> SnapshotStore:
        """Snapshots of sessions."""
        ...

    @property
    def features(self) -> FeatureStore:
        """The feature store."""
        ...

    @property
    def tracker(self) -> Tracker:
        """The experiment tracker."""
        ...

    @property
    def registry(self) -> Registry:
        """The model registry."""
        ...

    @property
    def events(self) -> EventLog:
        """The event log."""
        ...

    @property
    def routes(self) -> Routes:
        """What routers are told."""
        ...

    @property
    def router(self) -> RouterHost:
        """Where the router runs."""
        ...

    @property
    def app(self) -> RouterClient:
        """Talks to the router as an app does."""
        ...

    @property
    def rollouts(self) -> RolloutStore:
        """Rollouts and their decisions."""
        ...

    @property
    def deployer(self) -> Deployer:
        """Where arms are served."""
        ...

    @property
    def predictor(self) -> Predictor:
        """Client of the arms."""
        ...

    @property
    def drift(self) -> DriftReporter:
        """The drift reporter."""
        ...

    @property
    def launcher(self) -> Launcher:
        """Where pipelines run."""
        ...

    @property
    def warehouse(self) -> Warehouse:
        """Tables of experiments."""
        ...
