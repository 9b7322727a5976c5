"""What kopf calls: thin, so that nothing is decided here.

A timer looks at each resource; a deletion is held up by the finalizer until the arm is drained. Handlers are plain
functions, which kopf runs in threads: a deployment may take minutes, in which other resources go on.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import kopf

from trimtab.controller.metrics import Standings
from trimtab.controller.reconcile import Outcome, pause, reconcile, refused, release
from trimtab.errors import BadInput
from trimtab.ports import Ports
from trimtab.rollout.resource import (
    BY,
    COMMAND,
    FINALIZER,
    GROUP,
    PLURAL,
    REASON,
    VERSION,
    ServingResources,
    read_metadata,
    read_resource,
)

PortsOf = Callable[[str, ServingResources], Ports]
_THREADS = 16  # Experiments that may wait for their arms at the same time.


def handlers(ports_of: PortsOf, *, every_seconds: float, standings: Standings) -> kopf.OperatorRegistry:
    """The handlers.

    Args:
        ports_of: The ports of a rollout, by its name and the resources that its arms have of their own.
        every_seconds: Between two looks at a resource that goes well.
        standings: Takes note of what came of each.
    """
    registry = kopf.OperatorRegistry()

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
    def login(**options: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_via_client(**options)

    @kopf.timer(GROUP, VERSION, PLURAL, registry=registry, interval=every_seconds, backoff=30, id="look")
    def look(body: kopf.Body, patch: kopf.Patch, retry: int, **_: Any) -> None:
        now = datetime.now(UTC)
        try:
            resource = read_resource(body)
            ports = ports_of(resource.metadata.name, resource.serving)
        except BadInput as error:
            outcome = refused(body, error, now=now)
            standings.note(read_metadata(body).name, "", outcome)
            _tell(outcome, body, patch)
            return
        with standings.duration.time():
            outcome = reconcile(resource, ports, now=now)
        standings.note(resource.metadata.name, resource.plan.model, outcome)
        _tell(outcome, body, patch)
        _again(outcome, retry)

    @kopf.on.delete(GROUP, VERSION, PLURAL, registry=registry, backoff=30, id="release")
    def let_go(body: kopf.Body, patch: kopf.Patch, retry: int, **_: Any) -> None:
        metadata = read_metadata(body)
        outcome = release(metadata, ports_of(metadata.name, _serving(body)), now=datetime.now(UTC))
        _tell(outcome, body, patch)
        _again(outcome, retry)
        if not outcome.done:
            raise kopf.TemporaryError("The arm that lost is being drained.", delay=every_seconds)
        standings.forget(metadata.name)

    return registry


def _serving(body: Mapping[str, Any]) -> ServingResources:
    """What is asked for, where it is valid: a resource must be able to go whatever stands in it."""
    try:
        return read_resource(body).serving
    except BadInput:
        return ServingResources()


def _again(outcome: Outcome, retry: int) -> None:
    if outcome.failed:
        raise kopf.TemporaryError(outcome.failed, delay=pause(retry).total_seconds())


def _tell(outcome: Outcome, body: kopf.Body, patch: kopf.Patch) -> None:
    """Write what is new into the resource, and post the events."""
    patch.status.update(difference(body.get("status") or {}, outcome.status))
    if outcome.answered:
        patch.metadata.annotations.update(dict.fromkeys((COMMAND, REASON, BY)))
    for notice in outcome.notices:
        kopf.event(body, type=notice.kind, reason=notice.reason, message=notice.message)


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
