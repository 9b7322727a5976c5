"""Tasks of a run on Kubeflow Pipelines: their states from its API, their logs from their pods.

KFP's API has no logs, so they are read from the cluster, where this process can reach it; where it cannot, or the pods
are gone, a task says where its log is to be found.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import urllib3

from trimtab.adapters.kubernetes import connect
from trimtab.errors import TrimtabError
from trimtab.ports import PipelineTask

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from kubernetes.client import CoreV1Api
    from kubernetes.client.exceptions import ApiException

_CONTAINER = "main"  # Argo's name for the container that does a pod's work
_RUN_LABEL = "pipeline/runid"
# Argo's path of a pod in the graph; a task's own pod is the node `executor` below the task.
_NODE_ANNOTATION = "workflows.argoproj.io/node-name"
_NODE = "executor"
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 15.0


class Pods(Protocol):
    """Reads pods of runs. Both raise TrimtabError where the cluster cannot be reached, refuses, or has no such pod."""

    def of(self, run_id: str) -> Mapping[str, str]:
        """The latest pod of each task."""
        ...

    def tail(self, pod: str, lines: int) -> tuple[str, ...]:
        """The last lines of a pod's log."""
        ...


def described(run: Any, pods: Pods, *, namespace: str, lines: int) -> list[PipelineTask]:
    """Tasks of a run, in the order in which they began.

    Args:
        run: The run as KFP's client gives it.
        pods: Reads its pods.
        namespace: Where they are.
        lines: Most lines of each task's log; 0 reads none.
    """
    begun = sorted(own_tasks(run), key=lambda task: (task.start_time is None, str(task.start_time)))
    found: Mapping[str, str] = {}
    trouble = ""
    if lines and begun:
        try:
            found = pods.of(run.run_id)
            trouble = "" if found else "the run's pods are gone"
        except TrimtabError as error:
            trouble = error.message
    return [_described(task, run.run_id, pods, found, trouble, namespace=namespace, lines=lines) for task in begun]


def own_tasks(run: Any) -> list[Any]:
    """What the run tells of the pipeline's tasks; KFP also counts nodes of its own (`root`, drivers) as tasks."""
    details = run.run_details.task_details or [] if run.run_details else []
    names = _names(run)
    return [task for task in details if not names or task.display_name in names]


def _described(
    task: Any, run_id: str, pods: Pods, found: Mapping[str, str], trouble: str, *, namespace: str, lines: int
) -> PipelineTask:
    pod = found.get(str(task.display_name), "")
    log: tuple[str, ...] = ()
    if pod:
        try:
            log = pods.tail(pod, lines)
        except TrimtabError as error:
            trouble = error.message
    what = pod or f"--selector {_RUN_LABEL}={run_id}"
    where = f"kubectl logs --namespace {namespace} --container {_CONTAINER} {what}"
    return PipelineTask(
        name=str(task.display_name or task.task_id),
        state=str(task.state or "PENDING"),
        error=" ".join(str(task.error.message or "").split()) if task.error else "",
        log=log,
        where=f"{where} (not read here: {trouble})" if trouble else where,
        started_at=task.start_time,
        ended_at=task.end_time,
    )


def _names(run: Any) -> set[str]:
    """Names of the tasks in the pipeline; empty where the run does not carry it."""
    stored = run.pipeline_spec or {}
    stored = stored.get("pipeline_spec", stored)
    return set(_in_graph(stored.get("root", {}))).union(
        *(_in_graph(component) for component in stored.get("components", {}).values())
    )


def _in_graph(component: Mapping[str, Any]) -> Iterator[str]:
    for key, task in component.get("dag", {}).get("tasks", {}).items():
        yield str(task.get("taskInfo", {}).get("name", key))
        yield str(key)


class ClusterPods:
    """Pods of runs in a namespace of the cluster that this process is in, or that its kubeconfig names.

    Args:
        namespace: Where the pods are.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._api: Any = None

    def of(self, run_id: str) -> dict[str, str]:
        """The latest pod of each task of a run."""
        listed = self._call("list_namespaced_pod", label_selector=f"{_RUN_LABEL}={run_id}")
        latest: dict[str, str] = {}
        for pod in sorted(listed.items, key=lambda pod: str(pod.metadata.creation_timestamp)):
            path = str((pod.metadata.annotations or {}).get(_NODE_ANNOTATION, "")).split(".")
            if len(path) > 1 and path[-1].startswith(_NODE):  # with the attempt's number where it was retried
                latest[path[-2]] = pod.metadata.name
        return latest

    def tail(self, pod: str, lines: int) -> tuple[str, ...]:
        """The last lines of a pod's log."""
        text = self._call("read_namespaced_pod_log", pod, container=_CONTAINER, tail_lines=lines)
        return tuple(str(text).splitlines())

    def _call(self, method: str, *name: str, **options: Any) -> Any:
        # The client reads the variable once, when it is imported.
        self._api = self._api or CoreV1Api(connect(kubeconfig=os.environ.get("KUBECONFIG", "")))
        limits = (_CONNECT_SECONDS, _READ_SECONDS)
        call = getattr(self._api, method)
        try:
            return call(*name, namespace=self._namespace, _request_timeout=limits, **options)
        except ApiException as error:
            reasons = {401: "the cluster refuses the credentials", 403: "the account may not read pods and their logs"}
            reasons[404] = "the pod is gone"
            raise TrimtabError(reasons.get(error.status, f"the cluster failed (HTTP {error.status})")) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TrimtabError("the cluster does not answer") from error
