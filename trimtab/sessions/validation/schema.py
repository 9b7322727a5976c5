"""The spec as a pandera schema, and pandera's verdict as defects of rows.

Every rule that a single row can break is here and is checked in one lazy pass, so that a row in quarantine carries
all of its reasons and not only the first.
"""

import numpy as np
import pandas as pd
import pandera.pandas as pa

from trimtab.sessions.spec import (
    AttributeColumn,
    Column,
    DatasetSpec,
    IdColumn,
    KpiColumn,
    LabelColumn,
    TimestampColumn,
    TreatmentColumn,
    UnitColumn,
    ValueColumn,
)
from trimtab.sessions.validation.findings import Defect

_MISSING = "missing"
_REPEATED = "repeated"


def build_schema(spec: DatasetSpec) -> pa.DataFrameSchema:
    """The rules that each row of a coerced frame must keep."""
    return pa.DataFrameSchema(
        {name: rules for name, column in spec.columns.items() if (rules := _rules(column)) is not None}, strict=False
    )


def row_defects(frame: pd.DataFrame, spec: DatasetSpec, known: list[Defect]) -> list[Defect]:
    """Check a coerced frame.

    Args:
        frame: The frame, with a RangeIndex.
        spec: What the columns mean.
        known: Defects from reading; a cell that could not be read is not reported again as missing.

    Returns:
        The defects that pandera finds, by column and check.
    """
    try:
        build_schema(spec).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        return _defects(error.failure_cases, {defect.column: defect.rows for defect in known})
    return []


def _rules(column: Column) -> pa.Column | None:
    rules: pa.Column | None = None
    match column:
        case IdColumn():
            rules = pa.Column(object, unique=True, report_duplicates="exclude_first", nullable=False)
        case UnitColumn():
            rules = pa.Column(object, nullable=False)
        case TimestampColumn():
            rules = pa.Column(pd.DatetimeTZDtype("ns", "UTC"), nullable=False)
        case LabelColumn() | TreatmentColumn():
            rules = pa.Column(float, nullable=False)
        case ValueColumn():
            rules = pa.Column(float, _finite(), nullable=True)
        case KpiColumn() | AttributeColumn(kind="numeric"):
            rules = pa.Column(float, _limits(column), nullable=column.nullable)
        case AttributeColumn():
            rules = pa.Column(object, _members(column), nullable=column.nullable)
    return rules


def _finite() -> pa.Check:
    return pa.Check(np.isfinite, name="infinite", error="infinite", ignore_na=True)


def _limits(column: KpiColumn | AttributeColumn) -> list[pa.Check]:
    """Finite, and within bounds; an infinite value breaks the first rule only."""
    checks = [_finite()]
    if column.minimum is not None:
        low = column.minimum
        checks.append(pa.Check(lambda values: (values >= low) | np.isinf(values), error=f"below the minimum {low:g}"))
    if column.maximum is not None:
        high = column.maximum
        checks.append(pa.Check(lambda values: (values <= high) | np.isinf(values), error=f"above the maximum {high:g}"))
    return checks


def _members(column: AttributeColumn) -> list[pa.Check]:
    if column.categories is None:
        return []
    return [pa.Check.isin(column.categories, error=f"not one of {', '.join(column.categories)}")]


def _defects(failures: pd.DataFrame, unread: dict[str, np.ndarray]) -> list[Defect]:
    defects = []
    for (column, rule), cases in failures.groupby(["column", "check"], sort=False):
        rows = cases["index"].to_numpy(dtype=np.int64)
        values = cases["failure_case"].to_numpy(dtype=object)
        if rule == "not_nullable":
            rows = np.setdiff1d(rows, unread.get(str(column), np.empty(0, np.int64)))
            check, details = _MISSING, np.full(len(rows), "is missing", dtype=object)
        elif rule == "field_uniqueness":
            check, details = _REPEATED, np.array([f"'{value}' is the id of an earlier row" for value in values], object)
        else:
            limit = str(rule).startswith(("above", "below"))
            check = "infinite" if rule == "infinite" else "range" if limit else "category"
            details = np.array([f"{_shown(value)} is {rule}" for value in values], dtype=object)
        if len(rows):
            defects.append(Defect(str(column), check, rows, details))
    return defects


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else f"'{value}'"
