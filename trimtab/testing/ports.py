"""Ports of one process for tests of steps: real files and models, servers without sockets, a registry in memory."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import cast
from uuid import uuid4

import numpy as np
import pandas as pd

from trimtab.adapters.events import FileEventLog
from trimtab.adapters.files import FileSnapshotStore
from trimtab.adapters.inference import records
from trimtab.adapters.rollouts import FileRolloutStore
from trimtab.adapters.routes import FileRoutes
from trimtab.errors import NotFound, Unavailable
from trimtab.experiments.assignment import assign
from trimtab.models.bundle import ConversionModel
from trimtab.ports import (
    DriftReporter,
    EventLog,
    OutcomeReport,
    Ports,
    RolloutStore,
    Routes,
    SnapshotStore,
    Visits,
    Warehouse,
)
from trimtab.types import Endpoint, Event, ModelVersion

_SCHEME = "memory://"


class MemoryRegistry:
    """Versions of models by alias; their bundles are folders."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], ModelVersion] = {}

    def put(self, name: str, version: int, bundle: Path | str, *aliases: str) -> ModelVersion:
        """Add a version."""
        model = ModelVersion(name, version, uri=str(bundle), aliases=aliases)
        for reference in (str(version), *aliases):
            self._versions[name, reference] = model
        return model

    def resolve(self, name: str, alias_or_version: str) -> ModelVersion:
        """The version behind an alias or number."""
        if (name, alias_or_version) not in self._versions:
            raise NotFound(f"model '{name}' has no version '{alias_or_version}'.")
        return self._versions[name, alias_or_version]

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias at a version."""
        self._versions[name, alias] = self.resolve(name, str(version))

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias."""
        self._versions.pop((name, alias), None)

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Add or replace tags of a version."""
        self.resolve(name, str(version)).tags.update(tags)

    def download(self, model: ModelVersion) -> Path:
        """The bundle."""
        return Path(model.uri)


class InProcessArms:
    """Deployer and predictor in one: an arm is a loaded model, and what it was asked is kept."""

    lasting = False

    def __init__(self) -> None:
        self._arms: dict[str, tuple[ModelVersion, ConversionModel]] = {}
        self.asked: list[tuple[str, pd.DataFrame]] = []

    @property
    def running(self) -> frozenset[str]:
        """Arms that are deployed."""
        return frozenset(self._arms)

    def deploy(self, model: ModelVersion, *, arm: str) -> Endpoint:
        """Load the version."""
        self._arms[arm] = (model, ConversionModel.load(Path(model.uri)))
        return Endpoint(arm, f"{_SCHEME}{arm}", model.name, model.version)

    def remove(self, arm: str, *, model: str = "", rollout: str = "") -> None:
        """Forget the arm."""
        del model, rollout
        self._arms.pop(arm, None)

    def predict(self, endpoint: Endpoint, instances: pd.DataFrame) -> pd.DataFrame:
        """Answer as a server would."""
        name = endpoint.url.removeprefix(_SCHEME)
        if name not in self._arms:
            raise Unavailable(f"arm '{name}' is not deployed.")
        version, model = self._arms[name]
        self.asked.append((endpoint.arm, instances))
        decision = model.act(pd.DataFrame(records(instances)))
        return pd.DataFrame(
            {
                "probability": decision.probability,
                "uplift": decision.uplift,
                "act": decision.act,
                "version": version.version,
                "history": "absent",
            }
        )


class InProcessRouter:
    """Router and app in one: assigns by the published route, asks the arms, and logs as a router does.

    Args:
        routes: Where the routes are.
        events: Where exposures and outcomes go.
        arms: The arms.
    """

    def __init__(self, routes: Routes, events: EventLog, arms: InProcessArms) -> None:
        self._routes = routes
        self._events = events
        self._arms = arms
        self._running: list[str] = []

    def open(self) -> str:
        """There is no socket."""
        return "memory://router"

    def close(self) -> None:
        """Everything is logged already."""

    def visit(self, url: str, model: str, units: Sequence[str], instances: pd.DataFrame) -> Visits:
        """Assign, ask and log."""
        del url
        route, now = self._routes.get(model), datetime.now(UTC)
        experiment = route.experiment_at(now) if route else None
        if route is None or experiment is None:
            raise NotFound(f"model '{model}' has no experiment.")
        self._running = [experiment.name]
        attributes = {name: [str(value) for value in instances[name]] for name in experiment.segments}
        assigned = assign(list(units), experiment, attributes=attributes)
        arms = np.where(assigned == "", route.control, assigned)
        found = pd.DataFrame(index=range(len(units)), columns=["probability", "uplift", "act", "version", "history"])
        for arm, target in route.arms.items():
            here = np.flatnonzero(arms == arm)
            if len(here):
                endpoint = Endpoint(arm, target.url, target.model, target.version)
                found.iloc[here] = self._arms.predict(endpoint, instances.iloc[here])
        self._events.append(
            Event(
                uuid4().hex, "exposure", experiment.name, unit, now, arm=arm, version=str(version),
                segments={name: str(instances[name].iloc[row]) for name in route.attributes},
            )
            for row, (unit, arm, version) in enumerate(zip(units, arms, found["version"], strict=True))
            if assigned[row]
        )  # fmt: skip
        return Visits(
            arm=arms,
            version=found["version"].astype(str).to_numpy(dtype=object),
            fallback=np.full(len(units), "", dtype=object),
            act=found["act"].to_numpy(dtype=bool),
            probability=found["probability"].to_numpy(dtype=np.float64),
            uplift=found["uplift"].to_numpy(dtype=np.float64),
            history=found["history"].to_numpy(dtype=object),
            latency_ms=np.ones(len(units)),
        )

    def report(self, url: str, outcomes: Sequence[OutcomeReport]) -> int:
        """Log outcomes for the experiment that was visited last."""
        del url
        self._events.append(
            Event(one.id or uuid4().hex, "outcome", name, one.unit, one.time, metric=one.metric, value=one.value)
            for name in self._running
            for one in outcomes
        )
        return len(outcomes)


class MemoryRun:
    """One tracked run, kept in memory."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.noted: dict[str, str] = {}
        self.measured: list[tuple[int | None, dict[str, float]]] = []
        self.artifacts: list[str] = []

    def params(self, values: Mapping[str, object]) -> None:
        """Keep parameters."""
        self.noted.update({name: str(value) for name, value in values.items()})

    def metrics(self, values: Mapping[str, float], *, step: int | None = None) -> None:
        """Keep metrics."""
        self.measured.append((step, dict(values)))

    def tags(self, values: Mapping[str, str]) -> None:
        """Keep tags."""
        self.noted.update(values)

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Keep an artifact's place."""
        self.artifacts.append(f"{folder}/{path.name}")


