"""From what a file says to the types that a spec asks for.

A cell that cannot be read as its type becomes missing and is noted as a defect of its row. What makes a whole column
unusable (a label of three values, times without a zone) stops here, because no row could be right.
"""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel

from trimtab.errors import BadInput
from trimtab.sessions.load import Table
from trimtab.sessions.spec import (
    AttributeColumn,
    Column,
    DatasetSpec,
    IgnoredColumn,
    KpiColumn,
    LabelColumn,
    TimestampColumn,
    TreatmentColumn,
    ValueColumn,
)
from trimtab.sessions.validation.findings import Defect
from trimtab.sessions.validation.quarantine import mask_details

_NUMBER = r"^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|infinity))$"
_ZONE = r"(?:[zZ]|[+-]\d{2}:?(?:\d{2})?)$"
_TIME_OF_DAY = r"\d{2}:\d{2}"
_DECIMAL_COMMA = re.compile(r"'[+-]?\d+,\d+' ")
_MOST_VALUES_SHOWN = 6
_MOSTLY = 0.5
_SAMPLE = 100

Mask = NDArray[np.bool_]
Cells = tuple[pd.Series, Defect | None]


def coerce(
    table: Table,
    spec: DatasetSpec,
    *,
    key: bytes,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[pd.DataFrame, list[Defect]]:
    """Read each column of the spec as its type.

    Args:
        table: The file's content; its columns are known to be there.
        spec: What the columns mean.
        key: Key of the pseudonyms that an error shows in place of personal data.
        progress: Hears how many of how many columns are read.

    Returns:
        A frame with the rows of `table.data` (numbers as float64, label and treatment as nullable 0/1, times in UTC,
        text with None where missing), and the defects of single cells.

    Raises:
        BadInput: A column is unusable as a whole; the message names it, its values and the remedy.
    """
    columns: dict[str, pd.Series] = {}
    defects: list[Defect] = []
    wanted = {name: column for name, column in spec.columns.items() if not isinstance(column, IgnoredColumn)}
    for done, (name, column) in enumerate(wanted.items(), start=1):
        series, defect = read_column(table, name, spec)
        if series.isna().all() and defect is None:
            raise BadInput(
                f"column '{name}' of '{table.path}' has no value in any of the {len(series):,} rows.",
                remedy=f"Fill it, or take '{name}' out of the spec.",
            )
        columns[name] = series
        if defect is not None:
            _require_mostly_readable(defect, series, table, column, key)
            defects.append(defect)
        progress(done, len(wanted))
    return pd.DataFrame(columns), defects


def read_column(table: Table, name: str, spec: DatasetSpec) -> Cells:
    """Read one column as its type, whatever share of it can be read.

    Returns:
        The values, missing where a cell cannot be read, and the cells that cannot; None where all can.

    Raises:
        BadInput: The column is unusable as a whole.
    """
    column = spec.columns[name]
    numeric = isinstance(column, AttributeColumn) and column.kind == "numeric"
    reader = _read_number if numeric else _READERS.get(type(column), _read_text)
    return reader(table, name, spec)


def _require_mostly_readable(defect: Defect, series: pd.Series, table: Table, column: Column, key: bytes) -> None:
    """Where most values of a column cannot be read, the column is at fault and not its rows."""
    present = int(series.notna().sum()) + len(defect.rows)
    if len(defect.rows) <= _MOSTLY * present:
        return
    line = table.lines()[table.records[defect.rows[0]]]
    personal = isinstance(column, AttributeColumn) and column.personal
    shown = mask_details([defect], personal=frozenset({defect.column} if personal else ()), key=key)[0]
    raise BadInput(
        f"column '{defect.column}' ({column.role}) of '{table.path}': {len(defect.rows):,} of its {present:,} values "
        f"cannot be read, the first in {'line' if table.delimiter else 'row'} {line}: {shown.details[0]}.",
        remedy=_remedy(defect, column.role),
    )


def _remedy(defect: Defect, role: str) -> str:
    """What to do about cells that cannot be read as their type."""
    if defect.check == "time":
        return "Write times as ISO 8601 with an offset."
    if all(_DECIMAL_COMMA.match(str(text)) for text in defect.details[:_SAMPLE]):
        return 'Write `format: {decimal: ","}` in the spec.'
    instead = "give it `role: attribute` or `role: ignore`" if role == "kpi" else "correct its role"
    return f"If it is not a number at all, {instead} in the spec."


def plain_text(column: pa.ChunkedArray, missing: tuple[str, ...]) -> pa.ChunkedArray:
    """A column as trimmed text: null where missing, whole numbers without a point, truth values as true and false."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        whole = pc.all(pc.and_(pc.equal(pc.trunc(column), column), pc.less(pc.abs(column), 2.0**53))).as_py()
        column = column.cast(pa.int64()) if whole else column
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    text = pc.if_else(pc.is_in(text, pa.array(missing, pa.string())), pa.scalar(None, pa.string()), text)
    lower = pc.utf8_lower(text)
    truths = pc.all(pc.is_in(pc.unique(lower).drop_null(), pa.array(["true", "false"]))).as_py()
    return lower if truths else text


def _read_text(table: Table, name: str, spec: DatasetSpec) -> Cells:
    source = table.data.column(name)
    if pa.types.is_nested(source.type) or pa.types.is_binary(source.type):
        raise BadInput(
            f"column '{name}' of '{table.path}' holds {source.type}, not single values.",
            remedy="Spread it over plain columns, or give it role 'ignore'.",
        )
    text = plain_text(source, spec.format.missing).to_pandas()
    return pd.Series(text.astype(object).where(text.notna(), None), name=name), None


def _read_number(table: Table, name: str, spec: DatasetSpec) -> Cells:
    source = table.data.column(name)
    kind = source.type
    if (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    ):
        return _floats(source.cast(pa.float64(), safe=False), name), None
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)):
        raise BadInput(
            f"column '{name}' ({spec.columns[name].role}) of '{table.path}' holds {kind}, not numbers.",
            remedy=f"Write '{name}' as a number in a unit such as seconds, or give it role 'ignore'.",
        )
    written = plain_text(source, spec.format.missing)
    text = pc.replace_substring(written, spec.format.decimal, ".") if spec.format.decimal != "." else written
    try:
        return _floats(text.cast(pa.float64()), name), None
    except pa.ArrowInvalid:
        good = pc.match_substring_regex(text, _NUMBER)
    values = pc.if_else(good, text, pa.scalar(None, pa.string())).cast(pa.float64())
    bad = pc.invert(good).to_numpy(zero_copy_only=False)
    return _floats(values, name), _defect(name, "number", np.equal(bad, True), written, "is not a number")


def _floats(values: pa.ChunkedArray, name: str) -> pd.Series:
    return pd.Series(values.to_numpy().astype(np.float64, copy=False), name=name)


def _read_time(table: Table, name: str, spec: DatasetSpec) -> Cells:
    timezone = spec.named(TimestampColumn)[name].timezone
    written = plain_text(table.data.column(name), spec.format.missing)
    present = _truth(pc.is_valid(written))
    zoned = _truth(pc.and_(pc.match_substring_regex(written, _ZONE), pc.match_substring_regex(written, _TIME_OF_DAY)))
    local = present & ~zoned
    if timezone is None and present.any() and not zoned.any():
        raise BadInput(
            f"column '{name}' (timestamp) of '{table.path}' has no time zone in any row, "
            f"e.g. '{written.drop_null()[0]}'.",
            remedy=f"Declare it in the spec: `{name}: {{role: timestamp, timezone: Europe/Berlin}}` (an IANA name), "
            "or write times with an offset such as 2026-11-22T14:00:00+01:00.",
        )
    text = written.to_pandas()
    times = pd.Series(pd.NaT, index=text.index, dtype="datetime64[ns, UTC]", name=name)
    times[zoned] = pd.to_datetime(text[zoned], format="ISO8601", errors="coerce", utc=True)
    clock = pd.to_datetime(text[local], format="ISO8601", errors="coerce")
    if timezone is not None:
        times[local] = clock.dt.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    unplaced = np.zeros(len(text), dtype=bool)
    unplaced[local] = clock.notna()
    what = np.where(
        unplaced,
        "has no time zone" if timezone is None else f"is twice or never on the clock in {timezone}",
        "is not an ISO 8601 time such as 2026-11-22T14:00:00Z",
    )
    return times, _defect(name, "time", present & times.isna().to_numpy(), written, what)


def _read_binary(table: Table, name: str, spec: DatasetSpec) -> Cells:
    column = (spec.named(LabelColumn) | spec.named(TreatmentColumn))[name]
    text = plain_text(table.data.column(name), spec.format.missing).to_pandas()
    counts = text.value_counts()
    shown = ", ".join(f"'{value}' ({rows:,} rows)" for value, rows in counts.head(_MOST_VALUES_SHOWN).items())
    shown += f" and {len(counts) - _MOST_VALUES_SHOWN} more" if len(counts) > _MOST_VALUES_SHOWN else ""
    where = f"column '{name}' ({column.role}) of '{table.path}'"
    if len(counts) > 2:
        raise BadInput(
            f"{where} has {len(counts):,} values where two are allowed: {shown}.",
            remedy="Mend these rows, or name a column with two values.",
        )
    if len(counts) == 1:
        raise BadInput(
            f"{where} has one value only: {shown}.",
            remedy="Add rows of the other kind: without both there is nothing to learn.",
        )
    positive = _truth_key(str(column.positive))
    keys = {value: _truth_key(str(value)) for value in counts.index}
    if len(counts) and positive not in keys.values():
        raise BadInput(
            f"{where} never has its positive value '{column.positive}'; it has {shown}.",
            remedy=f"Write the value that counts: `{name}: {{role: {column.role}, positive: {counts.index[-1]}}}`.",
        )
    binary = text.map({value: float(key == positive) for value, key in keys.items()}).astype(np.float64)
    return binary.rename(name), None


def _truth_key(value: str) -> str:
    """A value by its meaning: TRUE, true and 1 are one, and so are 1.0 and 1."""
    folded = value.strip().casefold()
    folded = {"true": "1", "false": "0"}.get(folded, folded)
    return folded.removesuffix(".0")


def _truth(values: pa.ChunkedArray) -> Mask:
    return np.asarray(pc.fill_null(values, False).to_numpy(), dtype=bool)


def _defect(name: str, check: str, bad: Mask, written: pa.ChunkedArray, what: str | NDArray[np.str_]) -> Defect | None:
    rows = np.flatnonzero(bad)
    if not len(rows):
        return None
    values = written.take(pa.array(rows)).to_pylist()
    texts = np.broadcast_to(np.asarray(what), bad.shape)[rows]
    details = np.array([f"'{value}' {text}" for value, text in zip(values, texts, strict=True)], dtype=object)
    return Defect(name, check, rows, details)


_READERS: dict[type[BaseModel], Callable[[Table, str, DatasetSpec], Cells]] = {
    KpiColumn: _read_number,
    ValueColumn: _read_number,
    TimestampColumn: _read_time,
    LabelColumn: _read_binary,
    TreatmentColumn: _read_binary,
}
