"""What a drift check found, as plain values; the retraining policy reads these, not a vendor's report."""

from dataclasses import dataclass
from typing import Final

PREDICTION: Final = "predicted_probability"  # column of a model's answers, where sessions were scored


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """Drift of one column.

    Attributes:
        column: Name of the column.
        method: How it was scored, e.g. `normed Wasserstein distance`.
        score: The distance (larger is further) between reference and current values.
        threshold: The score at and above which the column counts as drifted.
        drifted: Whether it does.
    """

    column: str
    method: str
    score: float
    threshold: float
    drifted: bool


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Drift of a set of sessions against a reference.

    Attributes:
        columns: One entry per compared column, most drifted first.
        reference_rows: Rows of the reference.
        current_rows: Rows of the set compared with it.
        page: Path of the page about it.
    """

    columns: tuple[ColumnDrift, ...]
    reference_rows: int
    current_rows: int
    page: str

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The columns that drifted."""
        return tuple(column for column in self.columns if column.drifted)
