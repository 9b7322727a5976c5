"""The predictor as a process: KServe's own clients by every protocol, several workers, and how it ends."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import kserve
import numpy as np
import pandas as pd
import psutil
import pytest

from trimtab.models.bundle import ConversionModel
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

SPEC = shop_spec(users=False)
ROWS: list[dict[str, Any]] = [
    {"lcp_ms": 1800.0, "api_ms": 250.0, "device": "mobile"},
    {"lcp_ms": 900.0, "api_ms": 90.0, "device": "desktop"},
]
SECONDS = 90.0


@dataclass(frozen=True)
class Served:
    """A server on loopback."""

    process: "subprocess.Popen[bytes]"
    port: int
    grpc_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def predict(self) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=30.0) as client:  # a connection of its own
            return client.post(f"{self.url}/v1/models/shop:predict", json={"instances": ROWS})

    def metric(self, name: str) -> float:
        with httpx.Client(trust_env=False, timeout=30.0) as client:
            lines = client.get(f"{self.url}/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(name))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(2)
    return shop_bundle(tmp_path_factory.mktemp("models") / "shop", shop_sessions(rng, SPEC), SPEC, rng=rng)


def _started(bundle: Path, log: Path, *options: str) -> Served:
    port, grpc_port = _free_port(), _free_port()
    command = [
        *(sys.executable, "-P", "-m", "serving.predictor", "--model_dir", str(bundle), "--model_name", "shop"),
        *("--model_version", "3", "--host", "127.0.0.1", "--http_port", str(port), "--grpc_port", str(grpc_port)),
        "--exit_with_parent",
        *options,
    ]
    with log.open("wb") as output:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    served = Served(process, port, grpc_port, log)
    end = time.monotonic() + SECONDS
    with httpx.Client(trust_env=False, timeout=SECONDS) as client:
        while time.monotonic() < end:
            assert process.poll() is None, log.read_text()
            try:
                if client.get(f"{served.url}/v2/models/shop/ready").status_code == 200:
                    return served
            except httpx.TransportError:
                time.sleep(0.1)
    raise AssertionError(f"not ready in time: {log.read_text()}")


def _stop(served: Served) -> int:
    served.process.terminate()
    try:
        return served.process.wait(40)
    finally:
        served.process.kill()
        if served.process.stdin:
            served.process.stdin.close()


@pytest.fixture(scope="module")
def served(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = _started(bundle, tmp_path_factory.mktemp("logs") / "one.log")
    yield served
    assert _stop(served) == 0
    assert "Traceback" not in served.log.read_text()


@pytest.fixture(scope="module")
def expected(bundle: Path) -> Any:
    return ConversionModel.load(bundle).act(pd.DataFrame(ROWS))


def _infer_request(*, binary: bool) -> Any:
    inputs = []
    for name, kind in (("lcp_ms", "FP64"), ("api_ms", "FP64"), ("device", "BYTES")):
        values = np.array([row[name] for row in ROWS], dtype=object if kind == "BYTES" else np.float64)
        tensor = kserve.InferInput(name, [len(ROWS)], kind)
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    return kserve.InferRequest("shop", inputs, parameters={"binary_data_output": binary})


def _output(response: Any, name: str) -> Any:
    return next(output for output in response.outputs if output.name == name).as_numpy()


def test_a_wish_for_http_2_costs_no_body(served: Served, expected: Any) -> None:
    """What Java's HttpClient sends by default."""
    wish = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAEAAEAAAAIAAAABAAMAAABk"}
    with httpx.Client(trust_env=False, timeout=30.0, headers=wish) as client:
        for _ in range(2):  # the connection stays open
            answer = client.post(f"{served.url}/v1/models/shop:predict", json={"instances": ROWS})
            found = [one["probability"] for one in answer.json()["predictions"]]
            np.testing.assert_allclose(found, expected.probability, atol=1e-6)


def test_kserves_rest_client_by_v1(served: Served, expected: Any) -> None:
    async def ask() -> Any:
        client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1", timeout=30))
        try:
            return await client.infer(served.url, {"instances": ROWS}, model_name="shop")
        finally:
            await client.close()

    answers = asyncio.run(ask())["predictions"]
    np.testing.assert_allclose([answer["probability"] for answer in answers], expected.probability, atol=1e-6)
    assert {answer["version"] for answer in answers} == {3}


