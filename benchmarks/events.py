"""The event log: what a request pays for it, what a flush costs, and how fast an analysis reads it.

    python -m benchmarks.events [EVENTS]

The other side is what a user would write: each event as one JSON line (orjson) in a buffered file that is synced once a
second, read by DuckDB. Times are CPU time of the process (or of the putting thread), so that a busy machine matters
less; both sides get the same events in the same run, and must answer the same query alike.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson

from trimtab.adapters.event_buffer import BufferedEventLog
from trimtab.adapters.events import FileEventLog, segments
from trimtab.types import Event

START = datetime(2026, 3, 1, tzinfo=UTC)
LINES = "a JSON line per event, synced each second"
SEGMENT = 5_000  # Events per flush, as a router's writer does at that rate.
SMALL_SEGMENTS = 10_000
_QUERY = """
SELECT arm, count(DISTINCT unit), count(*) FILTER (fallback <> ''), sum((probability * 1e9)::BIGINT)
FROM {} GROUP BY arm ORDER BY arm
"""


def main(events: int = 1_000_000) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = [*_write(folder, _events(events)), *_read(folder, events), *_small_segments(folder)]
    for row in results:
        print(f"{row['name']}: {row['ours']} {row['unit']} against {row['theirs']}, {row['ratio']}x")
    return results


def _events(number: int) -> list[Event]:
    rng = np.random.default_rng(7)
    probabilities, latencies = rng.random(number).tolist(), rng.gamma(4, 2, number).tolist()
    devices = rng.choice(["mobile", "desktop", "tablet"], number).tolist()
    return [
        Event(
            id=f"{place:032x}",
            kind="exposure",
            experiment="checkout",
            unit=f"user-{place % (number // 3 + 1):08d}",
            time=START + timedelta(microseconds=517 * place),
            arm=("control", "treatment")[place % (number // 3 + 1) % 2],
            version="3",
            segments={"device": devices[place]},
            latency_ms=latencies[place],
            probability=probabilities[place],
        )
        for place in range(number)
    ]


def _write(folder: Path, events: list[Event]) -> list[dict[str, Any]]:
    log = FileEventLog(str(folder / "log"))
    with BufferedEventLog(log, spool=folder / "spool", flush_seconds=3_600, queue_events=SEGMENT + 1) as writer:
        put, flushed = _timed(events, put=writer.put, flush=writer.flush)
        assert (writer.flushed, writer.dropped) == (len(events), 0)
    with (folder / "lines.jsonl").open("wb") as file:

        def append(event: Event) -> None:
            file.write(orjson.dumps(event) + b"\n")

        def sync() -> None:
            file.flush()
            os.fsync(file.fileno())

        line, synced = _timed(events, put=append, flush=sync)
    return [
        _row("Put an event, on the request's thread", put, line, LINES, "us"),
        _row("Put and flush an event", put + flushed, line + synced, LINES, "us"),
        _row("Size of an event", _bytes(folder / "log") / len(events), _bytes(folder / "lines.jsonl") / len(events),
             "a JSON line per event", "bytes"),
    ]  # fmt: skip


def _timed(events: list[Event], *, put: Callable[[Event], object], flush: Callable[[], None]) -> tuple[float, float]:
    """Microseconds of CPU per event: to put it, and to flush it."""
    putting = flushing = 0.0
    for start in range(0, len(events), SEGMENT):
        began = time.thread_time()
        for event in events[start : start + SEGMENT]:
            put(event)
        putting += time.thread_time() - began
        began = time.process_time()
        flush()
        flushing += time.process_time() - began
    return putting / len(events) * 1e6, flushing / len(events) * 1e6


def _read(folder: Path, events: int) -> list[dict[str, Any]]:
    log = FileEventLog(str(folder / "log"))
    stored = f"read_parquet('{log.location('checkout', 'exposure')}', union_by_name = true)"
    ours, found = _seconds(lambda: _query(stored))
    theirs, wanted = _seconds(lambda: _query(f"read_json('{folder / 'lines.jsonl'}', format = 'newline_delimited')"))
    assert found == wanted
    log.compact("checkout", "exposure")
    compacted, again = _seconds(lambda: _query(stored))
    assert again == wanted
    levels, _ = _seconds(lambda: log.service_levels("checkout", "exposure"))
    name, theirs_is = f"{events:,} events by DuckDB", "the same by DuckDB from JSON lines"
    return [
        _row(f"Count units by arm, {name}", ours, theirs, theirs_is, "s"),
        _row(f"Count units by arm, {name}, compacted", compacted, theirs, theirs_is, "s"),
        _row(f"Service levels, {name}, compacted", levels, theirs, "counting units by arm from JSON lines", "s"),
    ]


def _small_segments(folder: Path) -> list[dict[str, Any]]:
    log = FileEventLog(str(folder / "small"))
    place = folder / "small" / "checkout" / "exposure"
    place.mkdir(parents=True)
    for event in _events(SMALL_SEGMENTS):  # As a quiet router writes them, but without a sync each.
        (segment,) = segments([event])
        (folder / "small" / segment.key).write_bytes(segment.payload)
    many, wanted = _seconds(lambda: log.read("checkout", "exposure"), times=1)
    levels_of_many, _ = _seconds(lambda: log.service_levels("checkout", "exposure"), times=1)
    began = time.process_time()
    log.compact("checkout", "exposure")
    compaction = time.process_time() - began
    few, found = _seconds(lambda: log.read("checkout", "exposure"))
    levels_of_few, _ = _seconds(lambda: log.service_levels("checkout", "exposure"))
    assert found.equals(wanted)
    print(f"compacting {SMALL_SEGMENTS:,} segments took {compaction:.2f} s of CPU")
    theirs_is = f"before compaction, {SMALL_SEGMENTS:,} segments"
    return [
        _row("Read the log after compaction", few, many, theirs_is, "s"),
        _row("Service levels after compaction", levels_of_few, levels_of_many, theirs_is, "s"),
    ]


def _query(source: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        return connection.execute(_QUERY.format(source)).fetchall()


def _seconds(run: Callable[[], Any], *, times: int = 3) -> tuple[float, Any]:
    """The least CPU time of some runs, and what they gave."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        result = run()
        taken.append(time.process_time() - began)
    return min(taken), result


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*.parquet")))


def _row(name: str, ours: float, theirs: float, theirs_is: str, unit: str) -> dict[str, Any]:
    return {
        "name": f"Event log: {name}",
        "ours": float(f"{ours:.3g}"),
        "theirs": float(f"{theirs:.3g}"),
        "theirs_is": theirs_is,
        "unit": f"{unit} of CPU" if unit != "bytes" else unit,
        "ratio": float(f"{theirs / ours:.2g}"),
    }


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
