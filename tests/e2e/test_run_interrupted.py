"""`trimtab run`, killed in the middle: nothing goes on without it, no champion is half made, it can be run again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc"),
    pytest.mark.timeout(900),
]

_STAGE_SECONDS = 180.0
# A server looks once a second whether its parent lives, and may be busy importing.
_LAST_WORDS_SECONDS = 15.0


@dataclass(frozen=True)
class Shop:
    """A state folder, and the runs in it."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def command(self) -> list[str]:
        options = ("--sessions", "8000", "--users", "600", "--trials", "1", "--out", str(self.folder / "report"))
        return [sys.executable, "-c", "from trimtab.cli import main; main()", "run", *options, "--json"]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TRIMTAB_HOME": str(self.home), "OMP_NUM_THREADS": "1"}

    def run(self) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(self.command, env=self.environment, capture_output=True, timeout=400, check=False)

    def processes(self) -> list[str]:
        """Command lines of the processes that work in this state folder."""
        mark = f"TRIMTAB_HOME={self.home}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue  # it has ended meanwhile, or is another user's
        return found

    def kill_run(self, when: Callable[[], bool], *, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Start a run, and kill it and nothing else once `when` holds."""
        with (self.folder / "log.txt").open("wb") as log:
            run = subprocess.Popen(self.command, env=self.environment, stdout=log, stderr=log)
        try:
            assert _becomes(lambda: when() or run.poll() is not None, _STAGE_SECONDS)
            assert run.poll() is None, (self.folder / "log.txt").read_text()
            meanwhile()
        finally:
            run.send_signal(signal.SIGKILL)
            run.wait()

    def finished(self, stage: str, *, runs: int) -> bool:
        """Whether the stage has finished in the run that is number `runs` of this folder."""
        folders = sorted((self.home / "runs").glob("run-*"))
        return len(folders) == runs and (folders[-1] / f"{stage}.json").is_file()


def _becomes(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


def _aliases(shop: Shop) -> dict[str, int]:
    """Alias to version, of versions that can be fetched and have passed the gate."""
    listed = subprocess.run(
        [sys.executable, "-c", "from trimtab.cli import main; main()", "models", "list", "--json"],
        env=shop.environment, capture_output=True, timeout=100, check=True,
    )  # fmt: skip
    versions = orjson.loads(listed.stdout)
    for version in versions:
        assert not version["aliases"] or version["tags"]["gate"] == "passed"
        assert Path(version["uri"].removeprefix("file://"), "model.json").is_file() or not version["aliases"]
    return {alias: version["version"] for version in versions for alias in version["aliases"]}


def test_a_killed_run_ends_whole_and_can_be_run_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path)

    def refused() -> None:
        second = shop.run()
        assert second.returncode == 2
        assert "another run is using the state folder" in orjson.loads(second.stderr)["error"]["message"]

    def nothing_is_left() -> None:
        assert _becomes(lambda: not shop.processes(), _LAST_WORDS_SECONDS), shop.processes()

    # While workers tune; then while the version is registered; then while two servers start.
    shop.kill_run(lambda: shop.finished("features", runs=1), meanwhile=refused)
    nothing_is_left()
    shop.kill_run(lambda: shop.finished("train", runs=2))
    nothing_is_left()
    assert _aliases(shop).keys() <= {"champion"}
    shop.kill_run((shop.home / "servers").is_dir, meanwhile=lambda: time.sleep(1.0))
    nothing_is_left()
    before = _aliases(shop)
    assert before.keys() == {"champion", "challenger"}

    done = shop.run()
    assert done.returncode == 0, done.stderr.decode()
    assert Path(orjson.loads(done.stdout)["summary"]).is_file()
    assert _aliases(shop)["champion"] >= before["champion"]
    nothing_is_left()
