"""Merges small segments of the event log into large ones: a reader opens one file where it opened a thousand.

The merged segment is written before its originals are deleted, and readers take each id once. So a reader sees every
event at every moment, and a process that dies in between leaves events twice, which the next compaction mends.
"""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trimtab.adapters.event_segments import decode, encode_table, merge
from trimtab.adapters.event_stores import SUFFIX, SegmentStore, new_name, settled

_log = logging.getLogger(__name__)
FULL_BYTES = 16 << 20  # More than half a million exposures.


def count(store: SegmentStore, place: str) -> tuple[int, int, int]:
    """Segments, rows and bytes of a folder; a torn segment has no rows.

    Args:
        store: Where it lies.
        place: The folder.

    Raises:
        Unavailable: The store does not answer.
    """

    def counted() -> tuple[int, int, int]:
        paths = _paths(store, place)
        return len(paths), sum(map(_rows, paths)), sum(path.stat().st_size for path in paths)

    return settled(counted, FileNotFoundError)


def compact(store: SegmentStore, place: str, *, full_bytes: int = FULL_BYTES) -> None:
    """Merge the small segments of a folder; a torn one is left alone.

    Args:
        store: Where they lie. Writers, readers and other compactions may go on.
        place: The folder: one experiment, one kind.
        full_bytes: Segments of half that size are large enough, and none is made much larger.

    Raises:
        Unavailable: The store does not answer.
    """
    settled(lambda: _merge_all(store, place, full_bytes), FileNotFoundError)


def _rows(path: Path) -> int:
    try:
        return pq.read_metadata(path).num_rows
    except pa.ArrowInvalid:
        return 0


def _merge_all(store: SegmentStore, place: str, full_bytes: int) -> None:
    sizes = {path: path.stat().st_size for path in _paths(store, place)}
    small = {path: size for path, size in sizes.items() if size < full_bytes / 2}
    for batch in _batches(small.items(), full_bytes):
        tables = {path.name: table for path in batch if (table := _whole(path)) is not None}
        if len(tables) > 1:
            store.write(f"{place}/{new_name()}", encode_table(merge(tables.values())))
            for name in tables:
                store.delete(f"{place}/{name}")


def _batches(sizes: Iterable[tuple[Path, int]], full_bytes: int) -> Iterator[list[Path]]:
    batch: list[Path] = []
    room = full_bytes
    for path, size in sizes:
        if size > room and batch:
            yield batch
            batch, room = [], full_bytes
        batch.append(path)
        room -= size
    yield batch


def _whole(path: Path) -> pa.Table | None:
    payload = path.read_bytes()
    try:
        return decode(payload)
    except (pa.ArrowException, OSError) as error:
        _log.warning("event log: segment %s is torn and was left alone: %s", path, error)
        return None


def _paths(store: SegmentStore, place: str) -> list[Path]:
    return sorted(store.local(place).glob(f"*{SUFFIX}"))
