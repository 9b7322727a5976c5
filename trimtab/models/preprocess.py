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

    Args:
        columns: Number of numeric columns, p.
        flagged: Number of columns that get a missing flag, m.
        knots: Number of knots per column.

    Shape:
        numeric [rows, p] with NaN where missing -> [rows, p + m]: scores, then flags (0 or 1).
    """

    knots: Tensor
    scores: Tensor
    fill: Tensor
    flagged: Tensor

    def __init__(self, columns: int, flagged: int, *, knots: int = KNOTS) -> None:
        super().__init__()
        self.register_buffer("knots", torch.zeros(columns, knots))
        self.register_buffer("scores", torch.zeros(columns, knots))
        self.register_buffer("fill", torch.zeros(columns))
        self.register_buffer("flagged", torch.zeros(flagged, dtype=torch.int64))

    def forward(self, numeric: Tensor) -> Tensor:
        """Map raw values to scores and flags."""
        missing = torch.isnan(numeric)
        by_column = torch.where(missing, self.knots[:, 0], numeric).T.contiguous()
        upper = torch.searchsorted(self.knots, by_column).clamp_(1, self.knots.shape[1] - 1)
        lower = upper - 1
        left, right = self.knots.gather(1, lower), self.knots.gather(1, upper)
        low, high = self.scores.gather(1, lower), self.scores.gather(1, upper)
        width = right - left
        position = ((by_column - left) / torch.where(width > 0, width, 1.0)).clamp_(0.0, 1.0)
        scores = torch.where(missing, self.fill, (low + position * (high - low)).T)
        if not self.flagged.numel():
            return scores
        return torch.cat([scores, missing[:, self.flagged].to(scores.dtype)], dim=1)


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
            places, scores = _column_map(np.sort(values), knots)
            module.knots[column] = torch.from_numpy(places)
            module.scores[column] = torch.from_numpy(scores)
            module.fill[column] = float(np.interp(np.median(values), places, scores))
    return module


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
