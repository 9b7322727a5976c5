"""The event log as Parquet segments in a folder: append-only, durable when `append` returns, safe against kill -9.

Each `append` becomes one segment per experiment and kind, written beside its final name, flushed to disk and then
renamed. So a reader sees a whole segment or none; a writer that died leaves only a `.part` file, which no reader opens.
Columnar segments keep 100,000 events under a second and are what the engines that aggregate experiments read directly.
"""

import logging
import os
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trimtab.errors import BadInput
from trimtab.types import Event, EventKind

_log = logging.getLogger(__name__)

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),
        ("experiment", pa.string()),
        ("unit", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("arm", pa.string()),
        ("version", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("segments", pa.map_(pa.string(), pa.string())),
    ]
)
_FIELDS = tuple(name for name in _SCHEMA.names if name != "segments")


class FileEventLog:
    """An event log under a `file://` folder; satisfies `trimtab.ports.EventLog`.

    Args:
        uri: Folder of the log, as `file:///path` or a plain path. Created on first use.

    Raises:
        BadInput: The URI has another scheme.
    """

    def __init__(self, uri: str) -> None:
        self._root = _folder(uri)

    def append(self, events: Iterable[Event]) -> None:
        """Add events, durable on return.

        Args:
            events: Any number of events, of any experiments.

        Raises:
            BadInput: An event lacks an id, experiment, unit or time zone, or a segment is named like an event field.
        """
        groups: dict[tuple[str, EventKind], list[Event]] = defaultdict(list)
        for event in events:
            groups[event.experiment, event.kind].append(event)
        for group in groups.values():
            _check(group)
        for (experiment, kind), group in groups.items():
            _write_segment(self._folder(experiment, kind), _table(group))

    def read(self, experiment: str, kind: EventKind) -> pd.DataFrame:
        """Events of one kind without repeats, in time order.

        Of several events with one id the earliest counts. A segment that cannot be read (its disk lost it) is left out
        and logged as a warning.

        Args:
            experiment: Name of the experiment; one that was never logged gives no rows.
            kind: `exposure` or `outcome`.

        Returns:
            One row per event; one column per `Event` field (segments apart), and one text column per segment.
        """
        tables = [table for path in self._segments(experiment, kind) if (table := _read_segment(path)) is not None]
        merged = pa.concat_tables(tables) if tables else _SCHEMA.empty_table()
        frame = merged.drop_columns(["segments"]).to_pandas()
        segments = _segment_columns(merged.column("segments"))
        frame = pd.concat([frame, segments], axis=1)
        return frame.sort_values("time", kind="stable").drop_duplicates("id").reset_index(drop=True)

    def experiments(self) -> tuple[str, ...]:
        """Names of the experiments that have events, sorted."""
        return tuple(sorted(unquote(path.name) for path in self._root.glob("*") if path.is_dir()))

    def _folder(self, experiment: str, kind: EventKind) -> Path:
        # "." is never escaped by quote, so an experiment called ".." would leave the log.
        return self._root / quote(experiment, safe="").replace(".", "%2E") / kind

    def _segments(self, experiment: str, kind: EventKind) -> list[Path]:
        return sorted(self._folder(experiment, kind).glob("*.parquet"))


def _folder(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.scheme not in {"", "file"}:
        raise BadInput(
            f"event log '{uri}': the scheme '{parts.scheme}' is not supported.", remedy="Use a file:// folder."
        )
    return Path(unquote(parts.path) if parts.scheme else uri)


def _check(events: Sequence[Event]) -> None:
    for event in events:
        if not (event.id and event.experiment and event.unit):
            raise BadInput(
                f"event '{event.id}' of experiment '{event.experiment}' lacks an id, an experiment or a unit."
            )
        if event.time.tzinfo is None:
            raise BadInput(f"event '{event.id}': its time has no zone.", remedy="Give an aware time.")
        if event.segments and (taken := event.segments.keys() & set(_FIELDS)):
            raise BadInput(f"event '{event.id}': segment '{min(taken)}' is named like a field of the event.")


def _table(events: Sequence[Event]) -> pa.Table:
    columns: list[pa.Array] = [
        pa.array([getattr(event, field.name) for event in events], field.type)
        for field in _SCHEMA
        if field.name != "segments"
    ]
    columns.append(pa.array([list(event.segments.items()) for event in events], _SCHEMA.field("segments").type))
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _write_segment(folder: Path, table: pa.Table) -> None:
    _make_folder(folder)
    final = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex}.parquet"
    part = final.with_suffix(".part")
    with part.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    part.replace(final)
    _sync_folder(folder)


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


def _read_segment(path: Path) -> pa.Table | None:
    try:
        with pq.ParquetFile(path) as segment:
            return segment.read().cast(_SCHEMA)
    except (pa.ArrowInvalid, OSError) as error:
        _log.warning("event log: segment %s is torn and was left out: %s", path, error)
        return None


def _segment_columns(values: pa.ChunkedArray) -> pd.DataFrame:
    rows = [dict(row) if row else {} for row in values.to_pylist()]
    names = sorted({name for row in rows for name in row})
    return pd.DataFrame({name: [row.get(name) for row in rows] for name in names}, index=range(len(rows)))