@pytest.mark.parametrize("binary", [False, True])
def test_kserves_rest_client_by_v2(binary: bool, served: Served, expected: Any) -> None:
    async def ask() -> tuple[Any, ...]:
        client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2", timeout=30))
        try:
            health = [await client.is_server_ready(served.url), await client.is_server_live(served.url)]
            health.append(await client.is_model_ready(served.url, "shop"))
            return health, await client.infer(served.url, _infer_request(binary=binary), model_name="shop")
        finally:
            await client.close()

    health, response = asyncio.run(ask())
    assert health == [True, True, True]
    np.testing.assert_allclose(_output(response, "probability"), expected.probability, atol=1e-6)
    assert _output(response, "act").tolist() == expected.act.tolist()


@pytest.mark.parametrize("binary", [False, True])
def test_kserves_grpc_client(binary: bool, served: Served, expected: Any) -> None:
    async def ask() -> tuple[Any, ...]:
        client = kserve.InferenceGRPCClient(f"127.0.0.1:{served.grpc_port}", timeout=30)
        try:
            health = [
                await client.is_server_ready(),
                await client.is_server_live(),
                await client.is_model_ready("shop"),
            ]
            request = _infer_request(binary=binary)
            request.parameters = None
            return health, await client.infer(request)
        finally:
            await client.close()

    health, response = asyncio.run(ask())
    assert health == [True, True, True]
    np.testing.assert_allclose(_output(response, "uplift"), expected.uplift, atol=1e-6)
    assert _output(response, "version").tolist() == [3, 3]


def test_metadata_says_what_the_model_is_given(served: Served) -> None:
    document = httpx.get(f"{served.url}/v2/models/shop", trust_env=False).json()
    inputs = {tensor["name"]: tensor["datatype"] for tensor in document["inputs"]}
    assert inputs == {"lcp_ms": "FP64", "api_ms": "FP64", "device": "BYTES"}
    assert [tensor["name"] for tensor in document["outputs"]] == ["probability", "uplift", "act", "version"]


def test_a_cloudevent_is_answered_by_kserve(served: Served) -> None:
    headers = {f"ce-{name}": name for name in ("id", "type", "source")} | {"ce-specversion": "1.0"}
    url = f"{served.url}/v1/models/shop:predict"
    answer = httpx.post(url, json={"instances": ROWS}, headers=headers, trust_env=False)
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 2
    assert answer.headers["ce-specversion"] == "1.0"


def test_several_workers_answer_and_count_together(bundle: Path, tmp_path: Path) -> None:
    served = _started(bundle, tmp_path / "log.txt", "--workers", "2")
    counted = 'trimtab_predictor_requests_total{protocol="v1",status="2xx"}'
    try:
        for _ in range(40):
            assert served.predict().status_code == 200
        _until(lambda: served.metric(counted) == 40)  # an answer is counted after it is sent
        children = psutil.Process(served.process.pid).children()
        assert len(children) == 2
        children[0].kill()
        _until(lambda: len(_alive(served)) == 2 and children[0].pid not in _alive(served))
        for _ in range(10):
            assert served.predict().status_code == 200
        _until(lambda: served.metric(counted) == 50)  # an answer is counted after it is sent
    finally:
        workers = _alive(served)
        assert _stop(served) == 0
    assert not any(psutil.pid_exists(worker) for worker in workers)


def test_requests_in_flight_are_answered_when_it_is_told_to_stop(bundle: Path, tmp_path: Path) -> None:
    kept = tmp_path / "features.jsonl"
    served = _started(bundle, tmp_path / "log.txt", "--log_features", str(kept), "--log_features_share", "1")
    body = b'{"instances": [%b]}' % b",".join([b'{"lcp_ms": 1800.0, "api_ms": 250.0, "device": "mobile"}'] * 5_000)
    head = f"POST /v1/models/shop:predict HTTP/1.1\r\nHost: shop\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    try:
        with closing(socket.create_connection(("127.0.0.1", served.port), timeout=30)) as connection:
            connection.sendall(head + body[:10])
            time.sleep(0.3)
            served.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(body[10:])
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            while connection.recv(65_536):
                pass
    finally:
        assert _stop(served) == 0
    assert len(kept.read_bytes().splitlines()) == 5_000


def test_a_folder_without_a_bundle_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "serving.predictor", "--model_dir", str(tmp_path), "--model_name", "shop"]
    ended = subprocess.run([*command, "--http_port", "0"], check=False, capture_output=True, timeout=60)
    assert ended.returncode == 2
    assert b"no model in" in ended.stderr
    assert b"Traceback" not in ended.stderr


def _alive(served: Served) -> list[int]:
    children = psutil.Process(served.process.pid).children()
    return [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]


def _until(holds: Any) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)
