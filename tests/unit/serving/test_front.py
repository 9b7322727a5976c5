"""The front as an ASGI app: predictions by both protocols, every refusal as a 4xx with a reason, the rest passed on."""

import asyncio
from typing import Any

import httpx
import numpy as np
import orjson
import pandas as pd
import pytest
from prometheus_client import CollectorRegistry

from serving.predictor import payload
from serving.predictor.engine import Engine
from serving.predictor.front import Front, Receive, Scope, Send
from trimtab.models.bundle import ConversionModel

ROW: dict[str, Any] = {"lcp_ms": 1800.0, "api_ms": None, "device": "mobile"}
V1, V2 = "/v1/models/shop:predict", "/v2/models/shop/infer"


async def _kserve(scope: Scope, receive: Receive, send: Send) -> None:
    """Stands for KServe's app: says what it was asked, with the body that it read."""
    message = await receive() if scope["method"] == "POST" else {}
    text = f"{scope['path']} {len(message.get('body', b''))}".encode()
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": text})


class Caller:
    """Calls the app in this process."""

    def __init__(self, app: Front) -> None:
        self._app = app

    def __call__(
        self, path: str, content: Any = None, method: str = "POST", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://predictor") as client:
                return await client.request(method, path, content=content, headers=headers)

        return asyncio.run(call())


@pytest.fixture
def call(engine: Engine) -> Caller:
    return Caller(Front(engine, _kserve))


def _v1(*rows: object) -> bytes:
    return orjson.dumps({"instances": rows})


def _v2(changes: dict[str, dict[str, Any]] | None = None, **more: Any) -> bytes:
    kinds = {"lcp_ms": "FP64", "api_ms": "FP64", "device": "BYTES"}
    tensors = {
        name: {"name": name, "shape": [1], "datatype": kinds[name], "data": [value]} for name, value in ROW.items()
    }
    for name, change in (changes or {}).items():
        tensors[name] = {**tensors[name], **change}
    return orjson.dumps({"inputs": list(tensors.values()), **more})


def test_answers_v1(call: Caller, model: ConversionModel) -> None:
    rows = [ROW, {**ROW, "lcp_ms": 9_000, "device": None}]
    answers = call(V1, _v1(*rows)).json()["predictions"]
    expected = model.act(pd.DataFrame(rows))
    np.testing.assert_allclose([answer["probability"] for answer in answers], expected.probability, atol=1e-6)
    np.testing.assert_allclose([answer["uplift"] for answer in answers], expected.uplift, atol=1e-6)
    assert [answer["act"] for answer in answers] == expected.act.tolist()
    assert [(answer["version"], answer["history"]) for answer in answers] == [(4, "absent")] * 2


def test_answers_v2_as_v1(call: Caller) -> None:
    answer = call(V2, _v2(id="mine"))
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    outputs = {output["name"]: output["data"][0] for output in document["outputs"]}
    (expected,) = call(V1, _v1(ROW)).json()["predictions"]
    assert outputs == {name: value for name, value in expected.items() if name != "history"}
    assert (document["id"], document["model_name"], document["model_version"]) == ("mine", "shop", "4")
    assert document["parameters"] == {"history": "absent"}


def test_answers_with_the_outputs_that_are_asked_for(call: Caller) -> None:
    document = call(V2, _v2(outputs=[{"name": "act"}, {"name": "probability"}])).json()
    assert [output["name"] for output in document["outputs"]] == ["act", "probability"]


def test_answers_in_binary_where_that_is_asked_for(call: Caller) -> None:
    answer = call(V2, _v2(outputs=[{"name": "act", "parameters": {"binary_data": True}}, {"name": "uplift"}]))
    length = int(answer.headers["inference-header-content-length"])
    act, uplift = orjson.loads(answer.content[:length])["outputs"]
    assert (act["parameters"], answer.content[length:]) == ({"binary_data_size": 1}, b"\x01")
    assert len(uplift["data"]) == 1


def test_the_version_may_be_named(call: Caller) -> None:
    assert call("/v2/models/shop/versions/4/infer", _v2()).status_code == 200
    assert call("/v2/models/shop/versions/4", method="GET").text == "/v2/models/shop 0"
    assert call("/v2/models/shop/versions/4/ready", method="GET").text == "/v2/models/shop/ready 0"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"instances": [{"lcp_ms": NaN}]}', "not valid JSON"),
        (b'{"instances": [{"lcp_ms": Infinity}]}', "not valid JSON"),
        (b'{"instances": [{"lcp_ms": 1e999}]}', "not valid JSON"),
        (b'{"instances": ["\xff"]}', "not valid JSON"),
        (b"[" * 5_000, "not valid JSON"),
        (b"[]", "no list 'instances'"),
        (b"null", "no list 'instances'"),
        (b'{"instances": []}', "0 instances"),
        (_v1(*[ROW] * 10_001), "10001 instances"),
        (_v1({}), "lacks 'api_ms', 'device', 'lcp_ms'"),
        (_v1([1, 2, 3]), "not an object"),
        (_v1({**ROW, "lcp_ms": "fast"}), "'lcp_ms' of instance 0 is 'fast', not a number or null"),
        (_v1({**ROW, "device": ["mobile"]}), "'device' of instance 0"),
        (_v1({**ROW, "began": "yesterday"}), "not a time"),
    ],
)
def test_a_wrong_v1_body_is_a_400_with_the_reason(body: bytes, reason: str, call: Caller) -> None:
    answer = call(V1, body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert reason in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", "no list 'inputs'"),
        (b'{"inputs": {}}', "no list 'inputs'"),
        (b'{"inputs": [5]}', "not a tensor with a name"),
        (b'{"inputs": [{"name": "lcp_ms"}]}', "no list 'shape'"),
        (b'{"inputs": []}', "lacks 'api_ms', 'device', 'lcp_ms'"),
        (_v2({"lcp_ms": {"shape": [2, 2], "data": [1, 2, 3, 4]}}), "'lcp_ms' has shape [2, 2]"),
        (_v2({"lcp_ms": {"shape": []}}), "'lcp_ms' has shape []"),
        (_v2({"lcp_ms": {"shape": ["1"]}}), "'lcp_ms' has shape"),
        (_v2({"lcp_ms": {"shape": [-1]}}), "'lcp_ms' has shape"),
        (_v2({"lcp_ms": {"shape": [3]}}), "'lcp_ms' has shape [3] but 1 values"),
        (_v2({"lcp_ms": {"shape": [2], "data": [1, 2]}}), "values where others have"),
        (_v2({"lcp_ms": {"datatype": "FP128"}}), "'lcp_ms' has datatype 'FP128'"),
        (_v2({"lcp_ms": {"datatype": ["FP64"]}}), "datatype"),
        (_v2({"lcp_ms": {"datatype": "FP16"}}), "FP16"),
        (_v2({"lcp_ms": {"datatype": "BYTES", "data": ["fast"]}}), "not a number"),
        (_v2({"lcp_ms": {"data": ["fast"]}}), "'lcp_ms' of FP64 holds 'fast'"),
        (_v2({"lcp_ms": {"datatype": "INT64", "data": [1.5]}}), "'lcp_ms' of INT64 holds 1.5"),
        (_v2({"lcp_ms": {"data": [[1, 2]]}}), "'lcp_ms' of FP64 holds [1, 2]"),
        (_v2({"lcp_ms": {"data": 1}}), "no list 'data'"),
        (_v2({"lcp_ms": {"data": None}}), "neither 'data' nor a 'binary_data_size'"),
        (_v2({"lcp_ms": {"name": "api_ms"}}), "'api_ms' is there twice"),
        (_v2(outputs=[{"name": "absent"}]), "no output 'absent'"),
        (_v2(outputs=[5]), "has no name"),
        (_v2(outputs=5), "not a list"),
        (_v2(parameters=5), "'parameters' is not an object"),
        (_v2(id=5), "'id' is not text"),
    ],
)
def test_a_wrong_v2_body_is_a_400_with_the_reason(body: bytes, reason: str, call: Caller) -> None:
    answer = call(V2, body)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


