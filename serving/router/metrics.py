"""What the router counts, for Prometheus. Right with several workers where `PROMETHEUS_MULTIPROC_DIR` is set."""

from functools import cache

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from serving.metrics import shown
from serving.router.http import Reply

_LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

REQUESTS = Counter("trimtab_router_requests", "Predictions asked for, by the arm assigned.", ["model", "arm", "status"])
LATENCY = Histogram(
    "trimtab_router_latency_seconds", "Time within the router, its arms included.", ["model"], buckets=_LATENCY_BUCKETS
)
FALLBACKS = Counter("trimtab_router_fallbacks", "Answers by another arm, by reason.", ["model", "arm", "reason"])
UNASSIGNED = Counter(
    "trimtab_router_unassigned", "Requests in no arm of an experiment, by reason.", ["model", "reason"]
)
EXPOSURES = Counter("trimtab_router_exposures", "Exposures handed to the event log.", ["model", "arm"])
SHADOWS = Counter("trimtab_router_shadows", "Shadow requests, by what became of them.", ["model", "result"])
OUTCOMES = Counter("trimtab_router_outcomes", "Outcomes from apps, by what became of them.", ["result"])
BROKEN_ROUTES = Gauge(
    "trimtab_router_broken_routes", "Routes whose newest document is broken.", multiprocess_mode="livemax"
)


_counted: dict[tuple[Counter, tuple[str, ...]], int] = {}


def count(metric: Counter, *labels: str, times: int = 1) -> None:
    """Count; kept in memory until `publish`, because a shared counter costs twenty times as much to add to."""
    key = (metric, labels)
    _counted[key] = _counted.get(key, 0) + times


def publish() -> None:
    """Make what was counted visible to all workers' readers."""
    while _counted:
        (metric, labels), times = _counted.popitem()
        metric.labels(*labels).inc(times)


@cache
def _histogram(metric: Histogram, model: str) -> Histogram:
    return metric.labels(model)


def observe(metric: Histogram, model: str, value: float) -> None:
    """Add a measurement of a model."""
    _histogram(metric, model).observe(value)


def exposition() -> Reply:
    """All metrics of all workers, in Prometheus' text format; what others counted is as old as their last `publish`."""
    publish()
    return Reply(200, [(b"content-type", CONTENT_TYPE_LATEST.encode())], generate_latest(shown()))
