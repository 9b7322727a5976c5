"""The predictor against KServe's default server with the same network, and FastAPI: the server's CPU per request.

    python -m benchmarks.predictor

Every server is a process on loopback with one worker and one thread for arithmetic, asked over four connections that
are kept alive. What counts is the CPU time of the server's process divided by the requests it answered, the least of
several rounds, in which the servers take turns: what else the machine does slows all of them. The model has 45 KPIs,
three categories, a treatment and the history of a user. Histories come from Feast on a private Redis where that is
installed. BentoML and MLServer are not in the lock file, and so not compared.

HTTP is driven by wrk where it is installed and by threads of httpx otherwise; gRPC by the channel of grpcio.
"""

import asyncio
import contextlib
import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import orjson
import pandas as pd
import psutil
import yaml
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from prometheus_client import CollectorRegistry

from benchmarks.materialization import _redis
from serving.predictor import v1
from serving.predictor.compose import SPEC
from serving.predictor.engine import Engine
from serving.predictor.metrics import Metrics
from trimtab import runtime
from trimtab.models.bundle import ConversionModel
from trimtab.models.data import prepare
from trimtab.models.devices import place
from trimtab.models.lean import LeanModel
from trimtab.models.recipe import Recipe
from trimtab.models.split import split_rows
from trimtab.models.trainer import train_model
from trimtab.sessions.spec import DatasetSpec, dump_spec

NAME, KPIS, CATEGORIES, USERS = "shop", 45, (4, 6, 10), 2_000
ROWS = (1, 10, 50)
ROUNDS, ROUND_SECONDS, CONNECTIONS = 3, 2, 4

Load = Callable[[], int]  # sends requests for a round; returns how many were answered


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        process: Its process.
        port: Its port for HTTP.
        grpc_port: Its port for gRPC; 0 where it has none.
    """

    process: psutil.Process
    port: int
    grpc_port: int

    def cpu_seconds(self) -> float:
        """CPU time of the process so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


def main() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        spec, sessions = _sessions(np.random.default_rng(3))
        bundle = _bundle(folder / "bundle", spec, sessions)
        servers = {
            "trimtab": stack.enter_context(_ours(folder, bundle)),
            "kserve": stack.enter_context(_peer(folder, "kserve", bundle)),
            "fastapi": stack.enter_context(_peer(folder, "fastapi", bundle)),
            "asgi": stack.enter_context(_peer(folder, "asgi", bundle)),
        }
        results = _micro_batching(bundle, _instances(sessions, spec, 1))
        for rows in ROWS:
            instances = _instances(sessions, spec, rows)
            results += _compared("v1 JSON", rows, _v1_loads(folder, servers, instances), servers)
            for protocol, make in (("v2 JSON", _v2_json), ("v2 binary", _v2_binary)):
                request = make(instances)
                loads = {side: _http_load(folder, servers[side], V2, *request) for side in ("trimtab", "kserve")}
                results += _compared(protocol, rows, loads, servers)
            loads = {side: _grpc_load(servers[side], instances) for side in ("trimtab", "kserve")}
            results += _compared("gRPC", rows, loads, servers)
        port = stack.enter_context(_redis(folder))
        if port:
            results += _with_features(folder, bundle, spec, sessions, port)
        return results


V1, V2 = f"/v1/models/{NAME}:predict", f"/v2/models/{NAME}/infer"
_JSON = {"content-type": "application/json"}


