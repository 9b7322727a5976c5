"""Which rows train, which decide when to stop, and which are looked at once, at the end.

With a timestamp the split is by time: the model is judged on sessions later than all that it saw, as it will be in use.
A returning user may then be on both sides; that is not leakage but how serving works, since history features describe a
unit as of before each session. Without a timestamp there is no such order, so all rows of one unit stay together, and
the classes are balanced over the parts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from trimtab.errors import BadInput
from trimtab.sessions.spec import DatasetSpec

Index = npt.NDArray[np.int64]
SHARES = (0.70, 0.15, 0.15)


@dataclass(frozen=True)
class Split:
    """Row positions of the three parts; disjoint, and together all rows of the split.

    Attributes:
        train: Rows that weights are fitted on.
        validation: Rows that early stopping, calibration and the threshold use.
        test: Rows that nothing is chosen by.
        ordered_by: `time`, `unit` or `row`: what was kept apart.
    """

    train: Index
    validation: Index
    test: Index
    ordered_by: str


def split_rows(frame: pd.DataFrame, spec: DatasetSpec, *, rng: np.random.Generator) -> Split:
    """Split 70/15/15.

    Args:
        frame: The training frame.
        spec: Its spec.
        rng: Source of the shuffle, where there is no time to order by.

    Raises:
        BadInput: A part would lack one of the classes.
    """
    label = frame[spec.label].to_numpy()
    if spec.timestamp:
        order = _time_order(frame, spec.timestamp)
        first, second = round(SHARES[0] * len(order)), round((SHARES[0] + SHARES[1]) * len(order))
        split = Split(order[:first], order[first:second], order[second:], "time")
    else:
        parts = _allocate(label, _groups(frame, spec), SHARES, rng)
        split = Split(parts[0], parts[1], parts[2], "unit" if spec.unit else "row")
    _check(split, label)
    return split


def fold_rows(frame: pd.DataFrame, spec: DatasetSpec, *, folds: int, rng: np.random.Generator) -> list[Split]:
    """Split for k-fold evaluation; each fold has its own validation part, taken from its training rows.

    With a timestamp, fold i trains on the first i of k + 1 equal periods and is tested on the next one; otherwise every
    row is tested once.

    Raises:
        BadInput: Fewer than two folds, or a part would lack one of the classes.
    """
    if folds < 2:
        raise BadInput(f"folds must be at least 2, not {folds}.")
    label = frame[spec.label].to_numpy()
    splits = _forward_folds(frame, spec, folds) if spec.timestamp else _cross_folds(frame, spec, folds, rng)
    for split in splits:
        _check(split, label)
    return splits


def _forward_folds(frame: pd.DataFrame, spec: DatasetSpec, folds: int) -> list[Split]:
    blocks = np.array_split(_time_order(frame, str(spec.timestamp)), folds + 1)
    splits = []
    for number in range(1, folds + 1):
        seen = np.concatenate(blocks[:number])
        cut = round(len(seen) * SHARES[0] / (SHARES[0] + SHARES[1]))
        splits.append(Split(seen[:cut], seen[cut:], blocks[number], "time"))
    return splits


def _cross_folds(frame: pd.DataFrame, spec: DatasetSpec, folds: int, rng: np.random.Generator) -> list[Split]:
    label, groups = frame[spec.label].to_numpy(), _groups(frame, spec)
    blocks = _allocate(label, groups, (1 / folds,) * folds, rng)
    splits = []
    for number, test in enumerate(blocks):
        rest = np.sort(np.concatenate([block for other, block in enumerate(blocks) if other != number]))
        share = SHARES[1] / (SHARES[0] + SHARES[1])
        train, validation = _allocate(label[rest], groups[rest], (1 - share, share), rng)
        splits.append(Split(rest[train], rest[validation], test, "unit" if spec.unit else "row"))
    return splits


def _time_order(frame: pd.DataFrame, timestamp: str) -> Index:
    return np.argsort(frame[timestamp].to_numpy(), kind="stable").astype(np.int64)


def _groups(frame: pd.DataFrame, spec: DatasetSpec) -> Index:
    if spec.unit is None:
        return np.arange(len(frame), dtype=np.int64)
    return pd.factorize(frame[spec.unit])[0].astype(np.int64)


def _allocate(
    label: npt.NDArray[np.int64], groups: Index, shares: tuple[float, ...], rng: np.random.Generator
) -> list[Index]:
    """Deal whole groups to parts by share of rows, separately for groups with and without a positive row."""
    codes, inverse = np.unique(groups, return_inverse=True)
    sizes = np.bincount(inverse)
    positive = np.bincount(inverse, weights=label) > 0
    part_of_group = np.zeros(len(codes), dtype=np.int64)
    for stratum in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        shuffled = rng.permutation(stratum)
        middle = np.cumsum(sizes[shuffled]) - sizes[shuffled] / 2
        edges = np.cumsum(shares)[:-1] * sizes[stratum].sum()
        part_of_group[shuffled] = np.searchsorted(edges, middle, side="right")
    part = part_of_group[inverse]
    return [np.flatnonzero(part == number) for number in range(len(shares))]


def _check(split: Split, label: npt.NDArray[np.int64]) -> None:
    for name in ("train", "validation", "test"):
        if len(np.unique(label[getattr(split, name)])) < 2:
            raise BadInput(
                f"the {name} part of the split holds only one class of the label.",
                remedy="Give more rows; with a timestamp, rows whose label varies over the whole period.",
            )
