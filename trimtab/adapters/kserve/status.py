"""What a service's status says, and whether it says it of the manifest that was written last.

KServe's `Ready` cannot be trusted after a change: until its controller has seen the change, the status speaks of the
pods before it. `observedGeneration` does not help, since KServe copies it from the Deployment or the Knative service,
which count generations of their own. So the pods' own label decides: it must be in the Deployment's template, and every
pod must be of that template (Standard mode), or on the revision that is ready and has the requests (Knative mode).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from trimtab.adapters.kserve.manifests import MODE, POD
from trimtab.errors import BadInput

Body = dict[str, Any]
_BLOCKED = ("BlockedByFailedLoad", "InvalidSpec")


@dataclass(frozen=True, slots=True)
class Aim:
    """What a service is to become.

    Attributes:
        pod: Hash of what its pods are made of.
        name: The predictor's own name; empty for the usual one.
        percent: Share of the requests for these pods.
        canary: Whether they are a canary's.
        unready: Whether the pods need not be ready: a candidate that failed has no requests, and that is enough.
    """

    pod: str
    name: str = ""
    percent: int = 100
    canary: bool = False
    unready: bool = False


def aim_of(service: Body) -> Aim:
    """What the last manifest asks for: the canary where it has one, else the predictor."""
    spec = service["spec"]
    canary = next(iter(spec.get("canary", ())), None)
    predictor = canary["predictor"] if canary else spec["predictor"]
    percent = canary["trafficPercent"] if canary else predictor.get("canaryTrafficPercent", 100)
    return Aim(predictor["labels"][POD], predictor.get("name", ""), percent, canary is not None)


def mode_of(service: Body) -> Literal["Standard", "Knative"]:
    """The deployment mode that a service was made for."""
    return "Knative" if service["metadata"].get("annotations", {}).get(MODE) == "Knative" else "Standard"


def workload_of(service: Body, aim: Aim) -> str:
    """Name of the Deployment (Standard mode) or revision (Knative mode) to look at; empty where there is none yet."""
    if mode_of(service) == "Knative":
        return str(_component(service).get("latestCreatedRevision", ""))
    return "-".join(part for part in (service["metadata"]["name"], aim.name, "predictor") if part)


def is_ready(service: Body, workload: Body | None, aim: Aim) -> bool:
    """Whether all that was asked for is there and has its share of the requests."""
    if aim.unready and mode_of(service) == "Knative":
        return _share(service) == aim.percent
    if not workload or not _is_true(service, "Ready"):
        return False
    if mode_of(service) == "Knative":
        ready = _component(service).get("latestReadyRevision")
        return (
            workload["metadata"]["name"] == ready and _pod_label(workload) == aim.pod and _share(service) == aim.percent
        )
    if not _is_rolled_out(workload, aim.pod):
        return False
    canaries = {item["name"]: item for item in service["status"].get("canaryStatuses", ())}
    if aim.canary:
        found = canaries.get(aim.name, {})
        return bool(found.get("ready")) and found.get("trafficPercent") == aim.percent
    return not canaries


def has_failed(service: Body, workload: Body | None, aim: Aim) -> bool:
    """Whether the new server ended for a reason that trying again does not mend: its exit code says so."""
    model = _status(service).get("modelStatus", {})
    last = model.get("lastFailureInfo", {}).get("exitCode")
    return (
        not (aim.canary or aim.unready)  # the status tells of the stable version's pods alone
        and workload is not None
        and _pod_label(workload) == aim.pod
        and model.get("transitionStatus") in _BLOCKED
        and last == BadInput.exit_code
    )


def reason(service: Body) -> str:
    """The status's own words about what is not well, in one line."""
    said = [
        ": ".join(str(part) for part in (item["type"], item.get("reason"), item.get("message")) if part)
        for item in _status(service).get("conditions", ())
        if item["status"] != "True"
    ]
    model = _status(service).get("modelStatus", {})
    failure = model.get("lastFailureInfo", {}) if model.get("transitionStatus") in _BLOCKED else {}
    said += [f"the server: {failure['message']}"] if failure.get("message") else []
    return " ".join("; ".join(dict.fromkeys(said)).split()).rstrip(".") or "KServe has not said anything yet"


def stable_revision(service: Body) -> str:
    """Name of the revision that last had all requests (Knative mode)."""
    return str(_component(service).get("latestRolledoutRevision", ""))


def inside_url(service: Body) -> str:
    """Where an arm's server answers inside the cluster; empty where the status does not say."""
    knative = mode_of(service) == "Knative"
    found = (_component(service).get("address") if knative else None) or _status(service).get("address") or {}
    parts = urlsplit(str(found.get("url", "")))
    # KServe writes the ingress's scheme here, while the predictor's own port speaks plain HTTP.
    scheme = "http" if not knative and parts.port is None else parts.scheme
    return f"{scheme}://{parts.netloc}" if parts.netloc else ""


def split_url(service: Body) -> str:
    """Where requests are split between a stable version and its canary: inside addresses bypass the shares."""
    return str(_status(service).get("url", "")).rstrip("/")


def _status(service: Body) -> Body:
    return service.get("status") or {}


def _component(service: Body) -> Body:
    return dict(_status(service).get("components", {}).get("predictor", {}))


def _is_true(service: Body, condition: str) -> bool:
    found = _status(service).get("conditions", ())
    return any(item["type"] == condition and item["status"] == "True" for item in found)


def _share(service: Body) -> int:
    """Share of the newest revision, in percent."""
    traffic = _component(service).get("traffic", ())
    return sum(int(item.get("percent") or 0) for item in traffic if item.get("latestRevision"))


def _is_rolled_out(deployment: Body, pod: str) -> bool:
    status = deployment.get("status") or {}
    wanted = deployment["spec"].get("replicas", 1)
    return (
        _pod_label(deployment) == pod
        and status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == status.get("replicas", 0) >= wanted
        and status.get("availableReplicas", 0) >= wanted
    )


def _pod_label(workload: Body) -> str | None:
    """The hash on the pods of a Deployment, or on those of a revision."""
    pods: Mapping[str, Any] = workload["spec"].get("template", workload)
    return pods["metadata"].get("labels", {}).get(POD)
