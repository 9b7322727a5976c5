"""Centred moments: all that leaves the place where rows live, and all that the estimators for means and ratios need.

Sums of squares are never kept. On revenue-like data (mean 10 million, deviation 1) their difference loses every digit
of the variance; centred co-moments do not, and they merge exactly (Chan, Golub, LeVeque 1983), so partitions, days and
segments add up to the whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trimtab.errors import BadInput

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Count, means and centred co-moments of some columns over the units of one group.

    Attributes:
        columns: Names of the columns.
        n: Units.
        mean: Mean of each column, shape [columns].
        comoment: Sums of products of deviations from the means, shape [columns, columns].
    """

    columns: tuple[str, ...]
    n: int
    mean: Floats
    comoment: Floats

    def __post_init__(self) -> None:
        width = len(self.columns)
        if self.mean.shape != (width,) or self.comoment.shape != (width, width):
            raise BadInput(f"moments of columns {self.columns} have shapes {self.mean.shape}, {self.comoment.shape}.")
        if self.n < 0:
            raise BadInput(f"moments of columns {self.columns} have a negative count {self.n}.")
        for place, name in enumerate(self.columns):
            if not (np.isfinite(self.mean[place]) and np.isfinite(self.comoment[place]).all()):
                raise BadInput(
                    f"column '{name}' has missing, infinite or overflowing values.",
                    remedy="Drop or impute them; an outcome that never happened is a zero.",
                )
            if self.comoment[place, place] < 0:
                raise BadInput(f"column '{name}' has a negative variance.")

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[float] | npt.NDArray[np.generic]]) -> "Moments":
        """Moments of columns of equal length, by two passes.

        Raises:
            BadInput: Columns differ in length, are not numeric, or hold missing or infinite values.

        >>> Moments.of({"y": [1.0, 2.0, 3.0]}).variance("y")
        1.0
        """
        try:
            values = [np.asarray(column, dtype=np.float64) for column in columns.values()]
        except (TypeError, ValueError) as error:
            raise BadInput(f"columns {tuple(columns)} are not numeric: {error}.") from error
        if len({column.shape for column in values}) > 1:
            raise BadInput(f"columns {tuple(columns)} differ in length: {[len(column) for column in values]}.")
        table = np.stack(values)
        n = table.shape[1]
        if n == 0:
            return cls.empty(tuple(columns))
        if not np.isfinite(table).all():
            name = next(name for name, column in zip(columns, values, strict=True) if not np.isfinite(column).all())
            raise BadInput(
                f"column '{name}' has missing or infinite values.",
                remedy="Drop or impute them; an outcome that never happened is a zero.",
            )
        with np.errstate(over="ignore", invalid="ignore"):  # What overflows is refused as infinite.
            mean = table.mean(axis=1)
            table -= mean[:, None]
            rest = table.sum(axis=1)  # What rounding left of the first pass.
            return cls(tuple(columns), n, mean + rest / n, table @ table.T - np.outer(rest, rest) / n)

    @classmethod
    def empty(cls, columns: tuple[str, ...]) -> "Moments":
        """No units: the neutral element of `merge`."""
        return cls(columns, 0, np.zeros(len(columns)), np.zeros((len(columns), len(columns))))

    @classmethod
    def of_summary(cls, column: str, *, n: int, mean: float, variance: float) -> "Moments":
        """Moments of one column from its count, mean and sample variance (divisor n - 1)."""
        return cls((column,), n, np.array([mean], dtype=float), np.array([[variance * max(n - 1, 0)]], dtype=float))

    def merge(self, other: "Moments") -> "Moments":
        """Moments of both groups together by the pairwise update of Chan, Golub and LeVeque (1983).

        Raises:
            BadInput: The groups have different columns.
        """
        if self.columns != other.columns:
            raise BadInput(f"moments of columns {self.columns} and {other.columns} cannot be merged.")
        if self.n == 0 or other.n == 0:
            return self if other.n == 0 else other
        n = self.n + other.n
        gap = other.mean - self.mean
        mean = self.mean + gap * (other.n / n)
        comoment = self.comoment + other.comoment + np.outer(gap, gap) * (self.n * other.n / n)
        return Moments(self.columns, n, mean, comoment)

    def covariance(self) -> Floats:
        """Sample covariance matrix (divisor n - 1), shape [columns, columns].

        Raises:
            BadInput: There are fewer than two units.
        """
        if self.n < 2:
            raise BadInput(f"columns {self.columns} have {self.n} units; a variance needs two.")
        return self.comoment / (self.n - 1)

    def variance(self, column: str) -> float:
        """Sample variance of one column."""
        place = self.place(column)
        return float(self.covariance()[place, place])

    def place(self, column: str) -> int:
        """Position of a column.

        Raises:
            BadInput: There is none of that name.
        """
        if column not in self.columns:
            raise BadInput(f"there are no moments of '{column}', only of {self.columns}.")
        return self.columns.index(column)


def merge_all(groups: Sequence[Moments]) -> Moments:
    """Moments of all groups together, by one update around the mean of all of them.

    Raises:
        BadInput: There is no group, or columns differ.
    """
    if not groups:
        raise BadInput("there are no groups to merge.")
    for group in groups:
        if group.columns != groups[0].columns:
            raise BadInput(f"moments of columns {groups[0].columns} and {group.columns} cannot be merged.")
    filled = [group for group in groups if group.n]
    if len(filled) < 2:
        return filled[0] if filled else groups[0]
    counts = np.array([group.n for group in filled], dtype=np.float64)
    means = np.stack([group.mean for group in filled])
    shares = counts / counts.sum()
    mean = means[0] + shares @ (means - means[0])
    gaps = means - mean
    comoment = np.sum([group.comoment for group in filled], axis=0) + (gaps * counts[:, None]).T @ gaps
    return Moments(filled[0].columns, sum(group.n for group in filled), mean, comoment)
