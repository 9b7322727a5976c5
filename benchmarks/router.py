"""CPU that a router spends on a request: ours, which assigns and logs, against proxies that only forward.

    python -m benchmarks.router

Every side is one process that forwards the same v1 request to the same tiny upstream over kept-alive connections,
driven by `wrk`. The figure is the CPU time of the side's process divided by its requests, not the time that a caller
waits; it is the least of a few rounds, in which the sides take turns. Every request comes from another user.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

ROUNDS = 3
SECONDS = 5
CONNECTIONS = 8
PATH = "/v1/models/shop:predict"
_BODY = '{"instances":[{"lcp_ms":1800.0,"api_ms":200.0,"device":"mobile"}]}'
_LUA = """
local number = 0
request = function()
  number = number + 1
  local headers = {["content-type"] = "application/json", ["x-trimtab-unit"] = "user " .. number}
  return wrk.format("POST", nil, headers, '%s')
end
"""


def main() -> list[dict[str, Any]]:
    if not shutil.which("wrk"):
        print("wrk is not installed; nothing was measured")
        return []
    sides: dict[str, Callable[[Path, str], Any]] = {"ours": _router, "FastAPI with httpx": _fastapi, "bare ASGI": _bare}
    if shutil.which("nginx"):
        sides["nginx"] = _nginx
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        script = Path(folder) / "load.lua"
        script.write_text(_LUA % _BODY)
        upstream = running.enter_context(_process(folder, "-m", "benchmarks.router", "upstream"))
        started = {name: running.enter_context(start(Path(folder), upstream[1])) for name, start in sides.items()}
        found: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, (process, url) in started.items():
                found[name].append(_loaded(process, url, script))
    for name, values in found.items():
        print(f"  {name:<20} {' '.join(f'{value:.0f}' for value in values)} us of CPU a request", flush=True)
    ours = min(found.pop("ours"))
    notes = {"FastAPI with httpx": "forwards only", "bare ASGI": "answers by itself, forwards nothing"}
    return [
        {
            "name": f"Router: CPU per request against {name}",
            "ours": round(ours, 1),
            "theirs": round(min(values), 1),
            "theirs_is": f"{name}, {notes.get(name, 'forwards only')}",
            "unit": "us",
            "ratio": round(min(values) / ours, 2),
        }
        for name, values in found.items()
    ]


def _loaded(process: psutil.Process, url: str, script: Path) -> float:
    """Microseconds of CPU per request under load."""
    before = _cpu(process)
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(script), f"{url}{PATH}"],
        capture_output=True,
        text=True,
        check=True,
    )
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"requests failed:\n{done.stdout}")
    requests = next(int(line.split()[0]) for line in done.stdout.splitlines() if "requests in" in line)
    return (_cpu(process) - before) / requests * 1e6


def _cpu(process: psutil.Process) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


@contextmanager
def _process(folder: object, *arguments: str, **environment: str) -> Iterator[tuple[psutil.Process, str]]:
    """A Python process that is handed a listening socket as its last argument."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, *arguments, str(listener.fileno())],
            pass_fds=(listener.fileno(),),
            env={**os.environ, "TRIMTAB_HOME": str(folder), **environment},
        )
    try:
        _await(url)
        yield psutil.Process(process.pid), url
    finally:
        process.terminate()
        process.wait(30)


def _await(url: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            headers = {"content-type": "application/json"}
            if httpx.post(f"{url}{PATH}", content=_BODY, headers=headers, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not begin to answer")


def _router(folder: Path, upstream: str) -> Any:
    from trimtab.adapters.routes import FileRoutes
    from trimtab.rollout.route import Route, RoutePhase, Target

    halves = RoutePhase(datetime(2026, 1, 1, tzinfo=UTC), {"control": 0.5, "treatment": 0.5})
    arms = {"control": Target(upstream, "m", 1), "treatment": Target(upstream, "m", 2)}
    route = Route("shop", "control", arms, experiment="e", phases=(halves,), attributes=("device",))
    FileRoutes(folder / "routes").publish(route)
    options = ("--routes", str(folder / "routes"), "--events", str(folder / "events"), "--listen_fd")
    return _process(folder, "-m", "serving.router", *options)


def _fastapi(folder: Path, upstream: str) -> Any:
    return _process(folder, "-m", "benchmarks.router", "fastapi", UPSTREAM=upstream)


def _bare(folder: Path, _: str) -> Any:
    return _process(folder, "-m", "benchmarks.router", "bare")


@contextmanager
def _nginx(folder: Path, upstream: str) -> Iterator[tuple[psutil.Process, str]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
        events {{ worker_connections 512; }}
        http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
          upstream arm {{ server {upstream.removeprefix("http://")}; keepalive 32; }}
          server {{ listen 127.0.0.1:{port};
            location / {{ proxy_pass http://arm; proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}"""
    )
    process = subprocess.Popen(["nginx", "-c", str(configuration)])
    try:
        _await(f"http://127.0.0.1:{port}")
        yield psutil.Process(process.pid), f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _serve(side: str, descriptor: int) -> None:
    """One of the other sides, until told to stop."""
    import uvicorn

    app: Any = _fastapi_app() if side == "fastapi" else _upstream_app
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="error", access_log=False)
    # Given as `fd`, uvicorn takes the socket for a Unix one and leaves Nagle's algorithm on, which delays every answer.
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


_ANSWER = json.dumps({"predictions": [{"probability": 0.1, "uplift": 0.02, "act": True, "version": 1}]}).encode()
_ANSWER_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]


async def _upstream_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _ANSWER_HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})


def _fastapi_app() -> Any:
    """What one would write: a FastAPI route that forwards by a shared httpx client."""
    from fastapi import FastAPI, Request, Response

    app = FastAPI()
    client = httpx.AsyncClient(base_url=os.environ["UPSTREAM"], trust_env=False)

    async def forward(request: Request) -> Response:
        answer = await client.post(
            PATH, content=await request.body(), headers={"content-type": request.headers["content-type"]}
        )
        return Response(answer.content, answer.status_code, media_type=answer.headers["content-type"])

    app.add_api_route(PATH, forward, methods=["POST"], response_model=None)
    return app


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _serve(sys.argv[1], int(sys.argv[2]))
    else:
        main()
