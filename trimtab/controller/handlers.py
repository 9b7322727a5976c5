"""What kopf calls: thin, so that nothing is decided here.

A timer looks at each resource; a deletion is held up by the finalizer until the arm is drained. Handlers are plain
functions, which kopf runs in threads: a deployment may take minutes, in which other resources go on.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import kopf

from trimtab.controller.metrics import Standings
from trimtab.controller.reconcile import Outcome, pause, reconcile, refused, release
from trimtab.errors import BadInput, TrimtabError
from trimtab.ports import ClusterLogin, ExperimentResources, Ports
from trimtab.rollout.resource import (
    BY,
    COMMAND,
    FINALIZER,
    GROUP,
    PLURAL,
    REASON,
    VERSION,
    ResourceMetadata,
    ServingResources,
    read_metadata,
    read_resource,
    read_serving,
)

_THREADS = 64  # Experiments that may wait for their arms, or for a service, at the same time.
_REST = timedelta(minutes=5)  # Between two looks at an experiment that is over, drained and as it should be.
_LOG = logging.getLogger(__name__)


class PortsOf(Protocol):
    """The ports of each rollout."""

    def __call__(self, name: str, serving: ServingResources) -> Ports:
        """Those of one, by its name and the resources that its arms have of their own. Raises BadInput."""
        ...

    def forget(self, name: str) -> None:
        """It is gone."""
        ...


def handlers(
    ports_of: PortsOf,
    resources: ExperimentResources,
    log_in: Callable[[], ClusterLogin],
    *,
    every_seconds: float,
    standings: Standings,
) -> kopf.OperatorRegistry:
    """The handlers.

    Statuses are not left to kopf to write: a timer whose patch is refused, or not answered for a minute, never runs
    again.

    Args:
        ports_of: The ports of a rollout.
        resources: Where statuses are written.
        log_in: How kopf reaches the cluster.
        every_seconds: Between two looks at a resource that goes well.
        standings: Takes note of what came of each.
    """
    registry = kopf.OperatorRegistry()
    rests = _Rests()

    @kopf.on.startup(registry=registry)
    def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.scanning.disabled = True  # no rights beyond the namespace
        settings.persistence.finalizer = FINALIZER
        settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"controller.{GROUP}")
        settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"controller.{GROUP}")
        settings.posting.reporting_component = "trimtab-controller"
        settings.posting.event_name_prefix = "trimtab-"
        settings.execution.max_workers = _THREADS
        settings.watching.server_timeout = 300

    @kopf.on.login(registry=registry)
    def connect(settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo:
        return _connection(log_in(), trust_env=settings.networking.trust_env)

    @kopf.timer(GROUP, VERSION, PLURAL, registry=registry, interval=every_seconds, backoff=30, id="look")
    def look(body: kopf.Body, retry: int, **_: Any) -> None:
        now, seen = datetime.now(UTC), dict(body)
        metadata = read_metadata(seen)
        if rests.resting(metadata, now=now):
            return
        with standings.duration.time():
            model, outcome = _looked_at(seen, body, ports_of, now=now)
        standings.note(metadata.name, model, outcome)
        told = _tell(outcome, metadata, body, resources)
        _again(outcome, retry)
        if told and outcome.done:
            rests.rest(metadata, now=now)

    @kopf.on.delete(GROUP, VERSION, PLURAL, registry=registry, backoff=30, id="release")
    def let_go(body: kopf.Body, retry: int, **_: Any) -> None:
        metadata = read_metadata(dict(body))
        outcome = release(metadata, _ports_to_end_with(body, ports_of), now=datetime.now(UTC))
        _tell(outcome, metadata, body, resources)
        _again(outcome, retry)
        if not outcome.done:
            raise kopf.TemporaryError("The arm that lost is being drained.", delay=every_seconds)
        for memory in (standings, ports_of, rests):
            memory.forget(metadata.name)

    return registry


class _Rests:
    """Which experiments are over and need no look for a while: each look asks the registry and the cluster."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[object, datetime]] = {}

    def rest(self, metadata: ResourceMetadata, *, now: datetime) -> None:
        """It need not be looked at until it is changed, or for a while."""
        self._since[metadata.name] = (_asked(metadata), now)

    def resting(self, metadata: ResourceMetadata, *, now: datetime) -> bool:
        """Whether it need not be looked at."""
        asked, since = self._since.get(metadata.name, (None, now))
        return asked == _asked(metadata) and now - since < _REST

    def forget(self, name: str) -> None:
        """It is gone."""
        self._since.pop(name, None)


