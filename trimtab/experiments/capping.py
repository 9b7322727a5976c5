"""Capping (winsorising): a few whales must not decide a revenue experiment.

Capping changes the estimand: it is the effect on the capped metric. So the thresholds are declared, or taken from all
arms together: thresholds by arm would remove part of the effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from trimtab.errors import BadInput
from trimtab.experiments.moments import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Capped:
    """A capped column.

    Attributes:
        values: The column after capping, shape [rows].
        upper: Upper threshold of each group; the key is empty where there is one group.
        lower: Lower threshold of each group.
        share: Share of the rows that were changed.
    """

    values: Floats
    upper: dict[str, float] = field(default_factory=dict)
    lower: dict[str, float] = field(default_factory=dict)
    share: float = 0.0


def cap(values: Sequence[float] | npt.NDArray[np.generic], *, lower: float = -np.inf, upper: float = np.inf) -> Capped:
    """Cap at declared thresholds.

    Raises:
        BadInput: The thresholds are in the wrong order, or values are missing.

    >>> cap([1.0, 5.0, 900.0], upper=100.0).values.tolist()
    [1.0, 5.0, 100.0]
    """
    if not lower <= upper:
        raise BadInput(f"values cannot be capped to [{lower}, {upper}].")
    data = _checked(values)
    capped = np.clip(data, lower, upper)
    return Capped(capped, {"": float(upper)}, {"": float(lower)}, _changed(data, capped))


def cap_at_quantiles(
    values: Sequence[float] | npt.NDArray[np.generic],
    *,
    upper: float = 0.99,
    lower: float = 0.0,
    groups: Sequence[str] | None = None,
    ignore_zeros: bool = False,
) -> Capped:
    """Cap at quantiles of all arms together, within each group (a country, a device) where groups are given.

    Args:
        values: The column over all arms, shape [rows].
        upper: Quantile that the upper threshold is taken at; 1 caps nothing.
        lower: Quantile of the lower threshold; 0 caps nothing.
        groups: Group of each row, shape [rows].
        ignore_zeros: Take quantiles over the non-zero values, for a metric that most units do not have.

    Raises:
        BadInput: Quantiles are not ordered in [0, 1], lengths differ, or values are missing.
    """
    if not 0 <= lower <= upper <= 1:
        raise BadInput(f"capping quantiles are {lower} and {upper}; they must be ordered in [0, 1].")
    data = _checked(values)
    labels = np.full(len(data), "") if groups is None else np.asarray(groups, dtype=object).astype(str)
    if len(labels) != len(data):
        raise BadInput(f"there are {len(data)} values but {len(labels)} groups.")
    capped, highs, lows = data.copy(), {}, {}
    for label in np.unique(labels):
        rows = labels == label
        base = data[rows & (data != 0)] if ignore_zeros else data[rows]
        if not len(base):
            continue
        low, high = (float(value) for value in np.quantile(base, (lower, upper)))
        lows[str(label)], highs[str(label)] = low, high
        capped[rows] = np.clip(data[rows], low, high) if not ignore_zeros else _clip_nonzero(data[rows], low, high)
    return Capped(capped, highs, lows, _changed(data, capped))


def _clip_nonzero(values: Floats, low: float, high: float) -> Floats:
    return np.where(values == 0, 0.0, np.clip(values, low, high))


def _checked(values: Sequence[float] | npt.NDArray[np.generic]) -> Floats:
    data = np.asarray(values, dtype=np.float64)
    if np.isnan(data).any():
        raise BadInput("values to be capped are missing.", remedy="Drop or impute them first.")
    return data


def _changed(before: Floats, after: Floats) -> float:
    return float(np.mean(before != after)) if len(before) else 0.0
