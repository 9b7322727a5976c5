from dataclasses import dataclass

from prometheus_client import REGISTRY

from serving.router.event_metrics import EventMetrics


@dataclass
class Writer:
    """A writer that says what a test tells it to."""

    queued: int = 0
    flushed: int = 0
    spooled: int = 0
    dropped: int = 0
    spool_bytes: int = 0


def _count(result: str) -> float:
    return REGISTRY.get_sample_value("trimtab_router_events_total", {"result": result}) or 0.0


def test_counts_grow_by_what_came_since() -> None:
    writer = Writer(queued=3, flushed=10, spooled=4, dropped=1, spool_bytes=512)
    metrics = EventMetrics(writer)
    before = {result: _count(result) for result in ("flushed", "spooled", "dropped")}
    metrics.publish()
    metrics.publish()
    writer.flushed, writer.queued, writer.spool_bytes = 25, 0, 0
    metrics.publish()
    grown = {result: _count(result) - value for result, value in before.items()}
    assert grown == {"flushed": 25, "spooled": 4, "dropped": 1}
    assert REGISTRY.get_sample_value("trimtab_router_events_queued") == 0
    assert REGISTRY.get_sample_value("trimtab_router_spool_bytes") == 0