def _binary(sizes: dict[str, object], tail: bytes, kind: str = "FP64") -> tuple[bytes, dict[str, str]]:
    kinds = {"lcp_ms": kind, "api_ms": "FP64", "device": "BYTES"}
    tensors = [
        {"name": name, "shape": [1], "datatype": kinds[name], "parameters": {"binary_data_size": size}}
        for name, size in sizes.items()
    ]
    head = orjson.dumps({"inputs": tensors})
    return head + tail, {"Inference-Header-Content-Length": str(len(head))}


TAIL = np.array([1800.0, np.nan]).tobytes() + b"\x06\x00\x00\x00mobile"


def test_reads_binary_tensors(call: Caller) -> None:
    body, headers = _binary({"lcp_ms": 8, "api_ms": 8, "device": 10}, TAIL)
    answer = call(V2, body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"] == call(V2, _v2()).json()["outputs"]


@pytest.mark.parametrize(
    ("sizes", "tail", "kind", "reason"),
    [
        ({"lcp_ms": 7, "api_ms": 9, "device": 10}, TAIL, "FP64", "takes 8 bytes, not 7"),
        ({"lcp_ms": 8, "api_ms": 8, "device": 10}, TAIL, "FP32", "takes 4 bytes, not 8"),
        ({"lcp_ms": 8, "api_ms": 8, "device": 11}, TAIL, "FP64", "'binary_data_size' that fits"),
        ({"lcp_ms": -8, "api_ms": 8, "device": 10}, TAIL, "FP64", "'binary_data_size' that fits"),
        ({"lcp_ms": "8", "api_ms": 8, "device": 10}, TAIL, "FP64", "'binary_data_size' that fits"),
        ({"lcp_ms": 8, "api_ms": 8, "device": 9}, TAIL, "FP64", "longer than the tensor's bytes"),
        ({"lcp_ms": 8, "api_ms": 8, "device": 10}, TAIL + b"x", "FP64", "belong to no tensor"),
        ({"lcp_ms": 8, "api_ms": 8, "device": 10}, TAIL[:-6] + b"\xff" * 6, "FP64", "not UTF-8"),
        ({"lcp_ms": 8, "api_ms": 8, "device": 14}, TAIL + b"\x00" * 4, "FP64", "shape [1] but"),
        ({"lcp_ms": 8, "api_ms": 8, "device": 10}, np.array([np.inf]).tobytes() + TAIL[8:], "FP64", "infinite"),
    ],
)
def test_wrong_bytes_are_a_400_with_the_reason(
    sizes: dict[str, object], tail: bytes, kind: str, reason: str, call: Caller
) -> None:
    body, headers = _binary(sizes, tail, kind)
    answer = call(V2, body, headers=headers)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("length", ["x", "-1", "99999999", "9" * 5_000, ""])
def test_a_wrong_length_of_the_json_is_a_400(length: str, call: Caller) -> None:
    answer = call(V2, _v2(), headers={"Inference-Header-Content-Length": length})
    assert answer.status_code == 400
    assert "Inference-Header-Content-Length" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("POST", "/v1/models/absent:predict", 404, "no model 'absent'"),
        ("POST", "/v2/models/absent/infer", 404, "no model 'absent'"),
        ("GET", "/v2/models/absent/ready", 404, "no model 'absent'"),
        ("POST", "/v2/models/shop/versions/5/infer", 404, "served at version 4"),
        ("GET", "/v2/models/shop/versions/5", 404, "served at version 4"),
        ("POST", "/v1/models/shop:explain", 404, "no explanations"),
        ("POST", "/v2/repository/models/shop/unload", 403, "one version"),
    ],
)
def test_what_is_not_there_is_told(method: str, path: str, status: int, reason: str, call: Caller) -> None:
    answer = call(path, b"{}" if method == "POST" else None, method=method)
    assert answer.status_code == status
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("path", [V1, V2, "/v2/repository/models/shop/load"])
def test_a_body_that_is_too_large_is_a_413(path: str, call: Caller) -> None:
    answer = call(path, b"x" * (payload.MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert "larger than 32 MiB" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/v2/health/ready", {}),
        ("GET", V1, {}),
        ("POST", "/v2/repository/models/shop/load", {}),
        ("POST", V1, {"ce-specversion": "1.0"}),
        ("POST", V1, {"content-type": "application/cloudevents+json"}),
    ],
)
def test_the_rest_is_kserves(method: str, path: str, headers: dict[str, str], call: Caller) -> None:
    answer = call(path, b"abc" if method == "POST" else None, method=method, headers=headers)
    assert (answer.status_code, answer.text) == (299, f"{path} {3 if method == 'POST' else 0}")


def test_a_failure_of_ours_is_a_500_without_its_traceback(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    engine._model = None  # type: ignore[assignment]
    answer = Caller(Front(engine, _kserve))(V1, _v1(ROW))
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server failed; its log says why."}


def test_counts_requests_by_protocol_and_status(call: Caller, registry: CollectorRegistry) -> None:
    call(V1, _v1(ROW, ROW))
    call(V1, b"")
    call(V2, _v2())
    for protocol, status, count in (("v1", "2xx", 1), ("v1", "4xx", 1), ("v2", "2xx", 1), ("v2", "4xx", 0)):
        labels = {"protocol": protocol, "status": status}
        assert registry.get_sample_value("trimtab_predictor_requests_total", labels) == count
    assert registry.get_sample_value("trimtab_predictor_rows_sum", {"protocol": "v1"}) == 2
    text = call("/metrics", method="GET")
    assert 'trimtab_predictor_model_info{model="shop",version="4"} 1.0' in text.text
