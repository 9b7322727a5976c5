"""Parquet segments satisfy the event log's contract, and survive what files suffer."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trimtab.adapters.event_levels import connected
from trimtab.adapters.events import FileEventLog, open_event_log
from trimtab.errors import BadInput
from trimtab.testing.event_log import NOW, EventLogContract, exposure

_KILLED_WRITER = """
import os, signal, sys
from datetime import UTC, datetime
from trimtab.adapters.events import FileEventLog
from trimtab.types import Event

def exposure(unit):
    return Event(unit, "exposure", "e", unit, datetime.now(UTC), "control")

log = FileEventLog(sys.argv[1])
log.append([exposure("kept")])
sync = os.fsync
def sync_and_die(descriptor):
    sync(descriptor)
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = sync_and_die
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
    with pytest.raises(BadInput, match="scheme 'ftp'"):
        open_event_log("ftp://host/events", cache=Path("unused"))
    with pytest.raises(BadInput, match="scheme 's3'"):
        open_event_log("s3:///events", cache=Path("unused"))


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


def test_reads_segments_of_an_older_version(tmp_path: Path) -> None:
    log = FileEventLog(str(tmp_path))
    log.append([exposure("new", minutes=1, device="mobile", latency_ms=8.0)])
    older = pa.table(
        {
            "id": ["a", "b"],
            "kind": ["exposure"] * 2,
            "experiment": ["e"] * 2,
            "unit": ["old", "older"],
            "time": pa.array([NOW, NOW], pa.timestamp("us", tz="UTC")),
            "arm": ["control"] * 2,
            "version": ["3"] * 2,
            "metric": [""] * 2,
            "value": [0.0] * 2,
            "segments": pa.array([[("device", "desktop")], []], pa.map_(pa.string(), pa.string())),
        }
    )
    pq.write_table(older, tmp_path / "e" / "exposure" / "0.parquet")
    seen = log.read("e", "exposure")
    assert seen["unit"].tolist() == ["old", "older", "new"]
    assert seen["device"].fillna("").tolist() == ["desktop", "", "mobile"]
    assert seen["fallback"].tolist() == ["", "", ""]
    assert seen["latency_ms"].isna().tolist() == [True, True, False]
    assert log.service_levels("e", "exposure")["control"].requests == 3


def test_levels_of_older_segments_alone_have_no_latency(tmp_path: Path) -> None:
    log = FileEventLog(str(tmp_path))
    log.append([exposure("u1")])
    (segment,) = tmp_path.rglob("*.parquet")
    pq.write_table(pq.read_table(segment).drop_columns(["fallback", "latency_ms"]), segment)
    level = log.service_levels("e", "exposure")["control"]
    assert (level.requests, level.failures) == (1, 0)
    assert pd.isna(level.latency_p50_ms)


def test_levels_leave_out_a_torn_segment_and_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = FileEventLog(str(tmp_path / "we[i]rd*?"))
    for number in range(3):
        log.append([exposure(f"u{number}")])
    segments = sorted(tmp_path.rglob("*.parquet"))
    os.truncate(segments[1], segments[1].stat().st_size // 2)
    with caplog.at_level(logging.WARNING):
        assert log.service_levels("e", "exposure")["control"].requests == 2
    assert segments[1].name in caplog.text
    for segment in segments:
        os.truncate(segment, 1)
    assert log.service_levels("e", "exposure") == {}


def test_levels_need_no_room_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".tmp").write_text("a file where DuckDB by itself would have its folder")
    with connected() as connection:
        connection.execute("SET memory_limit = '40MB'")
        connection.execute("CREATE TEMP TABLE large AS SELECT range AS a, hash(range) AS b FROM range(6_000_000)")
        assert connection.execute("SELECT count(*) FROM large").fetchone() == (6_000_000,)


def test_a_folder_may_look_like_a_pattern(tmp_path: Path) -> None:
    log = FileEventLog(str(tmp_path / "we[i]rd*?"))
    log.append([exposure("u1", experiment="a=b*")])
    assert log.service_levels("a=b*", "exposure")["control"].requests == 1


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    script = """
import resource, signal, sys
from pathlib import Path
from trimtab.adapters.event_stores import FolderStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
try:
    FolderStore(Path(sys.argv[1])).write("e/exposure/a.parquet", bytes(10_000))
except OSError as error:
    print("failed")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "failed\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
