"""Columns that broke, as opposed to columns that drifted: a sensor that stopped, a join that failed, a field renamed.

A model retrained on broken columns learns the breakage, so these are found before drift is judged and reported apart.
"""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from trimtab.sessions.spec import AttributeColumn, DatasetSpec

Problem = Literal["absent", "all_missing", "mostly_missing", "constant"]

MISSING_JUMP = 0.25  # a column that loses this share of all its values at once did not drift
MIN_ROWS = 50  # fewer rows say nothing about a column being constant


@dataclass(frozen=True, slots=True)
class BrokenColumn:
    """A column whose values stopped coming.

    Attributes:
        column: Name of the column.
        problem: What is wrong with it.
        missing_before: Share of missing values in the reference.
        missing_now: Share of missing values in the current sessions.
    """

    column: str
    problem: Problem
    missing_before: float
    missing_now: float

    def __str__(self) -> str:
        said = {
            "absent": "is not there any more",
            "all_missing": f"has no values (before: {1 - self.missing_before:.0%})",
            "mostly_missing": f"misses {self.missing_now:.0%} of its values (before: {self.missing_before:.0%})",
            "constant": "has the same value everywhere",
        }
        return f"'{self.column}' {said[self.problem]}"


def watched_columns(spec: DatasetSpec) -> tuple[str, ...]:
    """Columns that are watched: all KPIs, and the attributes that are not personal."""
    attributes = (name for name, column in spec.attributes.items() if not column.personal)
    return (*spec.kpis, *attributes)


def is_numeric(name: str, spec: DatasetSpec) -> bool:
    """Whether a watched column holds numbers."""
    column = spec.columns.get(name)
    return not (isinstance(column, AttributeColumn) and column.kind == "categorical")


def broken_columns(reference: pd.DataFrame, current: pd.DataFrame, spec: DatasetSpec) -> tuple[BrokenColumn, ...]:
    """Find the columns that broke between the reference and now.

    A column that was already so in the reference is not reported; it was found when the reference was validated.

    Args:
        reference: Sessions that the model was trained on.
        current: New sessions.
        spec: Spec of both.
    """
    found = []
    for name in watched_columns(spec):
        if name in reference and (problem := _problem(reference[name], current.get(name))):
            now = 1.0 if name not in current else _missing(current[name])
            found.append(BrokenColumn(name, problem, _missing(reference[name]), now))
    return tuple(found)


def _problem(before: pd.Series, now: pd.Series | None) -> Problem | None:
    if before.isna().all():
        return None
    if now is None:
        return "absent"
    if now.isna().all():
        return "all_missing"
    if _missing(now) - _missing(before) >= MISSING_JUMP:
        return "mostly_missing"
    if len(now) >= MIN_ROWS and now.nunique() == 1 and before.nunique() > 1 and not _rarely_varies(before, len(now)):
        return "constant"
    return None


def _missing(values: pd.Series) -> float:
    return float(values.isna().mean()) if len(values) else 1.0


def _rarely_varies(before: pd.Series, rows: int) -> bool:
    """Whether a sample of this size would be constant by chance more than once in 1,000 times."""
    commonest = float(before.value_counts(normalize=True).iloc[0])
    return commonest**rows > 0.001
