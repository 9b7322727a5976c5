"""Writes events off the hot path: `put` appends to memory, a thread makes segments of it once a second.

What a flush has written survives the process: it lies in the log, or in the spool where the log did not take it. A
process that is killed loses what it was given since its last flush began, and nothing else.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self
from weakref import WeakSet

from trimtab.adapters.event_segments import check
from trimtab.adapters.event_spool import Spool
from trimtab.adapters.events import Segment, SegmentEventLog, segments
from trimtab.errors import BadInput
from trimtab.types import Event

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 30.0  # Seconds between two attempts to reach a log that is away.


class BufferedEventLog:
    """A writer that never makes its caller wait.

    The thread starts with the first event. A process that was forked has a thread and a memory of its own, which are
    empty. Close the writer, or use it as a context, so that nothing is left in memory.

    Args:
        sink: The log.
        spool: Folder of this machine for segments that the log does not take; what another process left there moves
            on too.
        flush_seconds: Longest time that an event stays in memory while the disk keeps up.
        flush_events: So many events are flushed at once, without waiting.
        queue_events: With so many events in memory, further ones are dropped, counted and logged.
        spool_bytes: With so many bytes in the spool, further segments are dropped, counted and logged.
        clock: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        sink: SegmentEventLog,
        *,
        spool: Path,
        flush_seconds: float = 1.0,
        flush_events: int = 5_000,
        queue_events: int = 100_000,
        spool_bytes: int = 256 << 20,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store = sink.store
        self._spool = Spool(spool, limit_bytes=spool_bytes)
        self._flush_seconds = flush_seconds
        self._flush_events = flush_events
        self._queue_events = queue_events
        self._clock = clock
        self._pause = flush_seconds
        self._begin()
        _WRITERS.add(self)

    def _begin(self) -> None:
        """State that belongs to one process."""
        self._queue: deque[Event] = deque()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._counting = threading.Lock()
        self._flushing = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._retry_at = self._clock() if self._spool.backlog() else None  # None while the log takes segments.
        self._flushed = self._spooled = self._dropped = 0
        self._last_flush = self._clock()

    def put(self, event: Event) -> bool:
        """Take an event, without waiting for anything.

        Args:
            event: The event.

        Returns:
            Whether it was taken; one that was not is counted as dropped.

        Raises:
            BadInput: It lacks an id, experiment, unit or time zone, or a segment is named like an event field.
        """
        check(event)
        waiting = len(self._queue)
        if waiting >= self._queue_events:
            self._drop(1, "the log is too slow")
            return False
        self._queue.append(event)
        if waiting + 1 >= self._flush_events and not self._wake.is_set():
            self._wake.set()
        if self._thread is None:
            self._start()
        return True

    def flush(self) -> None:
        """Write what was put before; it is in the log or in the spool on return, or counted as dropped."""
        with self._flushing:
            for segment in self._taken():
                self._write(segment)
            self._drain()
            self._last_flush = self._clock()

    def close(self) -> None:
        """Flush, and stop the thread; a later `put` starts it again."""
        with self._starting:
            thread, self._thread = self._thread, None
            self._closing = True
            self._wake.set()
            if thread is not None:
                thread.join()
            self._closing = False
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def queued(self) -> int:
        """Events in memory."""
        return len(self._queue)

    @property
    def flushed(self) -> int:
        """Events that this writer made durable, in the log or in the spool."""
        return self._flushed

    @property
    def spooled(self) -> int:
        """Those among them that went to the spool at first."""
        return self._spooled

    @property
    def dropped(self) -> int:
        """Events that neither the log nor memory or spool had room for."""
        return self._dropped

    @property
    def spool_bytes(self) -> int:
        """Size of what waits in the spool, as of the last look."""
        return self._spool.bytes

    @property
    def last_flush_age(self) -> float:
        """Seconds since a flush last ended."""
        return self._clock() - self._last_flush

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._flush_seconds)
            self._wake.clear()
            try:
                self.flush()
            except Exception:
                _log.exception("event log: a flush failed")

    def _taken(self) -> list[Segment]:
        """What is in memory, as segments; an event that cannot be stored costs only itself."""
        events = [self._queue.popleft() for _ in range(len(self._queue))]
        try:
            return segments(events)
        except BadInput:
            good = [event for event in events if self._storable(event)]
            return segments(good)

    def _storable(self, event: Event) -> bool:
        try:
            segments([event])
        except BadInput as error:
            self._drop(1, str(error))
            return False
        return True

    def _write(self, segment: Segment) -> None:
        """To the log; behind what waits in the spool where there is any."""
        if self._retry_at is None:
            try:
                self._store.write(segment.key, segment.payload)
            except Exception as error:  # whatever a store raises, the events are at hand only here
                self._away(error)
            else:
                self._flushed += segment.events
                return
        self._spool_or_drop(segment)

    def _spool_or_drop(self, segment: Segment) -> None:
        try:
            kept, reason = self._spool.put(segment), "the spool is full"
        except OSError as error:
            kept, reason = False, f"the spool fails: {error}"
        if kept:
            self._flushed += segment.events
            self._spooled += segment.events
        else:
            self._drop(segment.events, reason)

    def _drain(self) -> None:
        """Move on what waits, for no longer than a flush may take, unless the log was away a moment ago."""
        started = self._clock()
        if self._retry_at is None or started < self._retry_at:
            return
        try:
            empty = self._spool.drain(self._store, enough=lambda: self._clock() - started > self._flush_seconds)
        except Exception as error:  # as in `_write`; what waits stays where it is
            self._away(error)
            return
        self._pause = self._flush_seconds
        if empty:
            self._retry_at = None

    def _away(self, error: Exception) -> None:
        _log.warning("event log: segments go to the spool for %.0f s: %s", self._pause, error)
        self._retry_at = self._clock() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _drop(self, events: int, reason: str) -> None:
        with self._counting:
            first, self._dropped = not self._dropped, self._dropped + events
        if first:
            _log.error("event log: events are dropped from now on: %s", reason)


_WRITERS: WeakSet[BufferedEventLog] = WeakSet()


def _after_fork() -> None:
    for writer in list(_WRITERS):
        writer._begin()


os.register_at_fork(after_in_child=_after_fork)
