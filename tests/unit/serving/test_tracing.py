import asyncio
import subprocess
import sys

import httpx
import orjson
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving.predictor.engine import Engine
from serving.predictor.front import Front, Receive, Scope, Send
from serving.predictor.tracing import Tracing, tracing_to
from trimtab.errors import BadInput

BODY = orjson.dumps({"instances": [{"lcp_ms": 1.0, "api_ms": None, "device": "mobile"}]})
TRACE = "0af7651916cd43dd8448eb211c80319c"


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError(scope["path"])


def _post(front: Front, body: bytes) -> httpx.Response:
    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app=front)
        async with httpx.AsyncClient(transport=transport, base_url="http://predictor") as client:
            headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
            return await client.post("/v1/models/shop:predict", content=body, headers=headers)

    return asyncio.run(post())


def test_a_prediction_is_a_span_below_the_callers(engine: Engine) -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing("shop", 4, exporter=exporter)
    front = Front(engine, _nothing, tracing=tracing)
    assert _post(front, BODY).status_code == 200
    assert _post(front, b"").status_code == 400
    tracing.close()
    good, bad = exporter.get_finished_spans()
    assert good.name == "predict"
    assert good.parent is not None
    assert f"{good.parent.trace_id:032x}" == TRACE
    assert dict(good.attributes or {}) == {
        "trimtab.protocol": "v1",
        "trimtab.model": "shop",
        "trimtab.version": 4,
        "http.response.status_code": 200,
    }
    assert bad.status.description is not None
    assert "not valid JSON" in bad.status.description


def test_traces_nothing_unless_a_collector_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert tracing_to("", model="shop", version=4) is None


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(BadInput, match=r"opentelemetry-exporter-otlp-proto-http"):
        tracing_to("http://127.0.0.1:4318", model="shop", version=4)


def test_nothing_of_it_is_imported_without() -> None:
    code = (
        "import sys, serving.predictor.front; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
