"""Spans of predictions by OpenTelemetry, where it is asked for and installed; nothing is imported otherwise."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from trimtab.errors import BadInput

ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Tracing:
    """Makes a span of each prediction, as a child of the caller's where its headers name one.

    Args:
        model: Name of the model.
        version: Version in the registry.
        exporter: Where finished spans go: an OpenTelemetry `SpanExporter`.
    """

    def __init__(self, model: str, version: int, *, exporter: Any) -> None:
        from opentelemetry.propagate import extract
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind

        self._provider = TracerProvider(resource=Resource.create({"service.name": "trimtab-predictor"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("trimtab.predictor")
        self._extract = extract
        self._kind = SpanKind.SERVER
        self._model = model
        self._version = version

    def span(self, protocol: str, headers: Mapping[bytes, bytes]) -> AbstractContextManager[Any]:
        """A span that is open while the block runs, and records what it raises.

        Args:
            protocol: `v1`, `v2` or `grpc`.
            headers: The caller's; `traceparent` among them names the caller's span.
        """
        carrier = {
            name.decode(): headers[name].decode("latin-1")
            for name in (b"traceparent", b"tracestate")
            if name in headers
        }
        attributes = {
            "trimtab.protocol": protocol,
            "trimtab.model": self._model,
            "trimtab.version": self._version,
        }
        context = self._extract(carrier)
        span: AbstractContextManager[Any] = self._tracer.start_as_current_span(
            "predict", context=context, kind=self._kind, attributes=attributes
        )
        return span

    def close(self) -> None:
        """Hand over the spans that wait."""
        self._provider.shutdown()


def tracing_to(endpoint: str, *, model: str, version: int) -> Tracing | None:
    """Tracing to a collector; None where none is named by the option or by `OTEL_EXPORTER_OTLP_ENDPOINT`.

    Args:
        endpoint: The collector's OTLP address over HTTP; empty to go by the variable.
        model: Name of the model.
        version: Version in the registry.

    Raises:
        BadInput: A collector is named, and the SDK or its exporter is not installed.
    """
    if not (endpoint or os.environ.get(ENDPOINT_VARIABLE)):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise BadInput(
            f"traces were asked for, and a package is missing: {error}.",
            remedy="Install opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http.",
        ) from error
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces") if endpoint else OTLPSpanExporter()
    return Tracing(model, version, exporter=exporter)
