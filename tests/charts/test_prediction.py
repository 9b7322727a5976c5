"""What `helm test` runs, against a double of the router."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.charts.rendering import TRIMTAB, find, render, shape
from trimtab.adapters.routes import FileRoutes
from trimtab.rollout.route import Route, RoutePhase, Target


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("prediction", TRIMTAB / "files" / "prediction.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _router(arms: list[str], answer: Any, *, status: int = 200) -> Iterator[tuple[str, list[Any]]]:
    """A router that gives these arms in turn; and what it was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(200, {}, "")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append((self.path, self.headers["x-trimtab-unit"], body))
            self._reply(status, answer, arms[min(len(asked), len(arms)) - 1])

        def _reply(self, code: int, body: Any, arm: str) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("content-length", str(len(data)))
            self.send_header("x-trimtab-arm", arm)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


GOOD = {"predictions": [{"probability": 0.2}]}


def _run(url: str, *, model: str = "shop") -> int:
    return int(_script().main([f"--url={url}", f"--model={model}", "--spec=ux_sessions", "--unit=u1"]))


def test_a_prediction_and_a_sticky_assignment_pass(capsys: pytest.CaptureFixture[str]) -> None:
    with _router(["treatment"], GOOD) as (url, asked):
        assert _run(url) == 0
    assert "arm 'treatment'" in capsys.readouterr().out
    assert [(path, unit) for path, unit, _ in asked] == [("/v1/models/shop:predict", "u1")] * 2
    [instance] = asked[0][2]["instances"]
    assert "lcp_ms" in instance
    assert set(instance.values()) == {None}


@pytest.mark.parametrize(
    ("arms", "answer", "status", "says"),
    [
        (["control", "treatment"], GOOD, 200, "not sticky"),
        ([""], GOOD, 200, "not sticky"),
        (["control"], {"predictions": []}, 200, "no probability"),
        (["control"], {"predictions": [{"probability": 1.2}]}, 200, "no probability"),
        (["control"], {"error": "unknown model"}, 404, "answers 404"),
    ],
)
def test_what_does_not_hold_fails_with_its_reason(arms: list[str], answer: Any, status: int, says: str) -> None:
    with _router(arms, answer, status=status) as (url, _), pytest.raises(SystemExit, match=says):
        _run(url)


def test_without_a_model_only_readiness_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with _router([], {}) as (url, asked):
        assert _run(url, model="") == 0
    assert asked == []
    assert "helmTest.model" in capsys.readouterr().out


def test_a_router_that_is_away_fails() -> None:
    with _router([], {}) as (url, _):
        pass
    with pytest.raises(SystemExit, match="does not answer"):
        _run(url)


def test_the_pod_runs_this_script_against_the_service() -> None:
    objects = render(shape("standard"))
    [pod] = find(objects, "Pod", "-helm-test")
    [config] = find(objects, "ConfigMap", "-helm-test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    weights = [int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in (config, pod)]
    assert weights == sorted(set(weights))  # what the pod needs is there first
    # What it printed outlives it, until the next test.
    assert pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation"
    assert config["data"]["prediction.py"].rstrip("\n") == (TRIMTAB / "files" / "prediction.py").read_text().rstrip(
        "\n"
    )
    assert "--url=http://trimtab-router:80" in pod["spec"]["containers"][0]["args"]
    assert "--model=ux_sessions" in pod["spec"]["containers"][0]["args"]


@pytest.mark.parametrize(("spec", "mounted"), [("ux_sessions", False), ("/var/lib/trimtab/specs/shop.yaml", True)])
def test_a_spec_of_one_s_own_is_within_the_pod_s_reach(spec: str, mounted: bool) -> None:
    [pod] = find(render({"helmTest": {"model": "shop", "spec": spec}}), "Pod", "-helm-test")
    claims = [
        one["persistentVolumeClaim"]["claimName"] for one in pod["spec"]["volumes"] if "persistentVolumeClaim" in one
    ]
    assert claims == (["trimtab-home"] if mounted else [])
    [container] = pod["spec"]["containers"]
    assert any(spec.startswith(mount["mountPath"]) for mount in container["volumeMounts"]) == mounted


@pytest.mark.slow  # a second of its own, and the start of a router
def test_the_real_router_passes(tmp_path: Path) -> None:
    answer = {"predictions": [{"probability": 0.2}]}
    with _router(["unused"], answer) as (upstream, asked):
        arms = {name: Target(upstream, "shop", version) for version, name in enumerate(("control", "treatment"), 1)}
        phase = RoutePhase(datetime(2026, 1, 1, tzinfo=UTC), {"control": 0.5, "treatment": 0.5})
        FileRoutes(tmp_path / "routes").publish(
            Route(model="shop", control="control", arms=arms, experiment="checkout", phases=(phase,))
        )
        with _process(tmp_path) as url:
            assert _run(url) == 0
            assert _run(url) == 0
            with urllib.request.urlopen(f"{url}/metrics", timeout=5) as reply:
                shown = set(re.findall(r"^(trimtab_router_\w+)[ {]", reply.read().decode(), re.MULTILINE))
    assert len(asked) == 4
    assert {"trimtab_router_events_queued", "trimtab_router_latency_seconds_bucket"} <= shown


@contextmanager
def _process(folder: Path) -> Iterator[str]:
    """The router as the chart starts it, on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "serving.router", f"--routes={folder / 'routes'}", f"--events={folder / 'events'}",
               f"--spool={folder / 'spool'}", "--profile=local", "--host=127.0.0.1", f"--port={port}"]  # fmt: skip
    environment = {**os.environ, "TRIMTAB_HOME": str(folder / "home"), "TRIMTAB_PSEUDONYM_KEY": "0123456789abcdef"}
    process = subprocess.Popen(command, env=environment)
    try:
        _until_ready(f"http://127.0.0.1:{port}/readyz", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the router did not start")
