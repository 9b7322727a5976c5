"""What is known of the pipeline runs of this machine, from their folders: going, ended or killed."""

import fcntl
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from trimtab.adapters import compiled
from trimtab.adapters.kfp_runner import REQUEST, RESULT
from trimtab.adapters.run_files import RunFiles
from trimtab.errors import BadInput, NotFound
from trimtab.ports import PipelineRun, PipelineTask

LOG = "log.txt"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_BEGUN = re.compile(r"^[\d:.]+ - INFO - Executing task '(?P<name>[^']+)'$")
_ENDED = re.compile(r"^[\d:.]+ - \w+ - Task '(?P<name>[^']+)' finished with status (?P<status>\w+)$")
_STATES = {"SUCCESS": "SUCCEEDED", "FAILURE": "FAILED"}
_INDENT = "    "  # of what a task prints, in the runner's log


def listed(home: Path, *, limit: int) -> list[PipelineRun]:
    """The latest runs under a state folder, newest first."""
    folders = [path.parent for path in (home / "pipelines").glob(f"*/{REQUEST}")]
    newest = sorted(folders, key=lambda folder: (folder / REQUEST).stat().st_mtime_ns, reverse=True)
    return [described(folder) for folder in newest[:limit]]


def described(folder: Path) -> PipelineRun:
    """One run from its folder."""
    request = orjson.loads((folder / REQUEST).read_bytes())
    result = _result(folder)
    return PipelineRun(
        folder.name,
        _pipeline(request["pipeline"]),
        result.get("state", "") or ("RUNNING" if _is_held(folder / "lock") else "FAILED"),
        outputs=result.get("outputs"),
        created_at=datetime.fromtimestamp((folder / REQUEST).stat().st_mtime, tz=UTC),
        key=folder.name,
    )


def tasks(home: Path, run: str, *, lines: int) -> list[PipelineTask]:
    """Tasks of one run, as they began.

    Args:
        home: The state folder.
        run: Key of the run.
        lines: Most lines of each task's log.

    Raises:
        NotFound: There is no such run.
    """
    folder = home / "pipelines" / run
    if Path(run).name != run or not (folder / REQUEST).is_file():
        raise NotFound(f"there is no pipeline run '{run}' in {home}.", remedy="See `trimtab pipeline runs`.")
    log = folder / LOG
    text = log.read_text(errors="replace") if log.is_file() else ""
    found = read_log(text.splitlines(), going=described(folder).state == "RUNNING")
    failure = RunFiles(home, run).failure()
    return [
        replace(
            task,
            error=f"{failure.message} {failure.remedy}".strip()
            if failure and failure.stage == task.name and task.state == "FAILED"
            else "",
            log=task.log[-lines:] if lines else (),
            where=str(log),
        )
        for task in found
    ]


@dataclass(slots=True)
class _Task:
    name: str
    state: str = "RUNNING"
    log: list[str] = field(default_factory=list)


def read_log(lines: Iterable[str], *, going: bool) -> list[PipelineTask]:
    """Tasks from the runner's log. What tasks print at the same time is the one's that began last.

    Args:
        lines: The log.
        going: Whether the run is; a task of a run that is not going has not survived it.
    """
    found: list[_Task] = []
    for line in (_COLOURS.sub("", line) for line in lines):
        if begun := _BEGUN.match(line):
            found.append(_Task(begun["name"]))
        elif ended := _ENDED.match(line):
            for task in found:
                if task.name == ended["name"] and task.state == "RUNNING":
                    task.state = _STATES.get(ended["status"], ended["status"])
                    break
        elif found and line.startswith(_INDENT) and line.strip():
            found[-1].log.append(line.removeprefix(_INDENT))
    left = "RUNNING" if going else "FAILED"
    return [
        PipelineTask(task.name, left if task.state == "RUNNING" else task.state, log=tuple(task.log)) for task in found
    ]


def _result(folder: Path) -> dict[str, Any]:
    path = folder / RESULT
    return dict(orjson.loads(path.read_bytes())) if path.is_file() else {}


def _pipeline(path: str) -> str:
    """The pipeline's name; that of its file where the file is gone."""
    try:
        return compiled.find(path).name
    except BadInput:
        return Path(path).stem


def _is_held(lock: Path) -> bool:
    """Whether a run's processes hold its folder."""
    if not lock.is_file():
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
