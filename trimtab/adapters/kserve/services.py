"""InferenceServices of one installation: written without treading on others', waited for, removed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trimtab.adapters.kserve import manifests, status
from trimtab.adapters.kubernetes import Kind, Objects, connect
from trimtab.errors import BadInput, Unavailable
from trimtab.profile import KserveDeployer

SERVICES = Kind("serving.kserve.io", "v1beta1", "inferenceservices", "KServe")
_WORKLOADS = {
    "Standard": Kind("apps", "v1", "deployments", "Kubernetes"),
    "Knative": Kind("serving.knative.dev", "v1", "revisions", "Knative Serving"),
}
KINDS = (SERVICES, *_WORKLOADS.values())
_REMOVE_SECONDS = 120.0
_SURE = 10  # looks in a row that find a failure; a status may tell of the pods before for a while
_PAUSE_SECONDS = 0.2  # before a call that failed is tried again, at most
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Look:
    """A look at a service: whether it is as it should be, whether waiting is of no use, and what it says."""

    service: Body
    ready: bool = False
    over: bool = False
    says: str = ""


class Services:
    """The services of one installation in one namespace.

    Args:
        settings: The profile's part.
        api: A client of the cluster; None connects as the settings say.
        poll_seconds: Between two looks at a status.
    """

    def __init__(self, settings: KserveDeployer, *, api: Any = None, poll_seconds: float = 1.0) -> None:
        self._settings = settings
        self._poll_seconds = poll_seconds
        api = api or connect(kubeconfig=settings.kubeconfig, context=settings.context)
        pause = min(_PAUSE_SECONDS, poll_seconds)
        self._services = Objects(api, SERVICES, namespace=settings.namespace, pause_seconds=pause)
        self._workloads = Objects(api, _WORKLOADS[settings.mode], namespace=settings.namespace, pause_seconds=pause)

    def get(self, name: str) -> Body | None:
        """One service of this installation; None where there is none.

        Raises:
            BadInput: The name is taken by somebody else's service, or the service was made for another mode.
        """
        found = self._services.get(name)
        if found:
            self._claim(found)
        return found

    def own(self, name: str) -> Body | None:
        """One service of this installation; None where there is none, or the name is taken by somebody else's."""
        found = self._services.get(name)
        return found if found and self._is_own(found) else None

    def write(self, name: str, change: Callable[[Body | None], Body]) -> Body:
        """Write what `change` makes of a service, keeping labels and annotations that others gave it.

        One that is being deleted is waited for first, and made anew.
        """

        def claimed(found: Body | None) -> Body:
            if found:
                self._claim(found)
            wanted = change(found)
            return _merged(found, wanted) if found else wanted

        earlier = self._services.get(name)
        if earlier and earlier["metadata"].get("deletionTimestamp"):
            self._await_gone(name)
        return self._services.apply(name, claimed)

    def await_ready(self, name: str, aim: status.Aim, *, what: str) -> Body:
        """Wait until a service is what was asked for; returns it with its status.

        Raises:
            Unavailable: It is not ready in time, it cannot become ready, or somebody deleted it.
        """
        seconds = self._settings.ready_seconds
        deadline = time.monotonic() + seconds
        failures = 0
        while True:
            look = self._look(name, aim)
            if look.ready:
                return look.service
            failures = failures + 1 if look.over else 0
            if failures == _SURE:
                raise Unavailable(f"{what} does not start. {look.says}.", remedy=self._see(name))
            if time.monotonic() >= deadline:
                raise Unavailable(f"{what} was not ready after {seconds:g} s. {look.says}.", remedy=self._see(name))
            time.sleep(self._poll_seconds)

    def stable_version(self, service: Body) -> int:
        """The version that has the requests which a canary has not."""
        labels = service["spec"]["predictor"]["labels"]
        if self._settings.mode == "Knative":  # there the predictor is the candidate's
            revision = self._workloads.get(status.stable_revision(service))
            labels = revision["metadata"]["labels"] if revision else labels
        return int(labels[manifests.VERSION])

    def remove(self, name: str) -> None:
        """Delete a service and wait until its pods are gone; nothing happens where there is none.

        Raises:
            Unavailable: It is still there after two minutes.
        """
        self._services.delete(name)
        self._await_gone(name)

    def _await_gone(self, name: str) -> None:
        deadline = time.monotonic() + _REMOVE_SECONDS
        while self._services.get(name) is not None:
            if time.monotonic() >= deadline:
                raise Unavailable(f"service '{name}' is still being deleted.", remedy=self._see(name))
            time.sleep(self._poll_seconds)

    def _look(self, name: str, aim: status.Aim) -> "_Look":
        try:
            service = self._services.get(name)
            if service is None:
                return _Look({}, over=True, says="Somebody deleted its service")
            workload = self._workload(service, aim)
        except Unavailable as error:  # the API may be back before the time is up
            return _Look({}, says=str(error))
        return _Look(
            service,
            ready=status.is_ready(service, workload, aim),
            over=status.has_failed(service, workload, aim),
            says=status.reason(service),
        )

    def _workload(self, service: Body, aim: status.Aim) -> Body | None:
        name = status.workload_of(service, aim)
        return self._workloads.get(name) if name else None

    def _is_own(self, service: Body) -> bool:
        labels = service["metadata"].get("labels", {})
        return manifests.owner_labels(self._settings).items() <= labels.items()

    def _claim(self, service: Body) -> None:
        name = service["metadata"]["name"]
        if not self._is_own(service):
            raise BadInput(
                f"service '{name}' in namespace '{self._settings.namespace}' is not this installation's.",
                remedy="Choose another namespace or instance in the profile, or delete it.",
            )
        if status.mode_of(service) != self._settings.mode:
            raise BadInput(
                f"service '{name}' was made for {status.mode_of(service)} mode, which KServe never changes.",
                remedy=f"Remove it before it is made for {self._settings.mode} mode.",
            )

    def _see(self, name: str) -> str:
        return f"See: kubectl -n {self._settings.namespace} describe inferenceservice {name}"


def _merged(found: Body, wanted: Body) -> Body:
    metadata = dict(found["metadata"])
    for part in ("labels", "annotations"):
        metadata[part] = {**metadata.get(part, {}), **wanted["metadata"].get(part, {})}
    return {**found, "metadata": metadata, "spec": wanted["spec"]}
