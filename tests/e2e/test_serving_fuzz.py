"""Predictor and router on loopback under requests that nobody would send: no 5xx, no traceback, always a reason.

Schemathesis draws the requests from a description of each server, those that fit it and those that do not; what it
would hardly draw by itself (bodies that are too large, binary tensors that lie about their length, numbers that no
float holds) is listed by hand.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from trimtab.adapters.routes import FileRoutes
from trimtab.rollout.route import Route, RoutePhase, Target
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

SPEC = shop_spec()
EXAMPLES = 12  # of each operation
READY_SECONDS = 120.0
TOKEN = "a token of the fuzz"
INSTANCE: dict[str, Any] = {"lcp_ms": 1800.0, "api_ms": None, "device": "mobile"}
TENSORS: list[dict[str, Any]] = [
    {"name": "lcp_ms", "datatype": "FP64", "shape": [1], "data": [1800.0]},
    {"name": "api_ms", "datatype": "FP64", "shape": [1], "data": [None]},
    {"name": "device", "datatype": "BYTES", "shape": [1], "data": ["mobile"]},
]


@contextmanager
def _server(module: str, log: Path, *options: str, probe: str) -> Iterator[str]:
    """A server as a process, once it is ready; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, "--listen_fd", str(listener.fileno()), *options],
            pass_fds=(listener.fileno(),),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "TRIMTAB_HOME": str(log.parent / "home"),
                "TRIMTAB_ADMIN_TOKEN": TOKEN,
            },
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        end = time.monotonic() + READY_SECONDS
        while httpx.get(url + probe, trust_env=False, timeout=READY_SECONDS).status_code != 200:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield url
        assert process.poll() is None, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, rng = tmp_path_factory.mktemp("fuzz"), np.random.default_rng(2)
    bundle = shop_bundle(folder / "shop", shop_sessions(rng, SPEC), SPEC, rng=rng)
    options = ("--model_dir", str(bundle), "--model_name", "shop", "--model_version", "3")
    with _server("serving.predictor", folder / "predictor.log", *options, probe="/v2/models/shop/ready") as url:
        yield url


