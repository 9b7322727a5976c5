"""Preprocessing that is part of the network: what is learned from training rows is saved and served with the weights.

Each numeric column goes through its own learned map to normal scores. The map is piecewise linear between knots at the
column's quantiles; a value's score is the normal quantile of its mid-rank, so that ties (zeros, flags, counts) get one
sensible score instead of the extremes that a plain quantile transform gives them. Values beyond the outer knots are
clipped to them: that is the outlier treatment. A missing value takes the score of the median, and a flag says so.
"""

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtri
from torch import Tensor, nn

from trimtab.models.encode import Floats

Knots = npt.NDArray[np.float64]
KNOTS = 128  # knots per column
TAIL = 0.001  # share of rows beyond the outer knots on either side


class Preprocessor(nn.Module):
    """Imputes, clips and maps numeric columns to normal scores.

    Each column has K - 1 straight pieces between its K knots. Few operations matter more than few bytes here: one
    request is one row.

    Args:
        columns: Number of numeric columns, p.
        flagged: Number of columns that get a missing flag, m.
        knots: Number of knots per column, K.

    Shape:
        numeric [rows, p] with NaN where missing -> [rows, p + m]: scores, then flags (0 or 1).
    """

    median: Tensor
    lowest: Tensor
    highest: Tensor
    inner: Tensor
    left: Tensor
    base: Tensor
    slope: Tensor
    flagged: Tensor

    def __init__(self, columns: int, flagged: int, *, knots: int = KNOTS) -> None:
        super().__init__()
        for name in ("median", "lowest", "highest"):
            self.register_buffer(name, torch.zeros(columns))
        self.register_buffer("inner", torch.zeros(columns, knots - 2))
        for name in ("left", "base", "slope"):
            self.register_buffer(name, torch.zeros(columns, knots - 1))
        self.register_buffer("flagged", torch.zeros(flagged, dtype=torch.int64))

    @property
    def knots(self) -> int:
        """Number of knots per column."""
        return int(self.left.shape[1]) + 1

    def forward(self, numeric: Tensor) -> Tensor:
        """Map raw values to scores and flags."""
        missing = torch.isnan(numeric)
        filled = torch.where(missing, self.median, numeric).clamp(self.lowest, self.highest)
        by_column = filled.T.contiguous()
        piece = torch.searchsorted(self.inner, by_column, right=True)
        distance = by_column - self.left.gather(1, piece)
        scores = torch.addcmul(self.base.gather(1, piece), self.slope.gather(1, piece), distance).T
        if not len(self.flagged):
            return scores.contiguous()
        return torch.cat([scores, missing.index_select(1, self.flagged).to(scores.dtype)], dim=1)


def learn_preprocessor(numeric: Floats, *, knots: int = KNOTS) -> Preprocessor:
    """Learn the maps from training rows.

    Args:
        numeric: Raw values, [rows, p], NaN where missing.
        knots: Most knots per column.

    Returns:
        The fitted module; a column without any value maps to 0.
    """
    flagged = np.flatnonzero(np.isnan(numeric).any(axis=0))
    module = Preprocessor(numeric.shape[1], len(flagged), knots=knots)
    module.flagged.copy_(torch.from_numpy(flagged))
    for column in range(numeric.shape[1]):
        values = numeric[~np.isnan(numeric[:, column]), column]
        if len(values):
            _set_column(module, column, *_column_map(np.sort(values), knots))
            module.median[column] = float(np.median(values))
    return module


def _set_column(module: Preprocessor, column: int, places: Knots, scores: Knots) -> None:
    """Turn one column's knots into pieces; a piece of no width is flat."""
    width = np.diff(places)
    slope = np.divide(np.diff(scores), width, out=np.zeros_like(width), where=width > 0)
    module.lowest[column], module.highest[column] = places[0], places[-1]
    for name, values in (("inner", places[1:-1]), ("left", places[:-1]), ("base", scores[:-1]), ("slope", slope)):
        getattr(module, name)[column] = torch.from_numpy(values)


def _column_map(ordered: Floats, knots: int) -> tuple[Knots, Knots]:
    """Knots and their scores for one column, padded at the end to `knots` by repeating the last."""
    levels = np.linspace(TAIL, 1 - TAIL, knots)
    places = np.unique(ordered[np.round(levels * (len(ordered) - 1)).astype(np.int64)])
    below = np.searchsorted(ordered, places, side="left")
    up_to = np.searchsorted(ordered, places, side="right")
    ranks = (below + up_to) / (2 * len(ordered))
    scores = ndtri(np.clip(ranks, TAIL, 1 - TAIL))
    padding = (0, knots - len(places))
    return np.pad(places.astype(np.float64), padding, mode="edge"), np.pad(scores, padding, mode="edge")
