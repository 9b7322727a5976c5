"""The rejected rows, as they were read, with every reason: nothing vanishes, and nobody's data leak this way."""

import re
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from trimtab.sessions.load import Table
from trimtab.sessions.privacy import mask, pseudonym
from trimtab.sessions.validation.findings import Defect, Finding

# To the last quotation mark: a value may hold one itself, as in o'neill@example.org.
_QUOTED = re.compile(r"'(.*)'", re.DOTALL)
_MOST_SHOWN = 3


def mask_details(defects: Iterable[Defect], *, personal: frozenset[str], key: bytes) -> list[Defect]:
    """The same defects with the values that they quote made safe to show."""
    masked = []
    for defect in defects:
        hide = partial(_hide_quoted, hide=pseudonym if defect.column in personal else mask, key=key)
        codes, texts = pd.factorize(defect.details)
        details = np.array([hide(str(text)) for text in texts], dtype=object)[codes]
        masked.append(Defect(defect.column, defect.check, defect.rows, details))
    return masked


def _hide_quoted(text: str, *, hide: Callable[[str, bytes], str], key: bytes) -> str:
    return _QUOTED.sub(lambda found: f"'{hide(found[1], key)}'", text)


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
    """One finding per column and check: the most frequent complaints, and the lines of the first rows with them."""
    if not defects:
        return []
    lines = table.lines()[_records(table)]
    word = "line" if table.delimiter else "row"
    return [
        Finding(
            "error",
            defect.check,
            defect.column,
            _summary(defect, lines, word),
            _REMEDIES.get(defect.check, _MEND),
            len(defect.rows),
        )
        for defect in defects
    ]


def _records(table: Table) -> NDArray[np.int64]:
    """Where in the file each row of the table is, then each malformed line."""
    return np.concatenate([table.records, [row.record for row in table.malformed]]).astype(np.int64)


def _summary(defect: Defect, lines: NDArray[np.int64], word: str) -> str:
    """E.g. `'n/a' is not a number (lines 3, 7 and 9); 'slow' is not a number (line 12)`."""
    codes, texts = pd.factorize(defect.details)
    frequent = np.argsort(-np.bincount(codes), kind="stable")
    clauses = []
    for code in frequent[:_MOST_SHOWN]:
        at = [f"{line}" for line in np.sort(lines[defect.rows[codes == code]])]
        shown = ", ".join(at[:_MOST_SHOWN]) + (f" and {len(at) - _MOST_SHOWN:,} more" if len(at) > _MOST_SHOWN else "")
        clauses.append(f"{texts[code]} ({word if len(at) == 1 else word + 's'} {shown})")
    rest = int(np.isin(codes, frequent[_MOST_SHOWN:]).sum())
    return (
        "; ".join(clauses)
        + (f"; and {rest:,} more {word}s" if rest > 1 else f"; and 1 more {word}" if rest else "")
        + "."
    )


_MEND = "Mend the rows, or leave them out."
_REMEDIES = {
    "number": "Mend the cells; if the text stands for missing, add it to `format: {missing: [...]}` in the spec.",
    "time": "Write times as ISO 8601 with an offset.",
    "range": "Mend the cells, or widen the column's limits in the spec.",
    "category": "Mend the cells, or add the value to the column's `categories` in the spec.",
    "missing": "Fill the cells; a KPI or an attribute may be `nullable: true` in the spec.",
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