@pytest.fixture(scope="module")
def router(predictor: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("fuzz")
    FileRoutes(folder / "routes").publish(
        Route(
            model="shop",
            control="control",
            arms={"control": Target(predictor, "shop", 3), "treatment": Target(predictor, "shop", 3)},
            experiment="fuzz",
            phases=(RoutePhase(datetime(2026, 1, 1, tzinfo=UTC), {"control": 0.5, "treatment": 0.5}),),
            revision=1,
            unit_field="user_id",
        )
    )
    options = ("--routes", str(folder / "routes"), "--events", str(folder / "events"))
    with _server("serving.router", folder / "router.log", *options, probe="/readyz") as url:
        yield url


def _judge(status: int, body: bytes) -> None:
    """What must hold of every answer."""
    assert status < 500, body[:500]
    assert b"Traceback" not in body
    assert b'File "' not in body
    if status >= 400 and body:
        said = orjson.loads(body)
        assert said.get("error") or said.get("detail"), said


def _operation(body: dict[str, Any] | None = None, *parameters: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"responses": {"default": {"description": "any"}}, "parameters": [*parameters]}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _schema(paths: dict[str, Any]) -> dict[str, Any]:
    return {"openapi": "3.0.2", "info": {"title": "servers", "version": "1"}, "paths": paths}


NUMBER = {"type": "number", "nullable": True}
V1 = {
    "type": "object",
    "required": ["instances"],
    "properties": {
        "instances": {
            "type": "array",
            "minItems": 1,
            "maxItems": 3,
            "items": {
                "type": "object",
                "required": list(INSTANCE),
                "properties": {
                    "lcp_ms": NUMBER,
                    "api_ms": NUMBER,
                    "device": {"type": "string", "nullable": True},
                    "user_id": {"type": "string"},
                    "began": {"type": "string", "format": "date-time"},
                },
            },
        }
    },
}
V2 = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "outputs": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "inputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "datatype", "shape", "data"],
                "properties": {
                    "name": {"enum": ["lcp_ms", "api_ms", "device", "user_id", "other"]},
                    "datatype": {"enum": ["FP64", "FP32", "INT64", "BYTES", "BOOL", "FP8"]},
                    "shape": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
                    "data": {"type": "array", "items": {}, "maxItems": 3},
                    "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}},
                },
            },
        },
    },
}
OUTCOME = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "data"],
    "properties": {
        "specversion": {"enum": ["1.0", "0.3"]},
        "id": {"type": "string"},
        "source": {"type": "string"},
        "type": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "data": {
            "type": "object",
            "required": ["unit", "metric"],
            "properties": {"unit": {"type": "string"}, "metric": {"type": "string"}, "value": {"type": "number"}},
        },
    },
}
_HEADERS = (
    {"name": "inference-header-content-length", "in": "header", "schema": {"type": "string"}},
    {"name": "x-trimtab-unit", "in": "header", "schema": {"type": "string"}},
)
_PREDICTIONS = {
    "/v1/models/shop:predict": {"post": _operation(V1, *_HEADERS)},
    "/v2/models/shop/infer": {"post": _operation(V2, *_HEADERS)},
}
_MODEL = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
PREDICTOR = _schema(
    {
        **_PREDICTIONS,
        "/v1/models/{model}": {"get": _operation(None, _MODEL)},
        "/v2/models/{model}": {"get": _operation(None, _MODEL)},
        "/v2/models/{model}/ready": {"get": _operation(None, _MODEL)},
        "/v2/repository/models/{model}/load": {"post": _operation({}, _MODEL)},
        "/v2/repository/index": {"post": _operation({"type": "object"})},
    }
)
_OTHER = {"name": "model", "in": "path", "required": True, "schema": {"enum": ["other", "another"]}}
ROUTER = _schema(
    {
        **_PREDICTIONS,
        "/outcomes": {"post": _operation({"anyOf": [OUTCOME, {"type": "array", "items": OUTCOME, "maxItems": 3}]})},
        "/assignments/{model}/{unit}": {"get": _operation(None, _MODEL, {**_MODEL, "name": "unit"})},
        "/admin/routes": {"get": _operation()},
        "/admin/routes/{model}": {
            "put": _operation(
                {"type": "object", "properties": {"model": {"type": "string"}, "arms": {"type": "object"}}}, _OTHER
            ),
            "delete": _operation(None, _OTHER),
        },
    }
)
quick = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
predictor_schema = schemathesis.openapi.from_dict(PREDICTOR)
router_schema = schemathesis.openapi.from_dict(ROUTER)
for schema in (predictor_schema, router_schema):
    schema.config.phases.coverage.enabled = False  # hundreds of requests by rote; those that matter are listed here


@predictor_schema.parametrize()
@quick
def test_the_predictor_stands_every_request(case: schemathesis.Case, predictor: str) -> None:
    answer = case.call(base_url=predictor)
    _judge(answer.status_code, answer.content)


@router_schema.parametrize()
@quick
def test_the_router_stands_every_request(case: schemathesis.Case, router: str) -> None:
    answer = case.call(base_url=router, headers={"authorization": f"Bearer {TOKEN}"})
    _judge(answer.status_code, answer.content)


def _v1(instance: object, rows: int = 1) -> bytes:
    return orjson.dumps({"instances": [instance] * rows})


def _changed(**changes: object) -> bytes:
    return _v1({**INSTANCE, **changes})


def _v2(**changes: object) -> bytes:
    return orjson.dumps({"inputs": [{**TENSORS[0], **changes}, *TENSORS[1:]]})


