"""How well one column alone ranks the label: too well means that it was written down after the outcome."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]

# Enough for a standard error of about .003 in the AUC, so that a million rows cost no more than fifty thousand.
_MOST_ROWS = 50_000
_BINS = 32


def auc(scores: Floats, label: NDArray[np.bool_]) -> float:
    """Probability that a positive scores above a negative, ties counting half (the Mann-Whitney statistic).

    Args:
        scores: Finite scores, shape [rows].
        label: Truth, shape [rows], with both kinds.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    positives = int(label.sum())
    ranks = rankdata(scores)[label].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * (len(label) - positives)))


def column_auc(values: pd.Series, label: pd.Series) -> float:
    """The AUC of the best simple rule on one column, from .5 (tells nothing) to 1 (is the label).

    A number is tried as a score in both directions, and both kinds of column as groups (bins of a number, values of
    a category, and missing as a group of its own) that predict the conversion rate of the group in the other half of
    the rows, so that an identifier with one row per value does not look like a leak.

    Args:
        values: The column; float64 or text, missing allowed.
        label: 0/1 per row, with both kinds.
    """
    step = -(-len(values) // _MOST_ROWS)
    values, truth = values.iloc[::step], label.iloc[::step].to_numpy(dtype=bool)
    if truth.all() or not truth.any():
        return 0.5
    if not pd.api.types.is_numeric_dtype(values):
        return _grouped_auc(pd.factorize(values)[0] + 1, truth)
    numbers = values.to_numpy(dtype=np.float64)
    present = ~np.isnan(numbers)
    best = _grouped_auc(_binned(numbers, present), truth)
    if truth[present].any() and not truth[present].all():
        score = auc(numbers[present], truth[present])
        # Weighed by the rows that it can rank; the others are a coin's toss.
        best = max(best, 0.5 + abs(score - 0.5) * present.mean())
    return best


def _binned(numbers: Floats, present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Bins of about equal size from 1; 0 is missing."""
    bins = np.zeros(len(numbers), dtype=np.int64)
    if present.any():
        edges = np.unique(np.quantile(numbers[present], np.linspace(0, 1, _BINS + 1)[1:-1]))
        bins[present] = np.searchsorted(edges, numbers[present], side="left") + 1
    return bins


def _grouped_auc(groups: NDArray[np.int64], truth: NDArray[np.bool_]) -> float:
    """AUC of the group's conversion rate, learned on every other row and scored on the rest, both ways."""
    scores = np.empty(len(groups))
    odd = np.arange(len(groups)) % 2 == 1
    for learn in (odd, ~odd):
        count = np.bincount(groups[learn], minlength=groups.max() + 1)
        converted = np.bincount(groups[learn], weights=truth[learn], minlength=groups.max() + 1)
        base = truth[learn].mean()
        # One pseudo-row at the base rate: an unseen group predicts that.
        scores[~learn] = ((converted + base) / (count + 1))[groups[~learn]]
    return max(0.5, auc(scores, truth))