def _asked(metadata: ResourceMetadata) -> tuple[object, ...]:
    """What a person can change."""
    commands = tuple(metadata.annotations.get(name) for name in (COMMAND, REASON, BY))
    return (metadata.created, metadata.generation, bool(metadata.status), *commands)


def _looked_at(seen: Mapping[str, Any], body: kopf.Body, ports_of: PortsOf, *, now: datetime) -> tuple[str, Outcome]:
    """The model of an experiment, empty where its specification is not valid, and what came of the look.

    Args:
        seen: The resource as the look began.
        body: The resource, which kopf brings up to date while a handler runs.
        ports_of: The ports of a rollout.
        now: Aware time.
    """

    def wanted() -> bool:
        """Whether it is not being deleted."""
        return "deletionTimestamp" not in body["metadata"]

    try:
        resource = read_resource(seen)
        ports = ports_of(resource.metadata.name, resource.serving)
    except BadInput as error:
        return "", refused(read_metadata(seen), error, _ports_to_end_with(seen, ports_of), now=now)
    return resource.plan.model, reconcile(resource, ports, now=now, wanted=wanted)


def _ports_to_end_with(body: Mapping[str, Any], ports_of: PortsOf) -> Ports:
    """With the resources that are asked for, where they are valid: an end must be possible whatever stands in it."""
    name = read_metadata(body).name
    try:
        return ports_of(name, read_serving(body))
    except BadInput:
        return ports_of(name, ServingResources())


def _connection(login: ClusterLogin, *, trust_env: bool) -> kopf.ConnectionInfo:
    scheme, _, token = login.authorization.partition(" ")
    return kopf.ConnectionInfo(
        server=login.server,
        ca_path=login.ca_file or None,
        insecure=not login.verify,
        scheme=scheme or None,
        token=token or None,
        certificate_path=login.certificate_file or None,
        private_key_path=login.key_file or None,
        trust_env=trust_env,
    )


def _again(outcome: Outcome, retry: int) -> None:
    if outcome.failed:
        raise kopf.TemporaryError(outcome.failed, delay=pause(retry).total_seconds())


def _tell(outcome: Outcome, metadata: ResourceMetadata, body: kopf.Body, resources: ExperimentResources) -> bool:
    """Post the events, write what is new into the status, and take the command off that was taken over.

    Args:
        outcome: What came of it.
        metadata: What the outcome was computed from.
        body: The resource as it is now.
        resources: Where it is written.

    Returns:
        Whether it could be written. Nothing but the mirror is lost where it could not; the next look writes it.
    """
    for notice in outcome.notices:
        kopf.event(body, type=notice.kind, reason=notice.reason, message=notice.message)
    changed = difference(body.get("status") or {}, outcome.status)
    try:
        if changed:
            resources.report(metadata.name, changed)
        if outcome.answered:
            said = {key: value for key, value in metadata.annotations.items() if key in (COMMAND, REASON, BY)}
            resources.take_off(metadata.name, said)
    except TrimtabError as error:
        _LOG.warning("The status of '%s' cannot be written: %s", metadata.name, error)
        return False
    return True


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that makes one document the other; what is None or absent afterwards is removed.

    Args:
        before: The document as it is.
        after: The document as it is to be.

    >>> difference({"a": 1, "b": {"x": 1, "y": 2}}, {"a": 1, "b": {"x": 3}, "c": None})
    {'b': {'x': 3, 'y': None}}
    """
    found: dict[str, Any] = {}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            inner = difference(old, value)
            if inner:
                found[key] = inner
        elif old != value:
            found[key] = value
    return found | {key: None for key, old in before.items() if key not in after and old is not None}
