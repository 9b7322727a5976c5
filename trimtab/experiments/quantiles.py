"""Comparison of quantiles: median order value, 95th percentile of latency.

The variance needs no density. Woodruff (1952): the number of observations below a quantile is binomial, so the order
statistics at the ends of that count's interval bound the quantile, and their distance over 2 z is its standard error.
Three order statistics per arm are all that must leave the engine. Assumes one independent observation per unit: several
page loads of one user must be reduced to one value (say, the user's median) first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, sqrt

import numpy as np
import numpy.typing as npt
from scipy import stats

from trimtab.errors import BadInput
from trimtab.experiments.effects import Alternative, ArmEstimate, Comparison, RelativeScale, check_alpha, compare

LEAST_BEYOND = 10  # Observations that must be expected on either side of the quantile.


@dataclass(frozen=True, slots=True)
class QuantileSummary:
    """One arm's quantile and the order statistics around it.

    Attributes:
        n: Units.
        value: The quantile.
        low: Order statistic at the lower end of the count's interval.
        high: Order statistic at the upper end.
        z: Half-width of that interval in standard deviations of the count.
    """

    n: int
    value: float
    low: float
    high: float
    z: float

    def __post_init__(self) -> None:
        if not (all(map(isfinite, (self.value, self.low, self.high))) and self.low <= self.value <= self.high):
            raise BadInput(f"quantile {self.value} must be finite and lie in its bounds [{self.low}, {self.high}].")

    @classmethod
    def of(
        cls, values: Sequence[float] | npt.NDArray[np.generic], q: float, *, alpha: float = 0.05
    ) -> "QuantileSummary":
        """Summarise one arm.

        Args:
            values: One value per unit, shape [units].
            q: The quantile, in (0, 1).
            alpha: Sets z; a value near the comparison's alpha makes its interval nearly distribution-free.

        Raises:
            BadInput: Values are missing or infinite, or too few lie beyond the quantile.
        """
        check_alpha(alpha)
        data = np.asarray(values, dtype=np.float64)
        if not np.isfinite(data).all():
            raise BadInput("values of a quantile metric are missing or infinite.", remedy="Drop those units first.")
        ranks = order_statistics(len(data), q, alpha=alpha)
        low, value, high = (float(value) for value in np.partition(data, ranks)[list(ranks)])
        z = (ranks[2] - ranks[0]) / (2 * sqrt(len(data) * q * (1 - q)))  # What whole ranks really span.
        return cls(len(data), value, low, high, z)

    @property
    def variance(self) -> float:
        """Variance of the quantile."""
        return ((self.high - self.low) / (2 * self.z)) ** 2


def order_statistics(n: int, q: float, *, alpha: float = 0.05) -> tuple[int, int, int]:
    """Ranks, from 0, of the lower bound, the quantile and the upper bound among `n` sorted values.

    Raises:
        BadInput: q lies outside (0, 1), or too few values lie beyond it.

    >>> order_statistics(1_000, 0.5)
    (468, 499, 530)
    """
    if not 0 < q < 1:
        raise BadInput(f"the quantile is {q}; it must lie strictly between 0 and 1.")
    if n * min(q, 1 - q) < LEAST_BEYOND:
        raise BadInput(
            f"{n} values are too few for the {q:g} quantile.",
            remedy=f"At least {ceil(LEAST_BEYOND / min(q, 1 - q))} are needed.",
        )
    reach = float(stats.norm.isf(alpha / 2)) * sqrt(n * q * (1 - q))
    middle = ceil(n * q) - 1
    return max(0, floor(n * q - reach) - 1), middle, min(n - 1, ceil(n * q + reach) - 1)


def compare_quantiles(
    control: QuantileSummary,
    treatment: QuantileSummary,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
    relative: RelativeScale = "log",
) -> Comparison:
    """Difference, absolute and relative, of a quantile between two arms.

    Raises:
        BadInput: Alpha lies outside (0, 1).
    """
    return compare(
        ArmEstimate.plain(control.value, control.variance, control.n),
        ArmEstimate.plain(treatment.value, treatment.variance, treatment.n),
        method="quantile, order statistics",
        alpha=alpha,
        alternative=alternative,
        relative=relative,
    )
