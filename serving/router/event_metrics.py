"""How the writer of the event log fares, for Prometheus: what waits, what was written and what was lost."""

import asyncio
from typing import Protocol

from prometheus_client import Counter, Gauge

EVENTS = Counter("trimtab_router_events", "Events by what became of them: flushed, spooled or dropped.", ["result"])
QUEUED = Gauge("trimtab_router_events_queued", "Events in memory.", multiprocess_mode="livesum")
# Workers share the spool, so each sees all of it.
SPOOL = Gauge("trimtab_router_spool_bytes", "Bytes that wait in the spool.", multiprocess_mode="livemax")

_SECONDS = 1.0


class Ledger(Protocol):
    """What a writer says of itself; counts only grow."""

    @property
    def queued(self) -> int:
        """Events in memory."""
        ...

    @property
    def flushed(self) -> int:
        """Events made durable."""
        ...

    @property
    def spooled(self) -> int:
        """Those among them that went to the spool at first."""
        ...

    @property
    def dropped(self) -> int:
        """Events that there was no room for."""
        ...

    @property
    def spool_bytes(self) -> int:
        """Size of what waits in the spool."""
        ...


class EventMetrics:
    """Copies a writer's counts to the metrics of its process.

    Args:
        writer: The writer.
    """

    def __init__(self, writer: Ledger) -> None:
        self._writer = writer
        self._seen = {"flushed": 0, "spooled": 0, "dropped": 0}

    def publish(self) -> None:
        """Bring the metrics up to date."""
        writer = self._writer
        now = {"flushed": writer.flushed, "spooled": writer.spooled, "dropped": writer.dropped}
        for result, count in now.items():
            EVENTS.labels(result).inc(count - self._seen[result])
        self._seen = now
        QUEUED.set(writer.queued)
        SPOOL.set(writer.spool_bytes)

    async def watch(self) -> None:
        """Publish every second until cancelled."""
        while True:
            self.publish()
            await asyncio.sleep(_SECONDS)
