"""The router as a process: it drains, guards, and counts over several workers; its events are in the log."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from trimtab.adapters.events import FileEventLog
from trimtab.adapters.routes import FileRoutes
from trimtab.rollout.route import Route, RoutePhase, Target
from trimtab.testing.routes import ROUTE

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

_ARM = """
import asyncio, json, sys
BODY = json.dumps({"predictions": [{"probability": 0.25, "uplift": 0.0, "act": False}]}).encode()
REPLY = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(BODY) + BODY
async def talk(reader, writer):
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        length = int(head.lower().split(b"content-length: ")[1].split(b"\\r\\n")[0])
        await reader.readexactly(length)
        await asyncio.sleep(float(sys.argv[1]))
        writer.write(REPLY)
async def main():
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
BODY = {"instances": [{"lcp_ms": 1.0}]}


@contextmanager
def arm(seconds: float = 0.0) -> Iterator[str]:
    """A server that answers after a while; its URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", _ARM, str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.communicate()


@contextmanager
def router(folder: Path, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A router over the routes in the folder; ready."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "serving.router", "--routes", str(folder / "routes")),
                *("--events", str(folder / "events"), "--listen_fd", str(listener.fileno()), *options),
            ],
            pass_fds=(listener.fileno(),),
            env={**os.environ, "TRIMTAB_HOME": str(folder / "home"), **environment},
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        until(lambda: httpx.get(f"{url}/readyz", trust_env=False, timeout=30).status_code == 200)
        yield process, url
    finally:
        process.kill()
        process.wait()


def until(done: object, seconds: float = 30.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not (callable(done) and done()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def publish(folder: Path, url: str, *, revision: int = 1, treatment: float = 0.5) -> None:
    weights = {"control": 1 - treatment, "treatment": treatment}
    FileRoutes(folder / "routes").publish(
        Route(
            model="shop",
            control="control",
            arms={"control": Target(url, "m", 1), "treatment": Target(url, "m", 2)},
            experiment="e",
            phases=(RoutePhase(ROUTE.phases[0].starts, weights),),
            revision=revision,
        )
    )


def test_a_request_in_flight_is_finished_and_events_are_flushed_on_sigterm(tmp_path: Path) -> None:
    with arm(0.7) as url:
        publish(tmp_path, url)
        with router(tmp_path) as (process, at), httpx.Client(base_url=at, trust_env=False) as client:
            sent = client.build_request("POST", "/v1/models/shop:predict", json=BODY, headers={"x-trimtab-unit": "ann"})
            threading.Timer(0.3, process.terminate).start()  # amid the request
            answer = client.send(sent)
            assert answer.status_code == 200
            assert process.wait(15) == 0
            with pytest.raises(httpx.TransportError):
                client.get("/healthz")
    assert FileEventLog(str(tmp_path / "events")).read("e", "exposure")["probability"].tolist() == [0.25]


def test_a_change_of_route_needs_no_restart(tmp_path: Path) -> None:
    with arm() as url:
        publish(tmp_path, url, treatment=0.0)
        with router(tmp_path) as (_, at), httpx.Client(base_url=at, trust_env=False) as client:

            def served() -> str:
                answer = client.post("/v1/models/shop:predict", json=BODY, headers={"x-trimtab-unit": "ann"})
                return str(answer.headers.get("x-trimtab-arm", answer.status_code))

            assert served() == "control"
            publish(tmp_path, url, revision=2, treatment=1.0)
            until(lambda: served() == "treatment", 5)
            FileRoutes(tmp_path / "routes").remove("shop")
            until(lambda: served() == "404", 5)


def test_several_workers_share_a_socket_and_their_counts(tmp_path: Path) -> None:
    with arm() as url:
        publish(tmp_path, url)
        with router(tmp_path, "--workers", "2") as (process, at):
            for number in range(60):  # connections of their own, so that both workers get some
                answer = httpx.post(
                    f"{at}/v1/models/shop:predict", json=BODY, headers={"x-trimtab-unit": f"u{number}"}, trust_env=False
                )
                assert answer.status_code == 200

            def counted() -> float:
                lines = httpx.get(f"{at}/metrics", trust_env=False).text.splitlines()
                return sum(
                    float(line.split()[-1]) for line in lines if line.startswith("trimtab_router_requests_total{")
                )

            until(lambda: counted() >= 60, 10)  # each worker publishes its counts twice a second
            assert counted() == 60
            process.terminate()
            assert process.wait(20) == 0
    assert len(FileEventLog(str(tmp_path / "events")).read("e", "exposure")) == 60


def test_what_a_killed_worker_said_of_itself_is_forgotten(tmp_path: Path) -> None:
    publish(tmp_path, "http://127.0.0.1:9")
    with router(tmp_path, "--workers", "2") as (process, at):
        document = tmp_path / "routes" / "shop.json"
        right = document.read_bytes()

        def broken() -> float:
            lines = httpx.get(f"{at}/metrics", trust_env=False, timeout=30).text.splitlines()
            return float(next(line.split()[-1] for line in lines if line.startswith("trimtab_router_broken_routes ")))

        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        first, second = map(int, children.read_text().split())
        document.write_bytes(b"{")
        until(lambda: broken() == 1)
        time.sleep(1.5)  # both workers have looked
        os.kill(first, signal.SIGKILL)
        document.write_bytes(right)
        until(lambda: len({*children.read_text().split()} - {str(first), str(second)}) == 1)
        until(lambda: broken() == 0)


def test_refuses_an_open_address_without_tokens(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "serving.router", "--host", "0.0.0.0", "--port", "0"],
        env={**os.environ, "TRIMTAB_HOME": str(tmp_path), "TRIMTAB_ADMIN_TOKEN": "", "TRIMTAB_OUTCOMES_TOKEN": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "TRIMTAB_ADMIN_TOKEN is unset" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_oversized_body_gets_its_reason(tmp_path: Path) -> None:
    publish(tmp_path, "http://127.0.0.1:9")
    with router(tmp_path, "--max_body_bytes", "1000") as (_, at):
        answer = httpx.post(f"{at}/v1/models/shop:predict", content=b"x" * 5_000_000, trust_env=False)
        assert answer.status_code == 413
        assert "1000 bytes" in answer.json()["error"]
        assert httpx.post(f"{at}/v1/models/shop:predict", json=BODY, trust_env=False).status_code == 503
