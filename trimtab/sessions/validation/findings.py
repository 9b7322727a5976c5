"""What validation has to say, as plain values."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab.sessions.spec import DatasetSpec

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a reader of the data should know.

    Attributes:
        severity: `error` for what cost rows, `warning` for what may mislead a model, `info` for what was done.
        check: The check that found it, e.g. `leak`.
        column: The column concerned; empty where it concerns the whole table.
        message: What was found, with the numbers.
        remedy: What can be done about it; empty where nothing needs doing.
        rows: Number of rows concerned.
    """

    severity: Severity
    check: str
    column: str
    message: str
    remedy: str = ""
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Defect:
    """Rows that fail one check on one column.

    Attributes:
        column: The column; empty where the row as a whole is wrong.
        check: Name of the check, e.g. `range`.
        rows: Positions of the rows in the table.
        details: What is wrong with each of them, aligned with `rows`.
    """

    column: str
    check: str
    rows: NDArray[np.int64]
    details: NDArray[np.object_]

    @property
    def reasons(self) -> list[str]:
        """One reason per row, with the column's name."""
        prefix = f"{self.column}: " if self.column else ""
        return [prefix + str(detail) for detail in self.details]


@dataclass(frozen=True, slots=True)
class Validated:
    """A table after validation.

    Attributes:
        frame: The accepted rows, typed as the spec says; the unit and personal attributes are pseudonyms.
        spec: The spec of `frame`: without the columns that were left out.
        quarantine: The rejected rows as they were read, with `row` and `reasons`, personal data masked.
        findings: What was found, gravest first.
        read: Rows read; the accepted and the rejected ones add up to it.
    """

    frame: pd.DataFrame
    spec: DatasetSpec
    quarantine: pd.DataFrame
    findings: tuple[Finding, ...]
    read: int

    @property
    def rejected(self) -> int:
        """Number of rejected rows."""
        return len(self.quarantine)

    @property
    def conversion_rate(self) -> float:
        """Share of accepted rows with a positive label."""
        return float(self.frame[self.spec.label].mean()) if len(self.frame) else 0.0
