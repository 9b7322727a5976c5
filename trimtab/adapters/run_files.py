"""A run's own files, by which tasks in other processes tell the launcher how far they are and why they failed.

`runs/<run>/progress.jsonl` has one line per report; `runs/<run>/failure.json` says which task failed first, and how.
"""

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from trimtab import errors
from trimtab.errors import TrimtabError
from trimtab.ports import Progress

# Reports of one stage are written at most this often, in seconds; first and last ones always are.
_INTERVAL = 0.1
_TRACE_LINES = 6
_KINDS = {kind.__name__: kind for kind in (errors.BadInput, errors.NotFound, errors.Unavailable, TrimtabError)}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task stopped.

    Attributes:
        stage: Name of the task's stage.
        kind: Name of the error's class.
        message: What went wrong.
        remedy: What the reader can do about it.
        expected: Whether Trimtab raised it on purpose.
    """

    stage: str
    kind: str
    message: str
    remedy: str
    expected: bool

    def error(self, *, log: Path) -> TrimtabError:
        """The error to raise where the run was started."""
        if self.expected:
            return _KINDS.get(self.kind, TrimtabError)(self.message, remedy=self.remedy)
        return TrimtabError(f"task '{self.stage}' failed: {self.message}", remedy=f"The log is {log}.")


class RunFiles:
    """Progress and failure of one run.

    Args:
        home: The state folder.
        run: Key of the run.
    """

    def __init__(self, home: Path, run: str) -> None:
        self.folder = home / "runs" / run
        self._progress = self.folder / "progress.jsonl"
        self._failure = self.folder / "failure.json"
        self._written: dict[str, float] = {}

    def reset(self) -> None:
        """Forget what an earlier attempt reported; its results stay."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._failure.unlink(missing_ok=True)
        self._progress.write_bytes(b"")

    def progress(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Report progress; safe from several processes, because a short appended line is written whole."""
        now = time.monotonic()
        if 0 < done < total and now - self._written.get(stage, 0.0) < _INTERVAL:
            return
        self._written[stage] = now
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._progress.open("ab", buffering=0) as file:
            file.write(orjson.dumps([stage, done, total, note[:200]], option=orjson.OPT_APPEND_NEWLINE))

    def forward(self, progress: Progress, *, start: int = 0) -> int:
        """Pass on the reports from byte `start` on; returns where to go on reading."""
        if not self._progress.is_file():
            return start
        with self._progress.open("rb") as file:
            file.seek(start)
            whole, separator, _ = file.read().rpartition(b"\n")
        for line in whole.splitlines():
            progress(*orjson.loads(line))
        return start + len(whole) + len(separator)

    @contextmanager
    def failures(self, stage: str) -> Iterator[None]:
        """Keep the reason when the block raises.

        Raises:
            SystemExit: The block raised an error of Trimtab's; the exit code is the error's, and no traceback shows.
        """
        try:
            yield
        except TrimtabError as error:
            self._fail(Failure(stage, type(error).__name__, error.message, error.remedy, expected=True))
            print(f"{stage}: {error}")
            raise SystemExit(error.exit_code) from error
        except Exception as error:
            lines = "".join(traceback.format_exception(error)).strip().splitlines()
            message = "\n".join([f"{type(error).__name__}: {error}", *lines[-_TRACE_LINES:-1]])
            self._fail(Failure(stage, type(error).__name__, message, "", expected=False))
            raise

    def failure(self) -> Failure | None:
        """Why a task stopped, where one said so before it ended."""
        if not self._failure.is_file():
            return None
        return Failure(**orjson.loads(self._failure.read_bytes()))

    def _fail(self, failure: Failure) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"failure-{failure.stage}.json.part"
        part.write_bytes(orjson.dumps(failure, option=orjson.OPT_INDENT_2))
        part.replace(self._failure)
