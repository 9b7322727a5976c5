"""Fewer segments hold the same events, whoever reads or dies meanwhile."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from trimtab.adapters.event_compaction import compact
from trimtab.adapters.event_stores import FolderStore
from trimtab.adapters.events import FileEventLog, SegmentEventLog
from trimtab.errors import Unavailable
from trimtab.testing.event_log import exposure


class DyingStore(FolderStore):
    """A folder that fails at the second delete, as for a process that is killed there."""

    deleted = 0

    def delete(self, key: str) -> None:
        """As of a folder, once."""
        self.deleted += 1
        if self.deleted > 1:
            raise Unavailable("the store is away.")
        super().delete(key)


@pytest.fixture
def log(tmp_path: Path) -> SegmentEventLog:
    """20 segments, with attributes of their own and an event that came twice."""
    log = FileEventLog(str(tmp_path / "log"))
    for number in range(20):
        event = exposure(f"u{number}", minutes=20 - number)
        attribute = {"device": "mobile"} if number % 2 else {"country": "DE"}
        log.append([replace(event, segments=attribute), exposure("always")])
    return log


def segments(log: SegmentEventLog) -> int:
    return sum(row.segments for row in log.contents())


def test_readers_see_the_same_events(log: SegmentEventLog) -> None:
    before = log.read("e", "exposure")
    (full,) = log.contents()
    log.compact("e", "exposure")
    (row,) = log.contents()
    assert (full.segments, full.rows) == (20, 40)
    assert (row.experiment, row.kind, row.segments, row.rows) == ("e", "exposure", 1, 21)
    assert log.read("e", "exposure").equals(before)
    assert log.service_levels("e", "exposure")["control"].requests == 21


def test_segments_that_are_large_enough_are_left_alone(log: SegmentEventLog, tmp_path: Path) -> None:
    sizes = sorted(path.stat().st_size for path in tmp_path.rglob("*.parquet"))
    compact(log.store, "e/exposure", full_bytes=2 * sizes[0])
    assert segments(log) == 20
    compact(log.store, "e/exposure", full_bytes=5 * sizes[-1])
    assert segments(log) == 4
    assert len(log.read("e", "exposure")) == 21


def test_one_segment_and_none_are_no_work(log: SegmentEventLog, tmp_path: Path) -> None:
    log.compact("nothing", "outcome")
    log.compact("e", "exposure")
    (only,) = tmp_path.rglob("*.parquet")
    log.compact("e", "exposure")
    assert list(tmp_path.rglob("*.parquet")) == [only]


def test_a_compaction_that_dies_loses_nothing(log: SegmentEventLog, tmp_path: Path) -> None:
    before = log.read("e", "exposure")
    dying = SegmentEventLog(DyingStore(tmp_path / "log"))
    with pytest.raises(Unavailable):
        dying.compact("e", "exposure")
    assert segments(log) == 20  # One of them is new and holds all.
    assert log.read("e", "exposure").equals(before)
    log.compact("e", "exposure")
    assert segments(log) == 1
    assert log.read("e", "exposure").equals(before)


def test_a_torn_segment_is_left_alone(log: SegmentEventLog, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torn = min(tmp_path.rglob("*.parquet"))
    os.truncate(torn, torn.stat().st_size // 2)
    log.compact("e", "exposure")
    (row,) = log.contents()
    assert torn.is_file()
    assert (row.segments, row.rows) == (2, 20)
    assert torn.name in caplog.text


def test_readers_and_writers_go_on_meanwhile(log: SegmentEventLog) -> None:
    def write_and_compact() -> None:
        for number in range(30):
            log.append([exposure(f"later{number}", minutes=60)])
            log.compact("e", "exposure")

    worker = threading.Thread(target=write_and_compact)
    worker.start()
    counts = []
    while worker.is_alive():
        counts += [len(log.read("e", "exposure")), log.service_levels("e", "exposure")["control"].requests]
    worker.join()
    assert min(counts) >= 21
    assert counts == sorted(counts)
    assert len(log.read("e", "exposure")) == 51
