"""Prometheus metrics of a predictor, right with one process and with several.

With several workers, `PROMETHEUS_MULTIPROC_DIR` has to be set before `prometheus_client` is first imported; the
supervisor of the workers sets it for them, and every worker then answers `/metrics` for all.
"""

from collections.abc import Sequence
from typing import Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from serving.metrics import shown

Protocol = Literal["v1", "v2", "grpc"]
HistorySource = Literal["request", "store", "new", "absent"]

_SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_ROWS = (1, 2, 5, 10, 50, 100, 1_000, 10_000)


class Metrics:
    """What a predictor counts. Children are looked up once: a look-up costs more than the counting.

    Args:
        model: Name of the model.
        version: Version in the registry.
        registry: Where the metrics are registered.
    """

    def __init__(self, model: str, version: int, *, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        requests = Counter(
            "trimtab_predictor_requests", "Requests answered.", ("protocol", "status"), registry=registry
        )
        seconds = Histogram(
            "trimtab_predictor_request_seconds",
            "Seconds from a request's body to its answer.",
            ("protocol",),
            buckets=_SECONDS,
            registry=registry,
        )
        rows = Histogram(
            "trimtab_predictor_rows", "Instances of a request.", ("protocol",), buckets=_ROWS, registry=registry
        )
        protocols: tuple[Protocol, ...] = ("v1", "v2", "grpc")
        self._requests = {
            (protocol, status): requests.labels(protocol, f"{status}xx")
            for protocol in protocols
            for status in (2, 4, 5)
        }
        self._seconds = {protocol: seconds.labels(protocol) for protocol in protocols}
        self._rows = {protocol: rows.labels(protocol) for protocol in protocols}
        history = Counter(
            "trimtab_predictor_history", "Instances by where their history came from.", ("source",), registry=registry
        )
        sources: tuple[HistorySource, ...] = ("request", "store", "new", "absent")
        self._history = {source: history.labels(source) for source in sources}
        self._stale = Counter(
            "trimtab_predictor_history_stale",
            "Instances whose unit's history is older than the bound.",
            registry=registry,
        )
        self._reads = Histogram(
            "trimtab_predictor_history_read_seconds",
            "Seconds that a request waited for its history.",
            buckets=_SECONDS,
            registry=registry,
        )
        failures = Counter(
            "trimtab_predictor_history_missing", "Requests whose history did not come.", ("reason",), registry=registry
        )
        self._timeouts, self._failures = failures.labels("timeout"), failures.labels("failure")
        self._unlogged = Counter(
            "trimtab_predictor_feature_log_dropped", "Records that the feature log had no room for.", registry=registry
        )
        Gauge(
            "trimtab_predictor_model_info",
            "The version that is served.",
            ("model", "version"),
            multiprocess_mode="max",
            registry=registry,
        ).labels(model, str(version)).set(1)

    def answered(self, protocol: Protocol, *, status: int, seconds: float) -> None:
        """Count a request by the class of its HTTP status (or what a gRPC status would be)."""
        self._requests[protocol, status // 100].inc()
        self._seconds[protocol].observe(seconds)

    def batch(self, protocol: Protocol, rows: int) -> None:
        """Count the instances of a request."""
        self._rows[protocol].observe(rows)

    def sources(self, sources: Sequence[HistorySource]) -> None:
        """Count instances by where their history came from."""
        for source in set(sources):
            self._history[source].inc(sources.count(source))

    def stale(self, count: int) -> None:
        """Count instances with an old history."""
        self._stale.inc(count)

    def read(self, seconds: float) -> None:
        """Count a read of histories that came in time."""
        self._reads.observe(seconds)

    def read_failed(self, *, timed_out: bool) -> None:
        """Count a read of histories that did not."""
        (self._timeouts if timed_out else self._failures).inc()

    def unlogged(self) -> None:
        """Count a record that the feature log dropped."""
        self._unlogged.inc()

    def text(self) -> tuple[bytes, str]:
        """All metrics of all workers in Prometheus' text format, and its content type."""
        return generate_latest(shown(self._registry)), CONTENT_TYPE_LATEST