class MemoryTracker:
    """Runs by experiment and name."""

    def __init__(self) -> None:
        self.runs: dict[str, MemoryRun] = {}

    @contextmanager
    def run(self, name: str, *, experiment: str, resume: bool = False) -> Iterator[MemoryRun]:
        """Open a run."""
        key = f"{experiment}/{name}"
        if not resume or key not in self.runs:
            self.runs[key] = MemoryRun(key)
        yield self.runs[key]


class StepPorts:
    """The ports that steps of serving, deciding and monitoring use.

    Args:
        home: State folder.
        drift: A drift reporter, where one is needed.

    Attributes:
        hearing: How long routers take to hear of a route.
    """

    def __init__(self, home: Path, *, drift: DriftReporter | None = None) -> None:
        self.home = home
        self.hearing = timedelta()
        self.registry = MemoryRegistry()
        self.arms = InProcessArms()
        self.tracker = MemoryTracker()
        self.drift = drift
        self.heard: list[tuple[str, int, int, str]] = []

    @cached_property
    def snapshots(self) -> SnapshotStore:
        """Snapshots in the home."""
        return FileSnapshotStore(self.home / "snapshots")

    @cached_property
    def events(self) -> EventLog:
        """The event log in the home."""
        return FileEventLog(str(self.home / "events"))

    @cached_property
    def rollouts(self) -> RolloutStore:
        """Rollouts in the home."""
        return FileRolloutStore(self.home / "rollouts")

    @property
    def routes(self) -> Routes:
        """Routes in the home."""
        return FileRoutes(self.home / "routes", hearing=self.hearing)

    @cached_property
    def warehouse(self) -> Warehouse:
        """Tables of files, by DuckDB."""
        from trimtab.adapters.ibis import IbisWarehouse

        return IbisWarehouse()

    @property
    def deployer(self) -> InProcessArms:
        """Arms in this process."""
        return self.arms

    @cached_property
    def router(self) -> InProcessRouter:
        """A router in this process."""
        return InProcessRouter(self.routes, self.events, self.arms)

    @property
    def app(self) -> InProcessRouter:
        """The same router."""
        return self.router

    @property
    def predictor(self) -> InProcessArms:
        """The same arms."""
        return self.arms

    def progress(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Keep what was reported."""
        self.heard.append((stage, done, total, note))

    def as_ports(self) -> Ports:
        """As what steps are given."""
        return cast(Ports, self)
