"""From what was measured to what to do: nothing, retrain, or page someone because the data are broken.

Counting drifted columns alone hides the one that matters: at a share of one half, a critical column in twenty never
triggers. So any of four signs is enough: an important column drifted, any column drifted far, many columns drifted, or
the model's own answers did. Broken columns come first: then someone is paged, and nothing is retrained on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from trimtab.errors import BadInput
from trimtab.monitoring.drift import PREDICTION, ColumnDrift, DriftReport
from trimtab.monitoring.health import BrokenColumn
from trimtab.sessions.spec import DatasetSpec
from trimtab.sessions.validation.leakage import column_auc

Action = Literal["none", "retrain", "page"]


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """When drift is worth acting on; declared before the data are seen.

    Attributes:
        important: Columns of which one is enough.
        severe: A score of this many thresholds is enough in any column.
        share: This share of the watched columns is enough.
    """

    important: frozenset[str] = frozenset()
    severe: float = 3.0
    share: float = 0.25

    def __post_init__(self) -> None:
        if not (self.severe >= 1 and 0 < self.share <= 1):
            raise BadInput(
                f"drift policy: severe is {self.severe} (at least 1) and share is {self.share} (above 0, at most 1)."
            )


@dataclass(frozen=True, slots=True)
class DriftDecision:
    """What to do about drift.

    Attributes:
        action: `page` where columns broke, `retrain` where sessions drifted, otherwise `none`.
        detected: Whether drift was found, broken columns apart.
        reasons: One sentence each, the weightiest first; never empty.
    """

    action: Action
    detected: bool
    reasons: tuple[str, ...]


def judge_drift(report: DriftReport, *, broken: Sequence[BrokenColumn] = (), policy: DriftPolicy) -> DriftDecision:
    """Decide what a drift report asks for.

    Args:
        report: The report; a column that broke is left out of the judgement of drift.
        broken: Columns that broke.
        policy: When drift is worth acting on.
    """
    unusable = {column.column for column in broken}
    compared = [column for column in report.columns if column.column not in unusable]
    reasons = _signs_of_drift(compared, policy)
    if broken:
        pages = tuple(f"{column}: a broken pipeline, not drift." for column in broken)
        return DriftDecision("page", bool(reasons), (*pages, *reasons))
    if reasons:
        return DriftDecision("retrain", True, tuple(reasons))
    count = sum(column.drifted for column in compared)
    return DriftDecision(
        "none", False, (f"{count} of {len(compared)} columns drifted, none of them important or far.",)
    )


def important_columns(reference: pd.DataFrame, spec: DatasetSpec, *, top: int = 8) -> frozenset[str]:
    """The columns that tell most about the label, each taken alone: those of the highest `column_auc`.

    It says where drift would hurt, not what causes a conversion.

    Args:
        reference: Sessions with labels.
        spec: Their spec.
        top: How many columns.
    """
    strength = {name: column_auc(reference[name], reference[spec.label]) for name in spec.inputs if name in reference}
    return frozenset(sorted(strength, key=lambda name: (-strength[name], name))[:top])


def _signs_of_drift(columns: Sequence[ColumnDrift], policy: DriftPolicy) -> list[str]:
    drifted = [column for column in columns if column.drifted]
    reasons = []
    for column in drifted:
        if column.column == PREDICTION:
            reasons.append(f"The model's answers drifted: {_scored(column)}.")
        elif column.column in policy.important:
            reasons.append(f"'{column.column}', an important column, drifted: {_scored(column)}.")
        elif column.score >= policy.severe * column.threshold:
            reasons.append(f"'{column.column}' drifted far: {_scored(column)}.")
    watched = [column for column in columns if column.column != PREDICTION]
    moved = [column for column in drifted if column.column != PREDICTION]
    if watched and len(moved) / len(watched) >= policy.share:
        reasons.append(f"{len(moved)} of {len(watched)} columns drifted, at least the {policy.share:.0%} that count.")
    return reasons


def _scored(column: ColumnDrift) -> str:
    return f"{column.method} {column.score:.3f}, threshold {column.threshold:g}"
