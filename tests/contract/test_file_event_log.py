"""Parquet segments satisfy the event log's contract, and survive what files suffer."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.adapters.events import FileEventLog
from trimtab.errors import BadInput
from trimtab.testing.event_log import EventLogContract, exposure

_KILLED_WRITER = """
import os, signal, sys
import pyarrow.parquet as pq
from trimtab.adapters.events import FileEventLog
from trimtab.testing.event_log import exposure

log = FileEventLog(sys.argv[1])
log.append([exposure("kept")])
write = pq.write_table
def write_and_die(table, file, **options):
    write(table, file, **options)
    os.kill(os.getpid(), signal.SIGKILL)
pq.write_table = write_and_die
log.append([exposure("lost")])
"""


class TestFileEventLog(EventLogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> FileEventLog:
        return FileEventLog(f"file://{tmp_path}/the%20events")


def test_decodes_the_uri(tmp_path: Path) -> None:
    FileEventLog(f"file://{tmp_path}/the%20events").append([exposure("u1")])
    assert (tmp_path / "the events").is_dir()


def test_refuses_another_scheme() -> None:
    with pytest.raises(BadInput, match="scheme 's3'"):
        FileEventLog("s3://bucket/events")


def test_a_writer_killed_before_the_rename_leaves_the_log_whole(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED_WRITER, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert FileEventLog(str(tmp_path)).read("e", "exposure")["unit"].tolist() == ["kept"]


def test_leaves_out_a_torn_segment_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = FileEventLog(str(tmp_path))
    log.append([exposure("u1")])
    log.append([exposure("u2", minutes=1)])
    segment = sorted(tmp_path.rglob("*.parquet"))[1]
    os.truncate(segment, segment.stat().st_size // 2)
    with caplog.at_level(logging.WARNING):
        assert log.read("e", "exposure")["unit"].tolist() == ["u1"]
    assert segment.name in caplog.text


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    first, second = FileEventLog(str(tmp_path)), FileEventLog(str(tmp_path))
    for number in range(10):
        first.append([exposure(f"a{number}")])
        second.append([exposure(f"b{number}")])
    assert len(first.read("e", "exposure")) == 20


def test_names_its_experiments(tmp_path: Path) -> None:
    log = FileEventLog(str(tmp_path))
    log.append([exposure("u1", experiment="b/c"), exposure("u1", experiment="..")])
    assert log.experiments() == ("..", "b/c")


def test_a_large_batch_is_one_segment(tmp_path: Path) -> None:
    log = FileEventLog(str(tmp_path))
    log.append(exposure(f"u{number}", device="mobile") for number in range(20_000))
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    assert log.read("e", "exposure")["device"].eq("mobile").sum() == 20_000
