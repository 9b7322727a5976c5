import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from trimtab.adapters.files import FileSnapshotStore
from trimtab.errors import TrimtabError
from trimtab.sessions.snapshots import snapshot_id
from trimtab.testing.snapshot_store import SPEC, SnapshotStoreContract, sessions

_KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
import pandas as pd
from trimtab.adapters.files import FileSnapshotStore
from trimtab.testing.snapshot_store import SPEC, sessions

write = pd.DataFrame.to_parquet
def write_and_die(*args, **kwargs):
    write(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
pd.DataFrame.to_parquet = write_and_die
FileSnapshotStore(Path(sys.argv[1])).put(sessions(), SPEC, source="a.csv", rejected=0)
"""


def _put(root: Path) -> str:
    return FileSnapshotStore(root).put(sessions(200), SPEC, source="a.csv", rejected=0).id


class TestFileSnapshotStore(SnapshotStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileSnapshotStore:
        return FileSnapshotStore(tmp_path / "snapshots")


def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", _KILLED_WRITER, str(tmp_path)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert [path.name.startswith(".part-") for path in tmp_path.iterdir()] == [True]
    snapshot = FileSnapshotStore(tmp_path).put(sessions(), SPEC, source="a.csv", rejected=0)
    assert snapshot.rows == 6


def test_leftovers_of_dead_writers_are_removed_after_a_day(tmp_path: Path) -> None:
    old, young = tmp_path / ".part-old", tmp_path / ".part-young"
    old.mkdir()
    young.mkdir()
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    _put(tmp_path)
    assert not old.exists()
    assert young.exists()


def test_many_writers_of_equal_data_make_one_snapshot(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(_put, [tmp_path] * 8))
    assert len(set(ids)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [ids[0]]


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrimtabError, match="No space left"):
        _put(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_id_does_not_depend_on_storage_type() -> None:
    frame = sessions()
    other = frame.assign(
        bought=frame["bought"].astype("int8"),
        at=frame["at"].dt.as_unit("us").dt.tz_convert("Europe/Berlin"),
        device=frame["device"].astype("category"),
    )
    assert snapshot_id(other, SPEC) == snapshot_id(frame, SPEC)


def test_the_id_is_the_same_in_every_process() -> None:
    code = (
        "from trimtab.sessions.snapshots import snapshot_id; "
        "from trimtab.testing.snapshot_store import SPEC, sessions; print(snapshot_id(sessions(), SPEC))"
    )
    ids = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert ids == {snapshot_id(sessions(), SPEC) + "\n"}


def test_text_in_neighbouring_cells_is_told_apart() -> None:
    frame = sessions(3)
    left, right = frame.assign(device=["ab", "c", ""]), frame.assign(device=["a", "bc", ""])
    assert snapshot_id(left, SPEC) != snapshot_id(right, SPEC)
    assert snapshot_id(frame.assign(device=["a", "", "b"]), SPEC) != snapshot_id(
        frame.assign(device=pd.Series(["a", None, "b"], dtype=object)), SPEC
    )
