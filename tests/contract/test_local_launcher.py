import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from trimtab.adapters.kfp_local import LocalLauncher
from trimtab.errors import BadInput, TrimtabError
from trimtab.testing.launcher import LauncherContract, Started, toy

__all__ = ["toy"]

Report = tuple[str, int, int, str]


class TestLocalLauncher(LauncherContract):
    @pytest.fixture
    def reports(self) -> list[Report]:
        return []

    @pytest.fixture
    def launcher(self, tmp_path: Path, reports: list[Report]) -> LocalLauncher:
        def progress(stage: str, done: int, total: int, note: str = "") -> None:
            reports.append((stage, done, total, note))

        return LocalLauncher(tmp_path / "home", profile_name="local", progress=progress)

    @pytest.fixture
    def started(self, marks: str) -> Started:
        return lambda: len(Path(marks).read_text().splitlines()) if Path(marks).is_file() else 0

    def test_returns_outputs_and_forwards_progress(
        self, launcher: LocalLauncher, reports: list[Report], toy: str, marks: str
    ) -> None:
        run = launcher.submit(toy, {"marks": marks}, run_key="a")
        assert run.outputs == {"Output": 7}
        assert reports == [("mark", 0, 2, "begun"), ("mark", 2, 2, "")]

    def test_bad_input_reaches_the_caller_as_it_was(self, launcher: LocalLauncher, toy: str, marks: str) -> None:
        with pytest.raises(BadInput) as raised:
            launcher.submit(toy, {"marks": marks, "then": "refuse"}, run_key="a")
        assert (raised.value.message, raised.value.remedy) == ("column 'label' is absent.", "Add it.")

    def test_an_accident_names_the_task_and_the_line(self, launcher: LocalLauncher, toy: str, marks: str) -> None:
        with pytest.raises(TrimtabError) as raised:
            launcher.submit(toy, {"marks": marks, "then": "fail"}, run_key="a")
        assert "task 'mark' failed: ZeroDivisionError: an accident" in raised.value.message
        assert "log.txt" in raised.value.remedy

    def test_a_killed_task_is_named(self, launcher: LocalLauncher, toy: str, marks: str) -> None:
        with pytest.raises(TrimtabError, match="task 'mark' was stopped before it could say why") as raised:
            launcher.submit(toy, {"marks": marks, "then": "die"}, run_key="a")
        assert "Killed" in raised.value.message

    def test_a_task_that_cannot_begin_tells_its_last_line(self, tmp_path: Path, toy: str, marks: str) -> None:
        compiled = json.dumps(yaml.safe_load(Path(toy).read_text()))  # on one line; JSON is YAML
        (tmp_path / "broken.yaml").write_text(compiled.replace("import runtime", "import absent"))
        launcher = LocalLauncher(tmp_path / "home", profile_name="local", progress=lambda *_: None)
        with pytest.raises(TrimtabError, match="ImportError: cannot import name 'absent'"):
            launcher.submit(str(tmp_path / "broken.yaml"), {"marks": marks}, run_key="a")

    def test_leaves_no_temporary_files(self, launcher: LocalLauncher, toy: str, marks: str, tmp_path: Path) -> None:
        launcher.submit(toy, {"marks": marks}, run_key="a")
        kept = {path.name for path in (tmp_path / "home" / "pipelines" / "a").iterdir()}
        assert kept == {"artifacts", "lock", "log.txt", "request.json", "result.json"}

    def test_does_not_schedule(self, launcher: LocalLauncher, toy: str) -> None:
        with pytest.raises(BadInput, match="cannot schedule"):
            launcher.schedule(toy, {}, name="nightly", cron="0 3 * * *")

    def test_a_run_in_the_background_holds_its_key(self, launcher: LocalLauncher, toy: str, marks: str) -> None:
        assert launcher.submit(toy, {"marks": marks, "then": "wait"}, run_key="a", wait=False).state == "RUNNING"
        with pytest.raises(TrimtabError, match="still going"):
            launcher.submit(toy, {"marks": marks, "then": "wait"}, run_key="a")
        os.killpg(os.getpgid(_task(marks)), signal.SIGKILL)

    def test_tasks_end_with_the_process_that_waits_for_them(
        self, launcher: LocalLauncher, toy: str, marks: str, tmp_path: Path
    ) -> None:
        script = (
            "import sys; from pathlib import Path; from trimtab.adapters.kfp_local import LocalLauncher\n"
            "launcher = LocalLauncher(Path(sys.argv[1]), profile_name='local', progress=lambda *a, **k: None)\n"
            "launcher.submit(sys.argv[2], {'marks': sys.argv[3], 'then': 'wait'}, run_key='a')\n"
        )
        waiting = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "home"), toy, marks])
        task = _task(marks)
        waiting.kill()
        waiting.wait(timeout=30)
        _until(lambda: not _alive(task))
        # What the kill left behind does not stand in the way: the same key runs again.
        assert launcher.submit(toy, {"marks": marks}, run_key="a").state == "SUCCEEDED"


def _task(marks: str) -> int:
    """Process id of the toy pipeline's task, once it runs."""
    _until(lambda: Path(marks).is_file() and Path(marks).read_text().endswith("\n"))
    return int(Path(marks).read_text().split()[1])


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # A killed task whose parent is gone may wait for its burial as a zombie.
    return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def _until(holds: "object", seconds: float = 60.0) -> None:
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
