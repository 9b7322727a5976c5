"""One segment of the event log: the columns that it holds, and how events become a Parquet file and a table again.

A segment is immutable. Attributes of a unit are columns of their own, named by the attribute, so that an engine that
reads the files groups by them like by any other column. Segments differ in their columns: readers take them by name.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import attrgetter
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trimtab.errors import BadInput
from trimtab.types import Event

SCHEMA = pa.schema(
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
        ("served_by", pa.string()),
        ("fallback", pa.string()),
        ("latency_ms", pa.float64()),
        ("probability", pa.float64()),
    ]
)
_OLD_MAP = "segments"  # Segments of older versions hold all attributes in one column of maps.
_DISTINCT = frozenset({"id", "unit", "time", "value", "latency_ms", "probability"})  # A dictionary saves nothing here.
_LONGEST_FOLDER = 255  # bytes, on the file systems that there are
_TAKEN = frozenset({*SCHEMA.names, _OLD_MAP})


def check(event: Event) -> None:
    """Refuse an event that could not be read back.

    Args:
        event: The event.

    Raises:
        BadInput: It lacks an id, experiment, unit or time zone, its experiment's name is too long, or an attribute is
            named like an event field.
    """
    if not (event.id and event.experiment and event.unit):
        raise BadInput(f"event '{event.id}' of experiment '{event.experiment}' lacks an id, an experiment or a unit.")
    if len(folder_name(event.experiment)) > _LONGEST_FOLDER:
        raise BadInput(f"event '{event.id}': the name of its experiment is too long for a folder.")
    if event.time.tzinfo is None:
        raise BadInput(f"event '{event.id}': its time has no zone.", remedy="Give an aware time.")
    if event.segments and (taken := _unusable(tuple(event.segments))):
        raise BadInput(f"event '{event.id}': segment '{taken}' is named like a field of the event.")


@lru_cache(maxsize=1_024)
def _unusable(names: tuple[str, ...]) -> str:
    """The first name that is an event field's; engines do not tell upper from lower case."""
    return next((name for name in sorted(names) if name.lower() in _TAKEN), "")


@lru_cache(maxsize=1_024)
def folder_name(experiment: str) -> str:
    """The folder that an experiment's events lie in."""
    # "." is never escaped by quote, so an experiment called ".." would leave the log.
    return quote(experiment, safe="").replace(".", "%2E")


def encode(events: Sequence[Event]) -> bytes:
    """Events as the bytes of a Parquet file.

    Args:
        events: Events that passed `check`, of one experiment and kind.

    Returns:
        The file: the columns of `SCHEMA`, then one text column per attribute.

    Raises:
        BadInput: A field holds what its column cannot, e.g. text that is not Unicode.
    """
    try:
        table = _table(events)
    except (pa.ArrowException, UnicodeError, TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"an event of experiment '{events[0].experiment}' cannot be stored: {error}") from error
    return encode_table(table)


def encode_table(table: pa.Table) -> bytes:
    """A table of events as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    repeating = [name for name in table.column_names if name not in _DISTINCT]
    pq.write_table(table, sink, compression="zstd", use_dictionary=repeating)
    return sink.getvalue().to_pybytes()


def decode(payload: bytes) -> pa.Table:
    """The events of a segment, whichever version wrote it.

    Args:
        payload: Bytes of the Parquet file.

    Returns:
        The columns of `SCHEMA` (empty text and NaN where the segment lacks one), then one text column per attribute.

    Raises:
        pa.ArrowException: The file is torn.
    """
    table = pq.ParquetFile(pa.BufferReader(payload)).read(use_threads=False)
    if pa.schema(list(table.schema)[: len(SCHEMA)]) == SCHEMA and _OLD_MAP not in table.column_names:
        return table
    found = {name: table.column(name) for name in table.column_names}
    columns = {field.name: _column(found.pop(field.name, None), field, len(table)) for field in SCHEMA}
    if _OLD_MAP in found:
        found |= _from_maps(found.pop(_OLD_MAP))
    return pa.table(columns | {name: found[name].cast(pa.string()) for name in sorted(found)})


def merge(tables: Iterable[pa.Table]) -> pa.Table:
    """Events of several segments in time order; of several events with one id the earliest counts.

    Args:
        tables: What `decode` gave.
    """
    merged = pa.concat_tables([SCHEMA.empty_table(), *tables], promote_options="default")
    ordered = merged.take(pc.sort_indices(merged, sort_keys=[("time", "ascending")]))
    repeated = ordered.column("id").to_pandas().duplicated()
    return ordered.filter(pa.array(~repeated)) if repeated.any() else ordered


def frame(table: pa.Table) -> pd.DataFrame:
    """A table of events for pandas: the columns of `SCHEMA`, then the attributes by name."""
    attributes = sorted(set(table.column_names) - set(SCHEMA.names))
    return table.select([*SCHEMA.names, *attributes]).to_pandas()


def _table(events: Sequence[Event]) -> pa.Table:
    columns = {field.name: pa.array(list(map(attrgetter(field.name), events)), field.type) for field in SCHEMA}
    attributes = [event.segments for event in events]
    for name in sorted(set().union(*attributes)):
        columns[name] = pa.array([values.get(name) for values in attributes], pa.string())
    return pa.table(columns)


def _column(values: pa.ChunkedArray | None, field: pa.Field, rows: int) -> pa.ChunkedArray:
    if values is not None:
        return values.cast(field.type)
    missing = float("nan") if pa.types.is_floating(field.type) else ""
    return pa.chunked_array([pa.repeat(pa.scalar(missing, field.type), rows)])


def _from_maps(maps: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    rows = [dict(row) if row else {} for row in maps.to_pylist()]
    names = sorted({name for row in rows for name in row})
    return {name: pa.chunked_array([pa.array([row.get(name) for row in rows], pa.string())]) for name in names}
