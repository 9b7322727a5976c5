"""Pipelines on this machine: the compiled form runs under `kfp.local`, each task as a process."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import IO, Any

import orjson

from trimtab.adapters import compiled, local_runs
from trimtab.adapters.kfp_runner import REQUEST, RESULT
from trimtab.adapters.run_files import RunFiles
from trimtab.errors import BadInput, TrimtabError
from trimtab.ports import PipelineRun, PipelineTask, Progress

_POLL_SECONDS = 0.1
# `kfp.local` runs at most so many iterations of a loop at once. Threads beyond the processors wait for each other.
_TASKS_AT_ONCE = 2
# The processes of a killed run need a moment to end and let go of its lock.
_LOCK_SECONDS = 5.0
_LOG_LINES = 12
_TRACE_LINES = 4


class LocalLauncher:
    """Runs compiled pipelines in processes of this machine.

    A run key names one run for ever: a finished run is returned as it ended, an unfinished or failed one is run again.

    Args:
        home: The state folder; each run has a folder `pipelines/<run key>` in it.
        profile_name: Profile that the tasks load.
        progress: Hears how far the run is.
    """

    def __init__(self, home: Path, *, profile_name: str, progress: Progress) -> None:
        self._home = home
        given = Path(profile_name)
        self._profile_name = str(given.absolute()) if given.is_file() else profile_name
        self._progress = progress

    def submit(self, pipeline: str, arguments: Mapping[str, object], *, run_key: str, wait: bool = True) -> PipelineRun:
        """Run a compiled pipeline once per `run_key`.

        Args:
            pipeline: A compiled file, or the name of a shipped pipeline.
            arguments: The pipeline's arguments; `run` and `profile` are filled in.
            run_key: Names the run.
            wait: Whether to return only when it has ended.

        Raises:
            BadInput: An argument is wrong, or a task found its input wrong.
            TrimtabError: A task failed; or the key is taken by a run that is still going, or that had other arguments.
        """
        compiled.check_run_key(run_key)
        plan = compiled.find(pipeline)
        own = {"run": run_key, "profile": self._profile_name}
        filled = plan.arguments({**{name: own[name] for name in own if name in plan.parameters}, **arguments})
        folder = self._home / "pipelines" / run_key
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder, run_key) as lock:
            request = {"pipeline": str(plan.path.absolute()), "arguments": filled}
            if finished := self._finished(folder, request, run_key):
                return finished
            files = RunFiles(self._home, run_key)
            files.reset()
            process = self._start(folder, request, lock, attached=wait)
            if not wait:
                process.wait()  # it leaves the run to a process of its own
                return PipelineRun(run_key, plan.name, "RUNNING", created_at=datetime.now(UTC), key=run_key)
            self._follow(process, files)
        return self._outcome(folder, plan.name, run_key, files)

    def schedule(self, pipeline: str, arguments: Mapping[str, object], *, name: str, cron: str) -> str:
        """Refused: this machine has no scheduler that outlives the command.

        Raises:
            BadInput: Always.
        """
        del arguments
        raise BadInput(
            f"the local profile cannot schedule pipeline '{pipeline}' as '{name}' ({cron}).",
            remedy="Use a profile with a Kubeflow endpoint, or call `trimtab pipeline run` from cron.",
        )

    def runs(self, *, limit: int = 20) -> list[PipelineRun]:
        """The latest runs of this machine, newest first."""
        return local_runs.listed(self._home, limit=limit)

    def tasks(self, run: str, *, lines: int = 0) -> list[PipelineTask]:
        """Tasks of a run, in the order in which they began, with the end of what each printed.

        Raises:
            NotFound: There is no such run.
        """
        return local_runs.tasks(self._home, run, lines=lines)

    def _finished(self, folder: Path, request: dict[str, Any], run_key: str) -> PipelineRun | None:
        """The run as it ended, where it ended well; an earlier run with other arguments is refused."""
        if not (folder / RESULT).is_file():
            return None
        result = orjson.loads((folder / RESULT).read_bytes())
        if result["state"] != "SUCCEEDED":
            return None
        earlier = orjson.loads((folder / REQUEST).read_bytes())
        compiled.check_same_arguments(run_key, earlier["arguments"], request["arguments"])
        return _described(folder, compiled.find(request["pipeline"]).name, run_key, result)

    def _start(
        self, folder: Path, request: dict[str, Any], lock: IO[str], *, attached: bool
    ) -> "subprocess.Popen[bytes]":
        (folder / RESULT).unlink(missing_ok=True)
        (folder / REQUEST).write_bytes(orjson.dumps(request, option=orjson.OPT_INDENT_2))
        parent = os.getpid() if attached else 0
        scratch = folder / "scratch"  # KFP leaves a temporary folder per task behind
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // _TASKS_AT_ONCE))
        environment = {
            "TRIMTAB_HOME": str(self._home),
            "TMPDIR": str(scratch),
            "PYTHONWARNINGS": "ignore",
            "OMP_NUM_THREADS": threads,
        }
        with (folder / "log.txt").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-u", "-m", "trimtab.adapters.kfp_runner", str(folder), str(parent)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                pass_fds=[lock.fileno()],  # the lock holds until the runner has ended too
                start_new_session=True,
            )

    def _follow(self, process: "subprocess.Popen[bytes]", files: RunFiles) -> None:
        """Forward progress until the process ends; it does not outlive an interrupt."""
        read = 0
        try:
            while process.poll() is None:
                time.sleep(_POLL_SECONDS)
                read = files.forward(self._progress, start=read)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        files.forward(self._progress, start=read)

    def _outcome(self, folder: Path, pipeline: str, run_key: str, files: RunFiles) -> PipelineRun:
        shutil.rmtree(folder / "scratch", ignore_errors=True)
        log = folder / "log.txt"
        path = folder / RESULT
        result = orjson.loads(path.read_bytes()) if path.is_file() else {"state": "FAILED", "error": "it was killed."}
        if result["state"] == "SUCCEEDED":
            return _described(folder, pipeline, run_key, result)
        if failure := files.failure():
            raise failure.error(log=log)
        raise _unexplained(result["error"], log)


@contextmanager
def _lock(folder: Path, run_key: str) -> Iterator[IO[str]]:
    """Hold the run's folder; the system lets go when the last process that holds it has ended, however it ended."""
    with (folder / "lock").open("w") as lock:
        given_up = time.monotonic() + _LOCK_SECONDS
        while not _taken(lock):
            if time.monotonic() > given_up:
                raise TrimtabError(
                    f"run '{run_key}' is still going in another process.", remedy="Wait for it, or use another run key."
                )
            time.sleep(_POLL_SECONDS)
        yield lock


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _described(folder: Path, pipeline: str, run_key: str, result: dict[str, Any]) -> PipelineRun:
    created = datetime.fromtimestamp((folder / REQUEST).stat().st_mtime, tz=UTC)
    outputs = result.get("outputs", {})
    return PipelineRun(run_key, pipeline, result["state"], outputs=outputs, created_at=created, key=run_key)


def _unexplained(reason: str, log: Path) -> TrimtabError:
    """The error for a task that ended without a word, e.g. killed for memory."""
    inner = re.search(r"Inner task failed: '([^']+)'", _clean(reason))
    lines = [line.strip() for line in _clean(log.read_text(errors="replace")).splitlines()]
    told = _accident(lines) or [line for line in lines if line.strip("-") and "INFO" not in line][-_LOG_LINES:]
    what = f"task '{inner[1]}' was stopped before it could say why" if inner else f"the run stopped: {_clean(reason)}"
    return TrimtabError("\n".join([f"{what}.", *told]), remedy=f"The whole log is {log}.")


def _accident(lines: list[str]) -> list[str]:
    """The end of the log's last traceback: a task that cannot import what it needs fails before it can report it."""
    begins = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent")]
    return list(takewhile(bool, lines[begins[-1] :]))[-_TRACE_LINES:] if begins else []


def _clean(text: str) -> str:
    """Text without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).strip()