def _micro_batching(bundle: Path, instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One-row requests that arrive at once, in this process without sockets: each by itself, or batched by the tick."""
    model = LeanModel.load(bundle)
    body = orjson.dumps({"instances": instances})
    results = []
    for at_once in (1, 8, 32):
        best = {"alone": float("inf"), "batched": float("inf")}
        for _, side in itertools.product(range(8), best):
            engine = Engine(
                NAME,
                version=1,
                model=model,
                encoder=model.manifest.encoder,
                metrics=Metrics(NAME, 1, registry=CollectorRegistry()),
                micro_batching=side == "batched",
            )
            best[side] = min(best[side], asyncio.run(_microseconds(engine, body, at_once)))
        print(f"{at_once:>3} requests at once: alone {best['alone']:.0f} us, batched {best['batched']:.0f} us each")
        results.append(
            {
                "name": f"Serve v1 JSON, {at_once} request{'s' * (at_once > 1)} at once, against micro-batching",
                "ours": round(best["alone"]),
                "theirs": round(best["batched"]),
                "theirs_is": "the same engine with micro-batching",
                "unit": "us of CPU per request, without sockets",
                "ratio": round(best["batched"] / best["alone"], 2),
            }
        )
    return results


async def _microseconds(engine: Engine, body: bytes, at_once: int) -> float:
    rounds = 256 // at_once
    before = time.process_time()
    for _ in range(rounds):
        await asyncio.gather(*(v1.answer(engine, body) for _ in range(at_once)))
    return 1e6 * (time.process_time() - before) / (rounds * at_once)


def _with_features(
    folder: Path, bundle: Path, spec: DatasetSpec, sessions: pd.DataFrame, port: int
) -> list[dict[str, Any]]:
    """v1 with each user's history read from Redis by Feast."""
    profile = _profile(folder, port)
    ports = runtime.load(str(profile))
    ports.features.prepare("benchmark", sessions, spec)
    with contextlib.redirect_stdout(None):
        ports.features.materialize(spec)
    results = []
    with _ours(folder, bundle, profile) as ours, _peer(folder, "kserve", bundle, profile) as theirs:
        servers = {"trimtab": ours, "kserve": theirs}
        for rows in ROWS:
            instances = _instances(sessions, spec, rows, users=True)
            loads = _v1_loads(folder, servers, instances)
            found = httpx.post(f"http://127.0.0.1:{ours.port}{V1}", json={"instances": instances}, trust_env=False)
            assert found.json()["predictions"][0]["history"] == "store", found.text[:500]
            results += _compared("v1 JSON with Feast on Redis", rows, loads, servers)
    return results


def _compared(
    protocol: str, rows: int, loads: Mapping[str, Load], servers: Mapping[str, Server]
) -> list[dict[str, Any]]:
    """CPU microseconds per request of each side, by turns."""
    best = dict.fromkeys(loads, float("inf"))
    for _, (side, load) in itertools.product(range(ROUNDS), loads.items()):
        before = servers[side].cpu_seconds()
        answered = load()
        best[side] = min(best[side], 1e6 * (servers[side].cpu_seconds() - before) / answered)
    print(f"{protocol:<28}{rows:>3} rows  " + "  ".join(f"{side} {took:>7.0f} us" for side, took in best.items()))
    return [_result(protocol, rows, side, best["trimtab"], took) for side, took in best.items() if side != "trimtab"]


def _result(protocol: str, rows: int, side: str, ours: float, theirs: float) -> dict[str, Any]:
    names = {"kserve": "KServe's default server", "fastapi": "FastAPI", "asgi": "ASGI without a model"}
    return {
        "name": f"Serve {protocol}, {rows} row{'s' * (rows > 1)}, against {names[side]}",
        "ours": round(ours),
        "theirs": round(theirs),
        "theirs_is": names[side],
        "unit": "us of server CPU per request",
        "ratio": round(theirs / ours, 2),
    }


def _v1_loads(folder: Path, servers: Mapping[str, Server], instances: list[dict[str, Any]]) -> dict[str, Load]:
    body = orjson.dumps({"instances": instances})
    return {side: _http_load(folder, server, V1, body, _JSON) for side, server in servers.items()}


def _http_load(folder: Path, server: Server, path: str, body: bytes, headers: Mapping[str, str]) -> Load:
    url = f"http://127.0.0.1:{server.port}{path}"
    first = httpx.post(url, content=body, headers=dict(headers), trust_env=False, timeout=30)
    assert first.status_code == 200, first.text[:500]
    wrk = shutil.which("wrk")
    return _wrk_load(folder, wrk, url, body, headers) if wrk else _httpx_load(url, body, headers)


def _wrk_load(folder: Path, wrk: str, url: str, body: bytes, headers: Mapping[str, str]) -> Load:
    number = len(list(folder.glob("*.lua")))
    content, script = folder / f"{number}.body", folder / f"{number}.lua"
    content.write_bytes(body)
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    script.write_text(
        f'wrk.method = "POST"\nwrk.body = io.open("{content}", "rb"):read("*all")\n' + "\n".join(lines) + "\n"
    )
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{ROUND_SECONDS}s", "-s", str(script), url]

    def load() -> int:
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        assert "Non-2xx" not in said, said
        found = re.search(r"(\d+) requests in", said)
        assert found, said
        return int(found[1])

    return load


def _httpx_load(url: str, body: bytes, headers: Mapping[str, str]) -> Load:
    def ask(_: int) -> int:
        answered, end = 0, time.monotonic() + ROUND_SECONDS
        with httpx.Client(trust_env=False, headers=dict(headers)) as client:
            while time.monotonic() < end:
                assert client.post(url, content=body).status_code == 200
                answered += 1
        return answered

    def load() -> int:
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            return sum(threads.map(ask, range(CONNECTIONS)))

    return load


def _grpc_load(server: Server, instances: list[dict[str, Any]]) -> Load:
    request = pb.ModelInferRequest(model_name=NAME)
    for tensor, data in _tensors(instances):
        request.inputs.add(**tensor)
        request.raw_input_contents.append(data)

    async def ask(stub: Any, end: float) -> int:
        answered = 0
        while time.monotonic() < end:
            await stub.ModelInfer(request)
            answered += 1
        return answered

    async def run() -> int:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            stub, end = GRPCInferenceServiceStub(channel), time.monotonic() + ROUND_SECONDS
            return sum(await asyncio.gather(*(ask(stub, end) for _ in range(CONNECTIONS))))

    return lambda: asyncio.run(run())


def _v2_json(instances: list[dict[str, Any]]) -> tuple[bytes, Mapping[str, str]]:
    inputs = [
        {**tensor, "data": [0.0 if row[tensor["name"]] is None else row[tensor["name"]] for row in instances]}
        for tensor, _ in _tensors(instances)
    ]
    return orjson.dumps({"id": "1", "inputs": inputs}), _JSON


def _v2_binary(instances: list[dict[str, Any]]) -> tuple[bytes, Mapping[str, str]]:
    tensors = _tensors(instances)
    inputs = [{**tensor, "parameters": {"binary_data_size": len(data)}} for tensor, data in tensors]
    head = orjson.dumps({"id": "1", "inputs": inputs, "parameters": {"binary_data_output": True}})
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    return head + b"".join(data for _, data in tensors), headers


def _tensors(instances: list[dict[str, Any]]) -> list[tuple[dict[str, Any], bytes]]:
    """Each column's description and bytes; KServe's default server cannot take a missing number in JSON."""
    found = []
    for name in instances[0]:
        values = [row[name] for row in instances]
        if isinstance(values[0], str):
            data = b"".join(len(value).to_bytes(4, "little") + value.encode() for value in values)
        else:
            data = np.array(values, dtype=np.float64).tobytes()
        kind = "BYTES" if isinstance(values[0], str) else "FP64"
        found.append(({"name": name, "shape": [len(values)], "datatype": kind}, data))
    return found


def _instances(sessions: pd.DataFrame, spec: DatasetSpec, rows: int, *, users: bool = False) -> list[dict[str, Any]]:
    columns = [*spec.inputs, *(["user_id"] if users else [])]
    found: list[dict[str, Any]] = orjson.loads(sessions[columns].head(rows).to_json(orient="records"))
    return found


def _sessions(rng: np.random.Generator) -> tuple[DatasetSpec, pd.DataFrame]:
    kpi = {"role": "kpi", "direction": "lower", "layer": "frontend"}
    kpis = {f"kpi_{number}_ms": rng.gamma(1.5, 1_000, USERS) for number in range(KPIS)}
    categories = {f"category_{number}": rng.integers(0, size, USERS) for number, size in enumerate(CATEGORIES)}
    spec = DatasetSpec.model_validate(
        {
            "name": NAME,
            "columns": {
                "user_id": {"role": "unit"},
                "began": {"role": "timestamp"},
                "bought": {"role": "label"},
                "lighter": {"role": "treatment", "probability": 0.5},
                **dict.fromkeys(kpis, kpi),
                **{name: {"role": "attribute"} for name in categories},
            },
        }
    )
    slow = kpis["kpi_1_ms"]
    days = pd.to_timedelta(rng.integers(0, 2_000_000, USERS), unit="s")
    columns = {
        "user_id": [f"p-{number:020x}" for number in range(USERS)],
        "began": pd.Timestamp(datetime(2026, 3, 1, tzinfo=UTC)) + days,
        "bought": (rng.random(USERS) < 1 / (1 + np.exp(slow / 1_500 - 1))).astype(int),
        "lighter": rng.integers(0, 2, USERS),
        **kpis,
        **{name: [f"value {value}" for value in values] for name, values in categories.items()},
    }
    return spec, pd.DataFrame(columns)


def _bundle(folder: Path, spec: DatasetSpec, sessions: pd.DataFrame) -> Path:
    """A network of the default size after two epochs, with its spec beside it."""
    rng = np.random.default_rng(5)
    features = ("prior_sessions", "prior_conversions", "prior_conversion_rate", "days_since_last_session")
    frame = sessions.assign(**{name: rng.gamma(2.0, 2.0, len(sessions)) for name in features})
    data = prepare(frame, spec, split_rows(frame, spec, rng=rng))
    recipe = Recipe().updated({"epochs": 2})
    model: ConversionModel = train_model(
        data, spec, kind="plr_mlp", recipe=recipe, placement=place("cpu"), rng=rng
    ).model
    model.save(folder)
    (folder / SPEC).write_text(dump_spec(spec))
    return folder


def _profile(folder: Path, redis_port: int) -> Path:
    path, home = folder / "profile.yaml", folder / "home"
    settings = {
        "name": "benchmark",
        "home": str(home),
        "tracking_uri": f"sqlite:///{home}/mlflow.db",
        "artifact_root": f"file://{home}/artifacts",
        "study_storage": f"journal://{home}/studies.journal",
        "feature_registry": f"{home}/registry.db",
        "online_store": f"redis://127.0.0.1:{redis_port}/0",
        "events": f"file://{home}/events",
        "pipelines": {"kind": "local"},
        "deployer": {"kind": "process"},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def _ours(folder: Path, bundle: Path, profile: Path | str = "") -> contextlib.AbstractContextManager[Server]:
    # The deadline is not what is measured: on a busy machine a missed one would look like a fast answer.
    options = ["--profile", str(profile), "--feature_deadline_ms", "5000"]
    return _started(
        folder,
        lambda port, grpc_port: [
            *("-m", "serving.predictor", "--host", "127.0.0.1", "--model_dir", str(bundle), "--model_name", NAME),
            *("--model_version", "1", "--http_port", str(port), "--grpc_port", str(grpc_port), *options),
        ],
    )


def _peer(folder: Path, kind: str, bundle: Path, profile: Path | str = "") -> contextlib.AbstractContextManager[Server]:
    return _started(
        folder,
        lambda port, grpc_port: [
            *("-m", "benchmarks._peers", kind, str(bundle), str(port), str(grpc_port), str(profile)),
        ],
    )


@contextlib.contextmanager
def _started(folder: Path, arguments: Callable[[int, int], Sequence[str]]) -> Iterator[Server]:
    """A server that is ready, until the block ends."""
    port, grpc_port = _free_port(), _free_port()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    log = folder / f"{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments(port, grpc_port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **threads},
        )
    try:
        _await_ready(f"http://127.0.0.1:{port}/v2/models/{NAME}/ready", process, log)
        yield Server(psutil.Process(process.pid), port, grpc_port)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"a server was not ready in time: {log.read_text()[-2_000:]}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
