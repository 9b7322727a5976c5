import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trimtab.adapters.feast.layout import RowLayout
from trimtab.adapters.feast.sqlite import SqliteRecords
from trimtab.errors import Unavailable

LAYOUT = RowLayout(("a",), ("int64_val",))


def record(number: int, event: int) -> bytes:
    from feast.protos.feast.types.Value_pb2 import Value

    return LAYOUT.pack({"a": Value(int64_val=number)}, event)


@pytest.fixture
def records(tmp_path: Path) -> SqliteRecords:
    return SqliteRecords(tmp_path / "online.db")


def test_fetch_keeps_order_and_says_what_is_missing(records: SqliteRecords) -> None:
    keys = [f"key-{number}" for number in range(1_200)]
    records.merge("view", keys, [record(number, 1) for number in range(1_200)])
    asked = [*reversed(keys), "stranger"]
    assert records.fetch("view", asked) == [*(record(number, 1) for number in reversed(range(1_200))), None]
    assert records.fetch("view", ["stranger"]) == [None]
    assert records.fetch("view", []) == []


def test_older_record_changes_nothing_and_equal_time_overwrites(records: SqliteRecords) -> None:
    records.merge("view", ["a"], [record(1, 10)])
    records.merge("view", ["a"], [record(2, 9)])
    assert records.fetch("view", ["a"]) == [record(1, 10)]
    records.merge("view", ["a"], [record(3, 10)])
    assert records.fetch("view", ["a"]) == [record(3, 10)]


def test_views_are_apart(records: SqliteRecords) -> None:
    records.merge("one", ["a"], [record(1, 1)])
    records.merge("two", ["a"], [record(2, 1)])
    records.drop("one")
    assert records.fetch("one", ["a"]) == [None]
    assert records.fetch("two", ["a"]) == [record(2, 1)]


def test_layouts_are_remembered_by_another_process(records: SqliteRecords, tmp_path: Path) -> None:
    records.remember(LAYOUT)
    assert SqliteRecords(tmp_path / "online.db").recall(LAYOUT.id) == LAYOUT
    assert records.recall(LAYOUT.id + 1) is None


def test_threads_read_while_one_writes(records: SqliteRecords) -> None:
    records.merge("view", ["a", "b"], [record(0, 0), record(0, 0)])
    torn: list[list[bytes | None]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            first, second = records.fetch("view", ["a", "b"])
            if first != second:
                torn.append([first, second])

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 100):
        records.replace("view", ["a", "b"], [record(number, number)] * 2, until=number)
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert records.fetch("view", ["a"]) == [record(99, 99)]


def test_broken_file_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "online.db").write_bytes(b"not a database" * 100)
    with pytest.raises(Unavailable, match=r"online\.db"):
        SqliteRecords(tmp_path / "online.db")


WRITER = """
import sys, time
from pathlib import Path
from trimtab.adapters.feast.sqlite import SqliteRecords
from tests.unit.adapters.test_feast_sqlite import record

class Slow(list):
    def __iter__(self):
        for position, item in enumerate(super().__iter__()):
            if position == 900:
                print("half", flush=True)
                time.sleep(60)
            yield item

keys = [f"key-{number:04d}" for number in range(1_000)]
SqliteRecords(Path(sys.argv[1])).replace("view", keys, Slow([record(2, 2)] * 1_000), until=2)
"""


@pytest.mark.slow
def test_killed_writer_leaves_the_old_values(records: SqliteRecords, tmp_path: Path) -> None:
    keys = [f"key-{number:04d}" for number in range(1_000)]
    records.merge("view", keys, [record(1, 1)] * 1_000)
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "online.db")], stdout=subprocess.PIPE, text=True, cwd=root
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "half\n"
        assert records.fetch("view", keys) == [record(1, 1)] * 1_000
        os.kill(writer.pid, signal.SIGKILL)
    assert records.fetch("view", keys) == [record(1, 1)] * 1_000
    records.replace("view", keys, [record(3, 3)] * 1_000, until=3)
    assert records.fetch("view", keys) == [record(3, 3)] * 1_000
