"""A stand-in for KServe's controller, for the double of the Kubernetes API.

It turns InferenceServices into Deployments or Knative revisions as KServe 0.20 does, and starts a server for each by
whatever is given as the node's agent. What makes KServe hard to wait for is kept: a changed service shows the status of
the one before until the controller has seen it, and `observedGeneration` counts the Deployment's generations. Time
passes by looks at a service, so that a test is never in a hurry.
"""

import copy
import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from trimtab.adapters.processes import ProcessArmDeployer
from trimtab.errors import TrimtabError
from trimtab.testing.kubernetes_double import Body, KubernetesDouble
from trimtab.types import ModelVersion

_SERVICE = "serving.kserve.io/inferenceservice"
_SHORT = "Deployment does not have minimum availability."


class Node(Protocol):
    """Runs the containers of a workload."""

    def start(self, workload: str, container: Body) -> str:
        """Run the workload's new container in place of its old one; returns its URL once it is ready."""
        ...

    def stop(self, workload: str) -> None:
        """Stop what the workload runs."""
        ...


@dataclass
class PaperNode:
    """Says that every container is ready, but for those of the images in `broken`, and runs none.

    Attributes:
        broken: Last words of the containers that end at once, by the version that they serve.
        exit_code: What those end with.
        running: Version that each workload runs.
        stopped: Workloads that were stopped.
    """

    broken: dict[str, str] = field(default_factory=dict)
    exit_code: int = 2
    running: dict[str, str] = field(default_factory=dict)
    stopped: list[str] = field(default_factory=list)

    def start(self, workload: str, container: Body) -> str:
        """Note what is run."""
        version = _option(container, "--model_version")
        if version in self.broken:
            error = TrimtabError(self.broken[version])
            error.exit_code = self.exit_code
            raise error
        self.running[workload] = version
        return f"http://{workload}.default.svc.cluster.local"

    def stop(self, workload: str) -> None:
        """Note what was stopped."""
        self.running.pop(workload, None)
        self.stopped.append(workload)


class ProcessNode:
    """Runs each workload's predictor as a process on loopback, whose bundle lies where the storage's URI says.

    Args:
        processes: Runs them.
    """

    def __init__(self, processes: ProcessArmDeployer) -> None:
        self._processes = processes

    def start(self, workload: str, container: Body) -> str:
        """Start a real server."""
        uri = next(item["value"] for item in container["env"] if item["name"] == "STORAGE_URI")
        name, version = _option(container, "--model_name"), int(_option(container, "--model_version"))
        return self._processes.deploy(ModelVersion(name, version, uri=uri), arm=workload).url

    def stop(self, workload: str) -> None:
        """Stop the server."""
        self._processes.remove(workload)


