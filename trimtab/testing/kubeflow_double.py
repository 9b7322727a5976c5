"""A stand-in for the Kubeflow Pipelines API on loopback, for tests of whatever speaks to it.

It keeps runs and schedules in memory and answers with the generated models of KFP's own client, so that requests and
responses have KFP's shape. Runs end by themselves after a few looks at them. It also answers for the pods of its runs,
as the cluster's API would. It stops with its `with` block, and by itself after a while.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import kfp_server_api as kfp
import yaml

TOKEN = "secret"  # noqa: S105 - of a double
_LIFETIME_SECONDS = 120.0
_START = datetime(2026, 3, 1, tzinfo=UTC)
_API = "/apis/v2beta1/"
_CORE_API = "/api/v1/namespaces/"


@dataclass
class KubeflowDouble:
    """What the double has been asked, and how it is to behave.

    Attributes:
        url: Its endpoint.
        runs: All runs, oldest first.
        schedules: All schedules.
        namespaces: Namespaces that were named, by path.
        queries: What listings of runs asked for.
        looks: How often a run is looked at before it ends.
        multi_user: Whether it says that it has many users.
        answer: Status and body to give to everything instead; None to behave.
        rival: A run that another process starts at the same moment as the next one.
        logs: What the pods of the runs have printed, by pod; a pod `RUN-TASK` belongs to that task of that run.
    """

    url: str = ""
    runs: list[kfp.V2beta1Run] = field(default_factory=list)
    schedules: list[kfp.V2beta1RecurringRun] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    looks: int = 2
    multi_user: bool = True
    answer: tuple[int, str] | None = None
    rival: bool = False
    logs: dict[str, str] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)
    _count: int = 0

    def create_run(self, body: dict[str, Any]) -> kfp.V2beta1Run:
        """Start a run; with a rival, after somebody else's of the same name."""
        if self.rival:
            self.rival = False
            self.create_run(body)
        self._count += 1
        run = _read(body, "V2beta1Run")
        run.run_id, run.state = f"run-{self._count}", "PENDING"
        run.created_at = _START + timedelta(seconds=self._count)
        self.runs.append(run)
        return run

    def get_run(self, run_id: str) -> kfp.V2beta1Run | None:
        """Look at a run, which brings it nearer to its end; None where there is no such run."""
        run = next((run for run in self.runs if run.run_id == run_id), None)
        if run is None:
            return None
        self._seen[run_id] = self._seen.get(run_id, 0) + 1
        over = self._seen[run_id] >= self.looks
        fails = (run.runtime_config.parameters or {}).get("then") == "fail"
        run.state = ("FAILED" if fails else "SUCCEEDED") if over else "RUNNING"
        task = kfp.V2beta1PipelineTaskDetail(
            task_id="t", display_name="mark", state=run.state, start_time=run.created_at
        )
        if over:
            task.end_time = run.created_at + timedelta(seconds=90)
            task.error = kfp.GoogleRpcStatus(code=2, message="exit code 1") if fails else None
        run.run_details = kfp.V2beta1RunDetails(task_details=[task])
        run.error = kfp.GoogleRpcStatus(code=2, message="an accident") if over and fails else None
        return run

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here."""
        parts = {
            "current-context": "double",
            "contexts": [{"name": "double", "context": {"cluster": "double", "user": "tester"}}],
            "clusters": [{"name": "double", "cluster": {"server": self.url}}],
            "users": [{"name": "tester", "user": {"token": TOKEN}}],
        }
        path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **parts}), encoding="utf-8")
        return path

    def pods(self, run_id: str) -> dict[str, Any]:
        """The pods of a run, as the cluster lists them."""
        own = [name for name in self.logs if name.startswith(f"{run_id}-")]
        path = "workflows.argoproj.io/node-name"
        tasks = {name: name.removeprefix(f"{run_id}-") for name in own}
        items = [
            {"metadata": {"name": name, "annotations": {path: f"{run_id}.root.{tasks[name]}.executor"}}} for name in own
        ]
        return {"kind": "PodList", "apiVersion": "v1", "items": items}

    def create_schedule(self, body: dict[str, Any]) -> kfp.V2beta1RecurringRun:
        """Keep a schedule."""
        self._count += 1
        schedule = _read(body, "V2beta1RecurringRun")
        schedule.recurring_run_id = f"schedule-{self._count}"
        schedule.created_at = _START + timedelta(seconds=self._count)
        self.schedules.append(schedule)
        return schedule

    def respond(  # noqa: PLR0911 - one per call of the API
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any]
    ) -> Any:
        """The answer to one call, as a model of KFP's; None where there is no such thing."""
        if namespace := query.get("namespace") or body.get("namespace"):
            self.namespaces.append(f"{path}:{namespace}")
        name = _wanted_name(query)
        experiment = kfp.V2beta1Experiment(experiment_id="e-1", display_name="trimtab")
        match method, path.split("/"):
            case "GET", ["healthz"]:
                return kfp.V2beta1GetHealthzResponse(multi_user=self.multi_user)
            case "GET", ["experiments"]:
                return kfp.V2beta1ListExperimentsResponse(experiments=[], total_size=0)
            case "POST", ["experiments"]:
                return experiment
            case "GET", ["runs"]:
                self.queries.append(query)
                found = [run for run in self.runs if name in ("", run.display_name)]
                newest_first = query.get("sort_by", "").endswith("desc")
                size = int(query.get("page_size", 100))
                return kfp.V2beta1ListRunsResponse(runs=(found[::-1] if newest_first else found)[:size])
            case "POST", ["runs"]:
                return self.create_run(body)
            case "GET", ["runs", run_id]:
                return self.get_run(run_id)
            case "POST", ["runs", action] if action.endswith(":terminate"):
                next(run for run in self.runs if run.run_id == action.split(":")[0]).state = "CANCELED"
                return {}
            case "GET", ["recurringruns"]:
                found = [schedule for schedule in self.schedules if schedule.display_name == name]
                return kfp.V2beta1ListRecurringRunsResponse(recurring_runs=found)
            case "POST", ["recurringruns"]:
                return self.create_schedule(body)
            case "DELETE", ["recurringruns", schedule_id]:
                self.schedules = [found for found in self.schedules if found.recurring_run_id != schedule_id]
                return {}
        return None


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is no news."""


@contextmanager
def kubeflow_double() -> Iterator[KubeflowDouble]:
    """Run a double on a free port of loopback."""
    double = KubeflowDouble()
    server = _Server(("127.0.0.1", 0), _handler(double))
    double.url = f"http://127.0.0.1:{server.server_port}"
    timer = threading.Timer(_LIFETIME_SECONDS, server.shutdown)
    timer.daemon = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    timer.start()
    thread.start()
    try:
        yield double
    finally:
        timer.cancel()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(double: KubeflowDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            url = urlparse(self.path)
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size) or "{}")
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            if double.answer:
                return self._send(*double.answer)
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._send(401, '{"error": "Unauthenticated: token is wrong", "code": 16}')
            if url.path.startswith(_CORE_API):
                return self._send(*_core(double, url.path.removeprefix(_CORE_API).split("/"), query))
            if not url.path.startswith(_API):
                return self._send(404, "404 page not found")
            found = double.respond(self.command, url.path.removeprefix(_API), query, body)
            if found is None:
                return self._send(404, '{"error": "ResourceNotFoundError: not found", "code": 5}')
            return self._send(200, json.dumps(kfp.ApiClient().sanitize_for_serialization(found)))

        def _send(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if text.startswith("<") else "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments: object) -> None:
            """Stay silent."""

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the server's names

    return Handler


def _core(double: KubeflowDouble, path: list[str], query: dict[str, str]) -> tuple[int, str]:
    """The cluster's answer about pods of the runs."""
    match path:
        case [_, "pods"]:
            return 200, json.dumps(double.pods(query["labelSelector"].removeprefix("pipeline/runid=")))
        case [_, "pods", pod, "log"] if pod in double.logs:
            return 200, "".join(double.logs[pod].splitlines(keepends=True)[-int(query["tailLines"]) :])
    return 404, "{}"


def _wanted_name(query: dict[str, str]) -> str:
    """The name that a listing is filtered by."""
    predicates = json.loads(query.get("filter", "{}")).get("predicates", [])
    wanted = {predicate["key"]: predicate["stringValue"] for predicate in predicates}
    return str(wanted.get("display_name", ""))


@dataclass
class _Body:
    data: str


def _read(body: dict[str, Any], kind: str) -> Any:
    """A request's body as KFP's model, which checks its shape."""
    return kfp.ApiClient().deserialize(_Body(json.dumps(body)), kind)