NASTY_V1 = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"instances": [{"lcp_ms": "\xff\xfe"}]}',
    "null": b"null",
    "a list": b"[]",
    "no instances": b"{}",
    "instances of another kind": b'{"instances": {"lcp_ms": 1}}',
    "an empty batch": b'{"instances": []}',
    "an instance that is a list": _v1([1, 2, 3]),
    "NaN": b'{"instances": [{"lcp_ms": NaN, "api_ms": 1, "device": "mobile"}]}',
    "Infinity": b'{"instances": [{"lcp_ms": Infinity, "api_ms": 1, "device": "mobile"}]}',
    "a number that no float holds": b'{"instances": [{"lcp_ms": 1e999, "api_ms": 1, "device": "mobile"}]}',
    "an integer that no float holds": b'{"instances": [{"lcp_ms": 1' + b"0" * 400 + b', "api_ms": 1, "device": "m"}]}',
    "text for a number": _changed(lcp_ms="1800"),
    "a list for a number": _changed(lcp_ms=[1800.0]),
    "an object for a category": _changed(device={"kind": "mobile"}),
    "a column too few": _v1({"lcp_ms": 1.0, "device": "mobile"}),
    "a huge batch": _v1(INSTANCE, 10_001),
    "depth": b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "an oversized body": b'{"instances": [' + b" " * (33 * 2**20) + b"]}",
}
NASTY_V2 = {
    "nothing": b"",
    "no inputs": b"{}",
    "inputs of another kind": b'{"inputs": {"lcp_ms": [1]}}',
    "a shape of text": _v2(shape="one"),
    "a negative shape": _v2(shape=[-1]),
    "a shape that multiplies to more than there is": _v2(shape=[2**62, 4]),
    "a wrong width": _v2(shape=[2], data=[1.0, 2.0]),
    "two columns in one": _v2(shape=[1, 2], data=[[1.0, 2.0]]),
    "an unknown type": _v2(datatype="FP8"),
    "text for a number": _v2(data=["fast"]),
    "a number that the type has not": _v2(datatype="INT8", data=[1_000]),
    "a fraction for an integer": _v2(datatype="INT64", data=[1.5]),
    "no data": _v2(data=None),
    "data that is no list": _v2(data={"0": 1.0}),
    "a name that is no text": _v2(name=7),
    "NaN": b'{"inputs": [{"name": "lcp_ms", "datatype": "FP64", "shape": [1], "data": [NaN]}]}',
    "outputs of another kind": orjson.dumps({"inputs": TENSORS, "outputs": {"name": "act"}}),
    "an unknown output": orjson.dumps({"inputs": TENSORS, "outputs": [{"name": "other"}]}),
    "binary data that is not there": _v2(data=None, parameters={"binary_data_size": 8}),
    "a huge batch": orjson.dumps(
        {"inputs": [{**tensor, "shape": [10_001], "data": tensor["data"] * 10_001} for tensor in TENSORS]}
    ),
}
BINARY = orjson.dumps(
    {
        "inputs": [
            {"name": "lcp_ms", "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": 8}},
            *TENSORS[1:],
        ]
    }
)
LENGTHS = ["", "-1", "x", "1e3", "²", str(len(BINARY) + 9), "9" * 30, "9" * 5_000, str(len(BINARY) - 1), "0"]