class KserveDouble:
    """Acts on InferenceServices as KServe does.

    Args:
        node: Runs the containers.
        lag: Looks at a changed service before its change is seen.
    """

    def __init__(self, node: Node, *, lag: int = 1) -> None:
        self._node = node
        self._lag = lag
        self._looks: dict[tuple[str, int], int] = {}  # by uid and generation
        self._starts: dict[str, Future[str]] = {}
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="node")

    def close(self) -> None:
        """Wait for the containers that are just starting."""
        self._pool.shutdown()

    def looked_at(self, double: KubernetesDouble, plural: str, found: Body) -> None:
        """Bring a service nearer to what it asks for."""
        if plural != "inferenceservices":
            return
        change = (found["metadata"]["uid"], found["metadata"]["generation"])
        looks = self._looks[change] = self._looks.get(change, 0) + 1
        if looks <= self._lag:
            return
        knative = found["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Knative"
        if looks == self._lag + 1:
            (self._make_revision if knative else self._make_deployments)(double, found)
            return
        status = self._knative_status(double, found) if knative else self._standard_status(double, found)
        double.store("inferenceservices", {**found, "status": status})

    def deleted(self, double: KubernetesDouble, plural: str, found: Body) -> None:
        """Stop what a deleted service ran."""
        if plural == "inferenceservices":
            for kind in ("deployments", "revisions"):
                for workload in self._owned(double, kind, found):
                    self._drop(double, kind, workload)

    def _make_deployments(self, double: KubernetesDouble, service: Body) -> None:
        """Write a Deployment for the predictor and for each canary, and drop all others of the service."""
        spec = service["spec"]
        predictors = [spec["predictor"], *(item["predictor"] for item in spec.get("canary", ()))]
        wanted = {_deployment_name(service, item): item for item in predictors}
        for name, predictor in wanted.items():
            key = ("deployments", service["metadata"]["namespace"], name)
            earlier = double.objects.get(key, {})
            made = _deployment(service, name, predictor)
            double.store("deployments", {**made, "status": earlier.get("status", {})})
            if earlier.get("spec", {}).get("template") != made["spec"]["template"]:
                self._start(name, predictor)
        for name in set(self._owned(double, "deployments", service)) - set(wanted):
            self._drop(double, "deployments", name)

    def _standard_status(self, double: KubernetesDouble, service: Body) -> Body:
        namespace, spec = service["metadata"]["namespace"], service["spec"]
        stable = double.objects["deployments", namespace, _deployment_name(service, spec["predictor"])]
        canaries = []
        for item in spec.get("canary", ()):
            deployment = double.objects["deployments", namespace, _deployment_name(service, item["predictor"])]
            ready = self._settle(double, deployment)
            name = item["predictor"].get("name", "")
            canaries.append({"name": name, "ready": ready, "trafficPercent": item["trafficPercent"]})
        ready = self._settle(double, stable)
        name = stable["metadata"]["name"]
        status: Body = {**service["status"], **self._model_status(name)}
        if ready:
            status |= {"address": {"url": self._starts[name].result()}, "url": _public(service)}
        status["conditions"] = _conditions(ready, _SHORT)
        if not all(item["ready"] for item in canaries):  # nothing more is said about a canary that does not start
            status["conditions"].append({"type": "CanaryReady", "status": "False", "reason": "CanariesNotReady"})
        stored = double.objects["deployments", namespace, name]
        status["observedGeneration"] = stored["status"].get("observedGeneration", 0)
        return {**_without(status, "canaryStatuses"), **({"canaryStatuses": canaries} if canaries else {})}

    def _settle(self, double: KubernetesDouble, deployment: Body) -> bool:
        """Let a Deployment's status follow its pods; whether it is fully rolled out."""
        name, wanted = deployment["metadata"]["name"], deployment["spec"]["replicas"]
        start = self._starts[name]
        ready = start.done() and start.exception() is None
        before = deployment["status"].get("availableReplicas", 0)
        counts = (
            {"replicas": wanted, "updatedReplicas": wanted, "availableReplicas": wanted}
            if ready
            else {"replicas": before + 1, "updatedReplicas": 1, "availableReplicas": before}
        )
        observed = {"observedGeneration": deployment["metadata"]["generation"], **counts}
        double.store("deployments", {**deployment, "status": observed})
        return ready

    def _make_revision(self, double: KubernetesDouble, service: Body) -> None:
        """Make a new revision where the pods are to be others."""
        owned = self._owned(double, "revisions", service)
        template = {key: service["spec"]["predictor"][key] for key in ("containers", "labels")}
        namespace = service["metadata"]["namespace"]
        if owned and double.objects["revisions", namespace, owned[-1]]["status"]["made_from"] == template:
            return
        name = f"{service['metadata']['name']}-predictor-{len(owned) + 1:05d}"
        metadata = {"name": name, "namespace": namespace, "labels": {**template["labels"], _SERVICE: _name(service)}}
        spec = {"containers": template["containers"]}
        double.store("revisions", {"metadata": metadata, "spec": spec, "status": {"made_from": template}})
        self._start(name, service["spec"]["predictor"])

    def _knative_status(self, double: KubernetesDouble, service: Body) -> Body:
        newest = self._owned(double, "revisions", service)[-1]
        status = copy.deepcopy(service["status"])
        component = status.setdefault("components", {}).setdefault("predictor", {})
        component["latestCreatedRevision"] = newest
        start = self._starts[newest]
        ready = start.done() and start.exception() is None
        if ready:
            component["latestReadyRevision"] = newest
            component["address"] = {"url": start.result()}
            status["url"] = _public(service)
        stable = component.get("latestRolledoutRevision")
        share = service["spec"]["predictor"].get("canaryTrafficPercent", 100) if stable else 100
        latest = {"latestRevision": True, "revisionName": component.get("latestReadyRevision"), "percent": share}
        rest = {"latestRevision": False, "revisionName": stable, "percent": 100 - share, "tag": "prev"}
        component["traffic"] = [latest, rest] if share < 100 else [latest]
        if share == 100 and ready:
            component["latestRolledoutRevision"] = newest
        return {**status, **self._model_status(newest), "conditions": _conditions(ready, "Revision failed.")}

    def _model_status(self, workload: str) -> Body:
        start = self._starts[workload]
        error = start.exception() if start.done() else None
        if error is None:
            return {"modelStatus": {"transitionStatus": "UpToDate" if start.done() else "InProgress"}}
        # A bad bundle makes the real server end with BadInput's code; a deployer of processes says only that it ended.
        code = error.exit_code if type(error) is TrimtabError else 2
        failure = {"reason": "ModelLoadFailed", "message": str(error), "exitCode": code}
        return {"modelStatus": {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": failure}}

    def _start(self, workload: str, predictor: Body) -> None:
        self._starts[workload] = self._pool.submit(self._node.start, workload, predictor["containers"][0])

    def _drop(self, double: KubernetesDouble, kind: str, name: str) -> None:
        key = next(key for key in double.objects if key[0] == kind and key[2] == name)
        del double.objects[key]
        self._starts.pop(name)
        self._node.stop(name)

    def _owned(self, double: KubernetesDouble, kind: str, service: Body) -> list[str]:
        return sorted(
            key[2]
            for key, found in double.objects.items()
            if key[0] == kind and found["metadata"]["labels"].get(_SERVICE) == _name(service)
        )


def _name(service: Body) -> str:
    return str(service["metadata"]["name"])


def _public(service: Body) -> str:
    return f"http://{_name(service)}.{service['metadata']['namespace']}.example.com"


def _deployment_name(service: Body, predictor: Body) -> str:
    return "-".join(part for part in (_name(service), predictor.get("name"), "predictor") if part)


def _deployment(service: Body, name: str, predictor: Body) -> Body:
    labels = {**service["metadata"]["labels"], **predictor["labels"], _SERVICE: _name(service)}
    return {
        "metadata": {"name": name, "namespace": service["metadata"]["namespace"], "labels": labels},
        "spec": {
            "replicas": predictor["minReplicas"],
            "template": {"metadata": {"labels": labels}, "spec": {"containers": predictor["containers"]}},
        },
    }


def _conditions(ready: bool, message: str) -> list[Body]:
    if ready:
        return [{"type": kind, "status": "True"} for kind in ("IngressReady", "PredictorReady", "Ready")]
    said = {"reason": "MinimumReplicasUnavailable", "message": message}
    failed = [{"type": kind, "status": "False", **said} for kind in ("PredictorReady", "Ready")]
    return [{"type": "IngressReady", "status": "True"}, *failed]


def _option(container: Body, name: str) -> str:
    arguments: list[Any] = container["args"]
    return str(arguments[arguments.index(name) + 1])


def _without(mapping: Body, key: str) -> Body:
    return json.loads(json.dumps({name: value for name, value in mapping.items() if name != key}))
