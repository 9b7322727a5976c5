"""The rejected rows, as they were read, with every reason: nothing vanishes, and nobody's data leak this way."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa

from trimtab.sessions.load import Table
from trimtab.sessions.privacy import mask, pseudonym
from trimtab.sessions.validation.findings import Defect, Finding

_QUOTED = re.compile(r"'([^']*)'")
_MOST_LINES_SHOWN = 3


def mask_details(defects: Iterable[Defect], *, personal: frozenset[str], key: bytes) -> list[Defect]:
    """The same defects with the values that they quote made safe to show."""
    masked = []
    for defect in defects:
        hide = pseudonym if defect.column in personal else mask
        details = [
            _QUOTED.sub(lambda found, hide=hide: f"'{hide(found[1], key)}'", str(text))  # type: ignore[misc]
            for text in defect.details
        ]
        masked.append(Defect(defect.column, defect.check, defect.rows, np.array(details, dtype=object)))
    return masked


def malformed_defect(table: Table) -> Defect | None:
    """Lines with a wrong number of fields, numbered after the well-formed rows of the table."""
    if not table.malformed:
        return None
    width = len(table.columns)
    details = [f"has {len(row.cells)} fields where the header has {width}" for row in table.malformed]
    rows = np.arange(len(table.malformed)) + table.data.num_rows
    return Defect("", "fields", rows, np.array(details, dtype=object))


def rejected_rows(table: Table, defects: list[Defect], *, personal: frozenset[str], key: bytes) -> pd.DataFrame:
    """The quarantine: one line per row that has a defect, in the file's order.

    Args:
        table: The file's content.
        defects: What is wrong, already masked; positions count the rows of the table, then its malformed lines.
        personal: Columns whose every value is replaced by a pseudonym; elsewhere only what looks personal is.
        key: Key of the pseudonyms.

    Returns:
        `row` (line number in a CSV, position in Parquet), `reasons` (joined by `; `), then the file's own columns.
    """
    reasons: dict[int, list[str]] = {}
    for defect in defects:
        for row, reason in zip(defect.rows.tolist(), defect.reasons, strict=True):
            reasons.setdefault(row, []).append(reason)
    positions = np.array(sorted(reasons), dtype=np.int64)
    if not len(positions):
        return pd.DataFrame({"row": [], "reasons": []})
    whole = positions[positions < table.data.num_rows]
    broken = [table.malformed[row - table.data.num_rows] for row in positions[len(whole) :]]
    records = np.concatenate([table.records[whole], [row.record for row in broken]]).astype(np.int64)
    frame = pd.concat(
        [_cells(table, whole, personal, key), _broken_cells(table, [row.cells for row in broken], personal, key)],
        ignore_index=True,
    )
    frame.insert(0, _free("reasons", table.columns), ["; ".join(reasons[row]) for row in positions.tolist()])
    frame.insert(0, _free("row", table.columns), table.lines()[records])
    return frame.iloc[np.argsort(records, kind="stable")].reset_index(drop=True)


def defect_findings(defects: list[Defect], table: Table) -> list[Finding]:
    """One finding per column and check, with the first cases quoted."""
    if not defects:
        return []
    lines = table.lines()
    records = np.concatenate([table.records, [row.record for row in table.malformed]]).astype(np.int64)
    findings = []
    for defect in defects:
        first = "; ".join(
            f"{text} ({'line' if table.delimiter else 'row'} {lines[records[row]]})"
            for row, text in zip(defect.rows[:_MOST_LINES_SHOWN], defect.details[:_MOST_LINES_SHOWN], strict=True)
        )
        more = len(defect.rows) - _MOST_LINES_SHOWN
        findings.append(
            Finding(
                "error",
                defect.check,
                defect.column,
                first + (f"; and {more:,} more" if more > 0 else "") + ".",
                _REMEDIES.get(defect.check, "Mend the rows in the quarantine file, or leave them out."),
                len(defect.rows),
            )
        )
    return findings


_REMEDIES = {
    "number": "Mend the cells, add their text to `format: {missing: [...]}`, or make the column an attribute.",
    "time": "Write times as ISO 8601 with an offset.",
    "range": "Mend the cells, or widen the limits of the column in the spec.",
    "missing": "Fill the cells, or make the column nullable in the spec.",
    "repeated": "Keep one row per id; the first one was kept.",
    "fields": "Quote values that contain the delimiter or a line break.",
}


def _cells(table: Table, rows: np.ndarray, personal: frozenset[str], key: bytes) -> pd.DataFrame:
    taken = table.data.take(pa.array(rows))
    columns = {}
    for name in table.columns:
        values = taken.column(name).to_pandas()
        if name in personal:
            columns[name] = [None if pd.isna(value) else pseudonym(str(value).strip(), key) for value in values]
        elif table.delimiter or not pd.api.types.is_numeric_dtype(values.dtype):
            columns[name] = [None if pd.isna(value) else mask(str(value), key) for value in values]
        else:
            columns[name] = values.tolist()
    return pd.DataFrame(columns, columns=list(table.columns), dtype=object)


def _broken_cells(table: Table, lines: list[tuple[str, ...]], personal: frozenset[str], key: bytes) -> pd.DataFrame:
    """Cells of malformed lines; where any column is personal all are hidden, because nobody knows which is which."""
    hide = pseudonym if personal else mask
    width = len(table.columns)
    rows = []
    for cells in lines:
        kept, rest = list(cells[: width - 1]), list(cells[width - 1 :])
        # What a line has too much of stays in the last column, so that it is not lost.
        cells_shown = [*kept, table.delimiter.join(rest)] if rest else kept
        rows.append([hide(cell, key) if cell else cell for cell in cells_shown] + [None] * (width - len(cells_shown)))
    return pd.DataFrame(rows, columns=list(table.columns), dtype=object)


def _free(name: str, taken: tuple[str, ...]) -> str:
    return _free(name + "_", taken) if name in taken else name
