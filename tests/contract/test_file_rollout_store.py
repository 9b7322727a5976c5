import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from trimtab.adapters.rollouts import FileRolloutStore
from trimtab.errors import Unavailable
from trimtab.rollout.observation import Command, Observation
from trimtab.testing.rollout_store import START, RolloutStoreContract, decided, plan_of, started

_DRIVER = """
import sys
from pathlib import Path
from trimtab.adapters.rollouts import FileRolloutStore

with FileRolloutStore(Path(sys.argv[1])).driving("checkout"):
    print("driving", flush=True)
    sys.stdin.read()
"""


class TestFileRolloutStore(RolloutStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileRolloutStore:
        return FileRolloutStore(tmp_path / "rollouts")


def test_the_lock_of_a_killed_driver_is_free(tmp_path: Path) -> None:
    store = FileRolloutStore(tmp_path)
    store.create(plan_of(), started(plan_of()))
    driver = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "driving\n"
        with pytest.raises(Unavailable), store.driving("checkout"):
            pass
        driver.send_signal(signal.SIGKILL)
        driver.wait(timeout=10)
    with store.driving("checkout"):
        pass


def test_half_a_line_of_a_dead_writer_counts_for_nothing(tmp_path: Path) -> None:
    store, plan = FileRolloutStore(tmp_path), plan_of()
    store.create(plan, started(plan))
    first = decided(plan, started(plan), Observation(START))
    store.record("checkout", first)
    with (tmp_path / "checkout" / "audit.jsonl").open("ab") as log:
        log.write(b'{"seen": {"now": "2026-')
    assert store.state("checkout") == first.state
    second = decided(plan, first.state, Observation(START))
    store.record("checkout", second)
    assert list(store.audit("checkout")) == [first, second]


def test_long_logs_are_read_from_their_end(tmp_path: Path) -> None:
    store, plan = FileRolloutStore(tmp_path), plan_of()
    store.create(plan, started(plan))
    reasons = tuple(f"Reason {number} " + "x" * 700 for number in range(300))
    entry = decided(plan, started(plan), Observation(START))
    long = replace(entry, decision=replace(entry.decision, reasons=reasons))
    for _ in range(2):
        store.record("checkout", long)
    assert (tmp_path / "checkout" / "audit.jsonl").stat().st_size > 400_000
    assert store.state("checkout") == long.state
    assert len(list(store.audit("checkout"))) == 2


def test_names_of_new_files_are_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, plan, synced = FileRolloutStore(tmp_path / "rollouts"), plan_of(), set[str]()
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    store.create(plan, started(plan))
    assert "rollouts" in synced
    store.record("checkout", decided(plan, started(plan), Observation(START)))
    store.ask("checkout", Command("abort", "ann", "wrong prices", START))
    assert {"checkout", "commands"} <= synced
