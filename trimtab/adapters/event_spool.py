"""Segments that the event log could not take, on this machine's disk until it can.

The spool has the layout of the log itself, and a segment keeps its key when it moves on, so that moving it twice (a
process died between the copy and the delete) leaves one. Processes may share a spool: a lock, which the system takes
from a process that dies, lets one at a time drain it.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trimtab.adapters.event_stores import SUFFIX, FolderStore, SegmentStore
from trimtab.adapters.events import Segment


class Spool:
    """A bounded folder of segments.

    Args:
        root: The folder; created on first use.
        limit_bytes: It takes no segment that would make it larger.
    """

    def __init__(self, root: Path, *, limit_bytes: int) -> None:
        self._store = FolderStore(root)
        self._limit = limit_bytes
        self.bytes = 0
        self.backlog()

    def put(self, segment: Segment) -> bool:
        """Keep a segment, durable on return; False where it has no room.

        Raises:
            OSError: The disk does not take it.
        """
        if self.bytes + len(segment.payload) > self._limit:
            return False
        self._store.write(segment.key, segment.payload)
        self.bytes += len(segment.payload)
        return True

    def backlog(self) -> list[str]:
        """Keys of what waits, the oldest first, whoever left it; brings `bytes` up to date."""
        paths = list(self._store.root.glob(f"*/*/*{SUFFIX}"))
        self.bytes = sum(_size(path) for path in paths)
        return [str(path.relative_to(self._store.root)) for path in sorted(paths, key=lambda path: path.name)]

    def drain(self, sink: SegmentStore, *, enough: Callable[[], bool]) -> bool:
        """Move segments on, the oldest first; another process that does so now is left to it.

        Args:
            sink: Takes them.
            enough: Asked after each segment; stops where it says so.

        Returns:
            Whether nothing is left.

        Raises:
            OSError: The sink, or the disk, fails.
            TrimtabError: The sink fails.
        """
        keys = self.backlog()
        if not keys:
            return True
        with self._alone() as alone:
            for key in keys if alone else ():
                self._move(key, sink)
                if enough():
                    break
        return not self.backlog()

    def _move(self, key: str, sink: SegmentStore) -> None:
        try:
            payload = self._store.read(key)
        except FileNotFoundError:  # Another process drained it since it was listed.
            return
        sink.write(key, payload)
        self._store.delete(key)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        descriptor = os.open(self._store.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
