"""The routes that a router serves now: read from where they are published, watched, and made ready for the hot path.

A document that cannot be read keeps the old route and is reported. A removed one takes no more requests; those under
way end with the route they began with. Connections and breakers of servers that a change leaves alone are kept.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote

from serving.router import metrics
from serving.router.arms import ArmServer, Protocol
from serving.router.breaker import Breaker, BreakerPolicy
from serving.router.upstream import Upstream
from trimtab.errors import BadInput, TrimtabError
from trimtab.experiments.assignment import Experiment, assign_one
from trimtab.ports import Routes
from trimtab.rollout.route import Route, Target

_log = logging.getLogger("trimtab.router")
POLL_SECONDS = 0.5
REMEMBERED_UNITS = 65_536  # arms of units are computed once and kept: about 10 MB a phase


class Assigner:
    """Arms of units in one phase of an experiment.

    Args:
        experiment: The randomisation.
        phase: Number of the phase, from 1.
        starts: From when it is in force; aware.
    """

    def __init__(self, experiment: Experiment, *, phase: int, starts: datetime) -> None:
        self.experiment = experiment
        self.phase = phase
        self.starts = starts
        self._names = tuple(experiment.segments)
        self._remembered = lru_cache(maxsize=REMEMBERED_UNITS)(self._assign)

    def arm(self, unit: str, attributes: Mapping[str, str], *, remember: bool = True) -> str:
        """Arm of a unit; empty where it takes no part, as where an attribute that decides this is unknown.

        Args:
            unit: Pseudonym.
            attributes: Known attributes.
            remember: Whether the unit may come again.
        """
        try:
            values = tuple([attributes[name] for name in self._names])
        except KeyError:
            return ""
        return self._remembered(unit, values) if remember else self._assign(unit, values)

    def _assign(self, unit: str, values: tuple[str, ...]) -> str:
        return assign_one(unit, self.experiment, attributes=dict(zip(self._names, values, strict=True)))


class ModelRoute:
    """A route with the servers of its arms.

    Args:
        route: The document.
        servers: Server by arm.
    """

    def __init__(self, route: Route, servers: Mapping[str, ArmServer]) -> None:
        self.route = route
        self.model = route.model
        self.servers = servers
        self.control = servers[route.control]
        self.twins = tuple(
            server
            for name, server in servers.items()
            if name != route.control and server.version == self.control.version
        )
        self.shadow = servers[route.shadow] if route.shadow else None
        self.seconds = route.timeout_ms / 1e3
        # Header values are ASCII without control characters, whatever an arm is called.
        self.header_names = {name: quote(name, safe=" ").encode() for name in (*servers, route.experiment)}
        self._assigners = [
            Assigner(experiment, phase=number, starts=phase.starts)
            for number, phase in reversed(list(enumerate(route.phases, start=1)))
            if (experiment := route.experiment_at(phase.starts)) is not None
        ]

    def assigner_at(self, moment: datetime) -> Assigner | None:
        """The randomisation in force at a moment; None where there is none."""
        for assigner in self._assigners:
            if assigner.starts <= moment:
                return assigner
        return None


@dataclass
class _Entry:
    """What is known of one model's document.

    Attributes:
        version: Fingerprint of the document that was read last.
        current: The route in use; None where no document could be read yet.
        problem: Why the newest document is not in use; empty where it is.
    """

    version: str
    current: ModelRoute | None = None
    problem: str = ""


class RouteTable:
    """Routes by URL path.

    Args:
        routes: Where they are published.
        policy: When arms are left alone.
    """

    def __init__(self, routes: Routes, *, policy: BreakerPolicy | None = None) -> None:
        self._routes = routes
        self._policy = policy or BreakerPolicy()
        self._entries: dict[str, _Entry] = {}
        self._upstreams: dict[str, Upstream] = {}
        self._read = False
        self.by_path: dict[str, tuple[ModelRoute, Protocol]] = {}
        self.by_raw_path: dict[bytes, tuple[ModelRoute, Protocol]] = {}  # by what a request line says

    @property
    def ready(self) -> bool:
        """Whether there is something to serve; no published route at all counts, because one may come any time."""
        return self._read and (not self._entries or any(entry.current for entry in self._entries.values()))

    @property
    def models(self) -> dict[str, ModelRoute]:
        """Routes in use, by model."""
        return {name: entry.current for name, entry in sorted(self._entries.items()) if entry.current}

    @property
    def experiments(self) -> list[str]:
        """Names of the experiments that run."""
        return list(dict.fromkeys(model.route.experiment for model in self.models.values() if model.route.experiment))

    @property
    def problems(self) -> dict[str, str]:
        """Why a model's newest document is not in use, by model."""
        return {name: entry.problem for name, entry in sorted(self._entries.items()) if entry.problem}

    def refresh(self) -> None:
        """Take up what has changed since the last time."""
        versions = self._routes.versions()
        changed = [name for name, version in versions.items() if self._version(name) != version]
        removed = self._entries.keys() - versions.keys()
        for name in removed:
            del self._entries[name]
        for name in changed:
            self._take_up(name, versions[name])
        self._read = True
        if changed or removed:
            self._index()

    async def watch(self, *, seconds: float = POLL_SECONDS) -> None:
        """Refresh, and publish what was counted, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            metrics.publish()
            try:
                self.refresh()
            except (OSError, TrimtabError) as error:
                _log.warning("the routes cannot be read, the old ones stay: %s", error)

    def close(self) -> None:
        """Close idle connections."""
        for upstream in self._upstreams.values():
            upstream.close()

    def _version(self, name: str) -> str | None:
        entry = self._entries.get(name)
        return entry.version if entry else None

    def _take_up(self, name: str, version: str) -> None:
        entry = self._entries.setdefault(name, _Entry(version))
        entry.version = version
        try:
            route = self._routes.get(name)
            if route is None:
                return  # removed since it was listed; the next look says so
            if route.model != name:
                raise BadInput(f"the document of model '{name}' is the route of model '{route.model}'.")
            entry.current = ModelRoute(route, self._servers(route, entry.current))
            entry.problem = ""
            _log.info("model '%s' follows revision %d of its route", name, route.revision)
        except (OSError, TrimtabError) as error:
            if not isinstance(error, BadInput):
                entry.version = ""  # the document may be right, so the next look reads it again
            if entry.problem != str(error):
                _log.warning("the route of model '%s' is broken, the old one stays: %s", name, error)
            entry.problem = str(error)

    def _servers(self, route: Route, earlier: ModelRoute | None) -> dict[str, ArmServer]:
        kept = earlier.servers if earlier else {}
        return {
            name: kept[name] if name in kept and kept[name].target == target else self._server(name, target)
            for name, target in route.arms.items()
        }

    def _server(self, name: str, target: Target) -> ArmServer:
        upstream = self._upstreams.get(target.url)
        if upstream is None:
            upstream = self._upstreams[target.url] = Upstream(target.url)
        return ArmServer(name, target, upstream, Breaker(self._policy))

    def _index(self) -> None:
        paths: dict[str, tuple[ModelRoute, Protocol]] = {}
        for name, route in self.models.items():
            paths[f"/v1/models/{name}:predict"] = (route, "v1")
            paths[f"/v2/models/{name}/infer"] = (route, "v2")
        self.by_path = paths
        self.by_raw_path = {quote(path, safe="/:").encode(): entry for path, entry in paths.items()}
        used = {server.target.url for route in self.models.values() for server in route.servers.values()}
        for url in self._upstreams.keys() - used:
            self._upstreams.pop(url).close()
        metrics.BROKEN_ROUTES.set(len(self.problems))
