"""Rollouts as folders of one file system: the plan, an append-only audit log, an inbox of commands, and a lock.

The audit log is what counts. A decision is one line of it, on the disk before `record` returns; the state of the last
whole line is the state of the rollout, whenever a writer dies. `state.json` is a copy of it for people.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import orjson
from pydantic import TypeAdapter, ValidationError

from trimtab.errors import BadInput, NotFound, Unavailable
from trimtab.rollout.audit import AuditEntry, dump_entry, parse_entry
from trimtab.rollout.observation import Command
from trimtab.rollout.plan import RolloutPlan, dump_plan, load_plan
from trimtab.rollout.state import RolloutState, dump_state, parse_state

PLAN, BEGIN, STATE, AUDIT, LOCK, COMMANDS = "plan.yaml", "begin.json", "state.json", "audit.jsonl", "lock", "commands"
TRACKED = "tracked"
STARTING = ".starting"  # in the root, held by the process that starts a rollout
_CHUNK = 64 * 1024
_COMMAND = TypeAdapter(Command)


class FileRolloutStore:
    """Satisfies `trimtab.ports.RolloutStore`.

    Each rollout is the folder `<root>/<name>`:

    | file | content |
    |---|---|
    | `plan.yaml` | the plan; never changed |
    | `begin.json` | the state that it was started with |
    | `audit.jsonl` | one `AuditEntry` per line, append-only |
    | `state.json` | the state, for people |
    | `tracked` | how many lines of the audit log the tracker has heard of |
    | `commands/*.json` | commands that no decision has answered yet |
    | `lock` | held by the process that drives the rollout |

    Args:
        root: Folder of the rollouts; made when the first one is created.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, plan: RolloutPlan, state: RolloutState) -> None:
        """Keep a new rollout.

        Raises:
            BadInput: There is one of that name, whose units the new one would share.
        """
        folder = self._root / plan.name
        self._root.mkdir(parents=True, exist_ok=True)
        part = self._root / f".{plan.name}.{uuid4().hex}"
        (part / COMMANDS).mkdir(parents=True)
        _write(part / PLAN, dump_plan(plan).encode())
        _write(part / BEGIN, dump_state(state))
        _write(part / STATE, dump_state(state))
        _sync_folder(part)
        try:
            part.rename(folder)
        except OSError as error:
            shutil.rmtree(part)
            if not folder.is_dir():
                raise
            raise BadInput(
                f"there is a rollout '{plan.name}' already.",
                remedy="Name it otherwise: the name divides the units, and the event log tells rollouts apart by it.",
            ) from error
        _sync_folder(self._root)

    def names(self) -> list[str]:
        """Names of the rollouts, in the order of the alphabet."""
        return sorted(path.parent.name for path in self._root.glob(f"[!.]*/{PLAN}"))

    def plan(self, name: str) -> RolloutPlan:
        """The plan. Raises NotFound."""
        return load_plan(str(self._folder(name) / PLAN))

    def state(self, name: str) -> RolloutState:
        """The state after the last decision. Raises NotFound."""
        folder = self._folder(name)
        line = _last_line(folder / AUDIT)
        if line:
            return parse_entry(line, where=f"the last line of '{folder / AUDIT}'").state
        return parse_state((folder / BEGIN).read_bytes(), where=f"'{folder / BEGIN}'")

    def record(self, name: str, entry: AuditEntry) -> None:
        """Append a decision, durable on return; the command that it answers is answered. Raises NotFound."""
        folder = self._folder(name)
        with (folder / AUDIT).open("ab") as file:
            file.truncate(_whole(folder / AUDIT))
            file.write(dump_entry(entry) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(folder)  # The first decision makes the file.
        part = folder / f".{STATE}.{uuid4().hex}"
        _write(part, dump_state(entry.state))
        part.replace(folder / STATE)
        if entry.seen.command is not None:
            for path, command in self._inbox(folder):
                if command == entry.seen.command:
                    path.unlink(missing_ok=True)

    def audit(self, name: str) -> Iterator[AuditEntry]:
        """Every decision, in order. Raises NotFound."""
        path = self._folder(name) / AUDIT
        if not path.exists():
            return
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield parse_entry(line, where=f"line {number} of '{path}'")

    def ask(self, name: str, command: Command) -> None:
        """Leave a command for whoever drives the rollout, durable on return. Raises NotFound."""
        folder = self._folder(name) / COMMANDS
        folder.mkdir(exist_ok=True)
        part = folder / f".{uuid4().hex}"
        _write(part, orjson.dumps(asdict(command)))
        part.rename(folder / f"{command.time.timestamp():020.6f}-{uuid4().hex[:8]}.json")
        _sync_folder(folder)

    def next_command(self, name: str) -> Command | None:
        """The oldest command that no decision has answered; None without one. Raises NotFound."""
        return next((command for _, command in self._inbox(self._folder(name))), None)

    def tracked(self, name: str) -> int:
        """How many of the decisions the tracker has heard of. Raises NotFound."""
        path = self._folder(name) / TRACKED
        return int(path.read_text(encoding="ascii")) if path.exists() else 0

    def mark_tracked(self, name: str, count: int) -> None:
        """The tracker has heard of the first so many decisions. Raises NotFound."""
        folder = self._folder(name)
        part = folder / f".{TRACKED}.{uuid4().hex}"
        _write(part, str(count).encode("ascii"))
        part.replace(folder / TRACKED)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Be the only process that starts a rollout; the lock goes with the process, and another one is waited for."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / STARTING).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def driving(self, name: str) -> Iterator[None]:
        """Be the only process that drives the rollout; the lock goes with the process.

        Raises:
            NotFound: There is no such rollout.
            Unavailable: Another process drives it.
        """
        with (self._folder(name) / LOCK).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Unavailable(
                    f"another process drives rollout '{name}'.",
                    remedy="Leave a command for it, or stop that process first.",
                ) from error
            yield

    def _folder(self, name: str) -> Path:
        folder = self._root / name
        if folder.parent != self._root or name.startswith(".") or not (folder / PLAN).is_file():
            raise NotFound(f"there is no rollout '{name}'.", remedy=f"Rollouts: {', '.join(self.names()) or 'none'}.")
        return folder

    def _inbox(self, folder: Path) -> Iterator[tuple[Path, Command]]:
        for path in sorted((folder / COMMANDS).glob("[!.]*.json")):
            try:
                yield path, _COMMAND.validate_json(path.read_bytes())
            except FileNotFoundError:  # Answered meanwhile.
                continue
            except ValidationError as error:
                raise BadInput(f"the command in '{path}' cannot be read: {error.errors()[0]['msg']}.") from error


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _whole(path: Path) -> int:
    """Length of the file up to the end of its last whole line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _CHUNK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def _last_line(path: Path) -> bytes:
    """The last whole line, without its end; empty where there is none."""
    if not path.exists():
        return b""
    end = _whole(path)
    with path.open("rb") as file:
        start, found = end, b""
        while start > 0 and b"\n" not in found[:-1]:
            before = max(0, start - _CHUNK)
            file.seek(before)
            found = file.read(start - before) + found
            start = before
    return found[:-1].rpartition(b"\n")[2]
