"""Where segments of the event log lie: a folder of this machine. A segment appears whole, or not at all."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import uuid4

SUFFIX = ".parquet"
_ATTEMPTS = 5
_T = TypeVar("_T")


def settled(read: Callable[[], _T], gone: type[Exception]) -> _T:
    """What a read gives once no segment vanishes under it.

    A compaction may delete what a reader just listed; the segment that replaces it is there by then.

    Args:
        read: Lists and reads.
        gone: Raised where a file that was listed is not there any more; also by this function, after five times.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return read()
        except gone:
            continue
    return read()


def new_name() -> str:
    """A name for a segment that no other process gives; names sort by their time."""
    return f"{time.time_ns():020d}-{uuid4().hex}{SUFFIX}"


class SegmentStore(Protocol):
    """Immutable files by key; a key is `FOLDER/FOLDER/NAME.parquet`."""

    def write(self, key: str, payload: bytes) -> None:
        """Store a file, durable on return; writing the same again changes nothing. Raises OSError or Unavailable."""
        ...

    def read(self, key: str) -> bytes:
        """The file. Raises FileNotFoundError where it is gone, and OSError or Unavailable."""
        ...

    def delete(self, key: str) -> None:
        """Delete a file; nothing happens where there is none."""
        ...

    def keys(self, folder: str) -> list[str]:
        """Keys of a folder's files in order of their names."""
        ...

    def folders(self) -> list[str]:
        """Names of the folders at the top, sorted."""
        ...

    def local(self, folder: str) -> Path:
        """A folder of this machine that holds the same files now."""
        ...


class FolderStore:
    """Files of this machine; satisfies `SegmentStore`.

    Each file is written beside its final name, flushed to disk and then renamed. A writer that died leaves only a
    `.part` file, which no reader opens.

    Args:
        root: The folder; created on first use.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, key: str, payload: bytes) -> None:
        """Store a file, durable on return."""
        final = self.root / key
        _make_folder(final.parent)
        part = final.with_suffix(f".{uuid4().hex}.part")
        try:
            with part.open("wb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            part.replace(final)
        except OSError:
            part.unlink(missing_ok=True)  # a disk that is full must not fill up with halves
            raise
        _sync_folder(final.parent)

    def read(self, key: str) -> bytes:
        """The file. Raises FileNotFoundError where it is gone."""
        return (self.root / key).read_bytes()

    def delete(self, key: str) -> None:
        """Delete a file."""
        (self.root / key).unlink(missing_ok=True)

    def keys(self, folder: str) -> list[str]:
        """Keys of a folder's files in order of their names."""
        try:
            names = [entry.name for entry in os.scandir(self.root / folder)]
        except FileNotFoundError:
            return []
        return [f"{folder}/{name}" for name in sorted(names) if name.endswith(SUFFIX)]

    def folders(self) -> list[str]:
        """Names of the folders at the top, sorted."""
        return sorted(path.name for path in self.root.glob("*") if path.is_dir())

    def local(self, folder: str) -> Path:
        """The folder itself."""
        return self.root / folder


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable: the directory entry has to reach the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