@pytest.fixture(params=["predictor", "router"])
def client(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    with httpx.Client(
        base_url=request.getfixturevalue(request.param), trust_env=False, timeout=60.0, headers=headers
    ) as client:
        yield client


def test_what_is_right_is_answered(client: httpx.Client) -> None:
    for path, body in (
        ("/v1/models/shop:predict", _v1(INSTANCE)),
        ("/v1/models/shop:predict", _v1(INSTANCE, 1_000)),
        ("/v2/models/shop/infer", orjson.dumps({"inputs": TENSORS})),
    ):
        assert client.post(path, content=body).status_code == 200


@pytest.mark.parametrize("what", NASTY_V1)
def test_a_nasty_v1_body_is_refused_with_a_reason(what: str, client: httpx.Client) -> None:
    answer = client.post("/v1/models/shop:predict", content=NASTY_V1[what])
    assert 400 <= answer.status_code < 500, answer.text[:500]
    assert len(answer.json()["error"]) < 1_000
    _judge(answer.status_code, answer.content)


@pytest.mark.parametrize("what", NASTY_V2)
def test_a_nasty_v2_body_is_refused_with_a_reason(what: str, client: httpx.Client) -> None:
    answer = client.post("/v2/models/shop/infer", content=NASTY_V2[what])
    assert 400 <= answer.status_code < 500, answer.text[:500]
    assert len(answer.json()["error"]) < 1_000
    _judge(answer.status_code, answer.content)


@pytest.mark.parametrize("length", LENGTHS, ids=lambda length: repr(length)[:20])
def test_a_binary_body_that_lies_about_its_length_is_refused(length: str, client: httpx.Client) -> None:
    body = BINARY + np.array([1800.0]).tobytes()
    headers = {"inference-header-content-length": length.encode(), "content-type": b"application/octet-stream"}
    answer = client.post("/v2/models/shop/infer", content=body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text[:500]
    _judge(answer.status_code, answer.content)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/other:predict", "/v2/models/other/infer", "/v2/models/shop/versions/99/infer",
        "/v1/models/:predict", "/v1/models/%00:predict", "/v1/models/%ff%fe:predict",
        "/v2/models/../../etc/passwd/infer", "/v1/models/shop:fly",
    ],
)  # fmt: skip
def test_an_unknown_model_is_not_found(path: str, client: httpx.Client) -> None:
    answer = client.post(path, content=_v1(INSTANCE))
    assert answer.status_code in {400, 404, 405}
    _judge(answer.status_code, answer.content)


@pytest.mark.parametrize(
    "unit", [b"\xff\xfe", b"x" * 10_000, b"%00", b"-", "ünit".encode(), b"'; drop table units; --"]
)
def test_a_strange_unit_is_no_accident(unit: bytes, router: str) -> None:
    answer = httpx.post(
        f"{router}/v1/models/shop:predict", content=_v1(INSTANCE), headers={"x-trimtab-unit": unit}, trust_env=False
    )
    _judge(answer.status_code, answer.content)


RAW = {
    "a path that is no ASCII": b"GET /assignments/shop/\xff HTTP/1.1\r\n%s\r\n",
    "a query that is no ASCII": b"GET /assignments/shop/ann?device=\xff HTTP/1.1\r\n%s\r\n",
    "a model that is no ASCII": b"POST /v1/models/\xff:predict HTTP/1.1\r\n%scontent-length: 2\r\n\r\n{}",
    "no path": b"GET HTTP/1.1\r\n%s\r\n",
    "a length that is none": b"POST /v1/models/shop:predict HTTP/1.1\r\n%scontent-length: x\r\n\r\n{}",
    "two lengths": b"POST /v1/models/shop:predict HTTP/1.1\r\n%scontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a chunk that is none": b"POST /v1/models/shop:predict HTTP/1.1\r\n%stransfer-encoding: chunked\r\n\r\nzz\r\n",
    "a method that is none": b"BREW /v1/models/shop:predict HTTP/1.1\r\n%s\r\n",
    "another version of HTTP": b"GET /v1/models/shop HTTP/9.9\r\n%s\r\n",
}


@pytest.mark.parametrize("what", RAW)
def test_what_no_client_sends_is_refused(what: str, client: httpx.Client) -> None:
    fixed = b"host: a\r\nconnection: close\r\nauthorization: Bearer " + TOKEN.encode() + b"\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=60) as connection:
        connection.sendall(RAW[what] % fixed)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert not answer.startswith(b"HTTP/1.1 5"), answer[:500]
    assert b"Traceback" not in answer
