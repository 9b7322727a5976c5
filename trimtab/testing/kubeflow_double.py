"""A stand-in for the Kubeflow Pipelines API on loopback, for tests of whatever speaks to it.

It keeps runs and schedules in memory and answers with the generated models of KFP's own client, so that requests and
responses have KFP's shape. Runs end by themselves after a few looks at them. It stops with its `with` block, and by
itself after a while.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import kfp_server_api as kfp

TOKEN = "secret"  # noqa: S105 - of a double
_LIFETIME_SECONDS = 120.0
_START = datetime(2026, 3, 1, tzinfo=UTC)
_API = "/apis/v2beta1/"


@dataclass
class KubeflowDouble:
    """What the double has been asked, and how it is to behave.

    Attributes:
        url: Its endpoint.
        runs: All runs, oldest first.
        schedules: All schedules.
        namespaces: Namespaces that were named, by path.
        looks: How often a run is looked at before it ends.
        multi_user: Whether it says that it has many users.
        answer: Status and body to give to everything instead; None to behave.
        rival: A run that another process starts at the same moment as the next one.
    """

    url: str = ""
    runs: list[kfp.V2beta1Run] = field(default_factory=list)
    schedules: list[kfp.V2beta1RecurringRun] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    looks: int = 2
    multi_user: bool = True
    answer: tuple[int, str] | None = None
    rival: bool = False
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

    def get_run(self, run_id: str) -> kfp.V2beta1Run:
        """Look at a run, which brings it nearer to its end."""
        run = next(run for run in self.runs if run.run_id == run_id)
        self._seen[run_id] = self._seen.get(run_id, 0) + 1
        over = self._seen[run_id] >= self.looks
        fails = (run.runtime_config.parameters or {}).get("then") == "fail"
        run.state = ("FAILED" if fails else "SUCCEEDED") if over else "RUNNING"
        task = kfp.V2beta1PipelineTaskDetail(task_id="t", display_name="mark", state=run.state)
        run.run_details = kfp.V2beta1RunDetails(task_details=[task])
        run.error = kfp.GoogleRpcStatus(code=2, message="an accident") if over and fails else None
        return run

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
                return kfp.V2beta1ListRunsResponse(runs=[run for run in self.runs if run.display_name == name])
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


@contextmanager
def kubeflow_double() -> Iterator[KubeflowDouble]:
    """Run a double on a free port of loopback."""
    double = KubeflowDouble()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(double))
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
            found = double.respond(self.command, url.path.removeprefix(_API), query, body)
            if not url.path.startswith(_API) or found is None:
                return self._send(404, "404 page not found")
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
