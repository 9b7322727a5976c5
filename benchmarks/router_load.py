"""What users notice when servers are killed under load: real model servers behind a real router, on loopback.

    python -m benchmarks.router_load

Three acts. An arm's server is killed (SIGKILL) under load and started again. The router is stopped and started again.
The router is killed under load. Throughout, each user's arm is compared with the first one that the user met, and each
answer that a client received is looked up in the event log.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import numpy as np

from trimtab.adapters.events import FileEventLog
from trimtab.adapters.routes import FileRoutes
from trimtab.rollout.route import Route, RoutePhase, Target
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec

USERS = 2_000
CLIENTS = 8
PAUSE_SECONDS = 0.01  # between two requests of a client: the machine is not to be driven to its end
FLUSH_SECONDS = 1.0  # longest time that an event stays in the router's memory while the disk keeps up
_PATH = "/v1/models/shop:predict"
_INSTANCE = {"lcp_ms": 1800.0, "api_ms": 200.0, "device": "mobile"}


@dataclass(frozen=True, slots=True)
class Answered:
    """One request as a client saw it; `status` is 0 where there was no answer."""

    user: str
    status: int
    arm: str
    fallback: str
    request: str
    at: float


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """What came of it.

    Attributes:
        requests: Sent before the router was killed.
        failed: Of those, without a good answer.
        fallbacks: Of those, answered by control in place of the killed arm.
        moved_users: Users who met two arms, at any time.
        recovery_seconds: From the arm's readiness to its first own answer.
        missing_after_stop: Answers missing from the log after the router was stopped.
        answered_before_kill: Answers that clients received from the router that was killed.
        missing_after_kill: Of those, missing from the log.
        oldest_missing_seconds: How long before the kill the oldest of those was received; 0 where none is missing.
        repeated: Events in the log more often than once.
    """

    requests: int
    failed: int
    fallbacks: int
    moved_users: int
    recovery_seconds: float
    missing_after_stop: int
    answered_before_kill: int
    missing_after_kill: int
    oldest_missing_seconds: float
    repeated: int


def main() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        for name, value in asdict(measure(Path(folder))).items():
            print(f"  {name:<24} {value:g}", flush=True)
    return []


def measure(folder: Path, *, seconds: float = 4.0) -> LoadFigures:
    """Play the three acts.

    Args:
        folder: For everything that is written.
        seconds: Length of each stretch of load; there are five.
    """
    rng = np.random.default_rng(7)
    spec = shop_spec(users=False)
    bundle = shop_bundle(folder / "bundle", shop_sessions(rng, spec), spec, rng=rng)
    ports = {"control": _free_port(), "challenger": _free_port(), "router": _free_port()}
    url = f"http://127.0.0.1:{ports['router']}"
    _publish(folder, ports)
    with ExitStack() as running:
        running.enter_context(_predictor(bundle, ports["control"], version=1))
        challenger = running.enter_context(_predictor(bundle, ports["challenger"], version=2))
        router = running.enter_context(_router(folder, ports["router"]))
        seen = asyncio.run(_load(url, seconds))
        seen += asyncio.run(_load(url, seconds, disturb=lambda: _kill(challenger)))
        running.enter_context(_predictor(bundle, ports["challenger"], version=2))
        ready = time.monotonic()
        seen += asyncio.run(_load(url, seconds))
        router.terminate()
        router.wait(30)
        missing = _missing(folder, seen)
        router = running.enter_context(_router(folder, ports["router"]))
        seen += asyncio.run(_load(url, seconds))
        last = asyncio.run(_load(url, seconds, disturb=lambda: _kill(router)))
        killed = max(answer.at for answer in last if answer.status == 200)
    answered = [answer for answer in last if answer.status == 200]
    lost = _missing(folder, answered)
    own = [answer.at for answer in seen if answer.arm == "challenger" and not answer.fallback and answer.at > ready]
    log = FileEventLog(str(folder / "events"))
    return LoadFigures(
        requests=len(seen),
        failed=sum(answer.status != 200 for answer in seen),
        fallbacks=sum(bool(answer.fallback) for answer in seen),
        moved_users=_moved([*seen, *answered]),
        recovery_seconds=min(own) - ready,
        missing_after_stop=len(missing),
        answered_before_kill=len(answered),
        missing_after_kill=len(lost),
        oldest_missing_seconds=max((killed - answer.at for answer in lost), default=0.0),
        repeated=_repeated(log),
    )


def _moved(answers: Sequence[Answered]) -> int:
    arms: dict[str, set[str]] = {}
    for answer in answers:
        if answer.status == 200:
            arms.setdefault(answer.user, set()).add(answer.arm)
    return sum(len(met) > 1 for met in arms.values())


def _missing(folder: Path, answers: Sequence[Answered]) -> list[Answered]:
    """Answers whose exposure is not in the log."""
    logged = set(FileEventLog(str(folder / "events")).read("e", "exposure")["id"].str.partition(".")[0])
    return [answer for answer in answers if answer.status == 200 and answer.request not in logged]


def _repeated(log: FileEventLog) -> int:
    """Events that readers had to drop."""
    import duckdb

    segments = log.location("e", "exposure")
    return int(duckdb.sql(f"select count(*) - count(distinct id) from '{segments}'").fetchall()[0][0])


async def _load(url: str, seconds: float, *, disturb: Callable[[], None] | None = None) -> list[Answered]:
    """Requests of random users for a while, with something done in the middle of it."""
    answers: list[Answered] = []
    ends = time.monotonic() + seconds
    rng = np.random.default_rng(int(seconds * 1e3) + len(url))

    async def client(session: aiohttp.ClientSession) -> None:
        while time.monotonic() < ends:
            answers.append(await _ask(session, url, f"user {rng.integers(USERS)}"))
            await asyncio.sleep(PAUSE_SECONDS)

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        clients = [asyncio.create_task(client(session)) for _ in range(CLIENTS)]
        await asyncio.sleep(seconds / 2)
        if disturb:
            disturb()
        await asyncio.gather(*clients)
    return answers


async def _ask(session: aiohttp.ClientSession, url: str, user: str) -> Answered:
    try:
        async with session.post(
            url + _PATH, json={"instances": [_INSTANCE]}, headers={"x-trimtab-unit": user}
        ) as answer:
            await answer.read()
            heard = answer.headers
            return Answered(
                user,
                answer.status,
                heard.get("x-trimtab-arm", ""),
                heard.get("x-trimtab-fallback", ""),
                heard.get("x-trimtab-request-id", ""),
                time.monotonic(),
            )
    except (aiohttp.ClientError, TimeoutError):
        return Answered(user, 0, "", "", "", time.monotonic())


def _kill(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def _publish(folder: Path, ports: dict[str, int]) -> None:
    arms = {
        name: Target(f"http://127.0.0.1:{ports[name]}", "shop", version)
        for name, version in (("control", 1), ("challenger", 2))
    }
    halves = RoutePhase(datetime(2026, 1, 1, tzinfo=UTC), {"control": 0.5, "challenger": 0.5})
    FileRoutes(folder / "routes").publish(
        Route("shop", "control", arms, experiment="e", phases=(halves,), attributes=("device",), timeout_ms=2_000.0)
    )


def _predictor(bundle: Path, port: int, *, version: int) -> Any:
    command = ("serving.predictor", "--model_dir", str(bundle), "--model_name", "shop", "--host", "127.0.0.1")
    return _server((*command, "--model_version", str(version), "--http_port", str(port)), port, "/v2/models/shop/ready")


def _router(folder: Path, port: int) -> Any:
    command = ("serving.router", "--routes", str(folder / "routes"), "--events", str(folder / "events"))
    return _server((*command, "--spool", str(folder / "spool"), "--port", str(port)), port, "/readyz", folder)


@contextmanager
def _server(
    command: Sequence[str], port: int, path: str, home: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that binds its port itself, so that nobody answers there once it is killed; ready."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"TRIMTAB_HOME": str(home)} if home else {})}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", *command, "--exit_with_parent"], env=environment, stdin=subprocess.PIPE
    )
    try:
        _await(process, f"http://127.0.0.1:{port}{path}")
        yield process
    finally:
        process.kill()
        process.communicate()


def _await(process: subprocess.Popen[bytes], url: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False, timeout=5.0).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not become ready")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
