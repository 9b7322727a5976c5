"""How much of alpha a group-sequential test has spent by a given share of its information."""

from dataclasses import dataclass
from math import e, isfinite, log, sqrt
from typing import Literal

from scipy import stats

from trimtab.errors import BadInput

SpendingFamily = Literal["obrien_fleming", "pocock", "power"]


@dataclass(frozen=True, slots=True)
class Spending:
    """An alpha-spending function of K. K. G. Lan and D. L. DeMets (1983), "Discrete sequential boundaries".

    Attributes:
        family: `obrien_fleming`: 2 (1 - Phi(z(alpha/2) / sqrt(t))), which keeps nearly all of alpha for the end;
            `pocock`: alpha log(1 + (e - 1) t), which spends evenly; `power`: alpha t^exponent (Kim and DeMets 1987).
        exponent: Of the power family; positive.
    """

    family: SpendingFamily = "obrien_fleming"
    exponent: float = 2.0

    def __post_init__(self) -> None:
        if not (isfinite(self.exponent) and self.exponent > 0):
            raise BadInput(f"the spending exponent is {self.exponent}; it must be positive.")

    def spent(self, alpha: float, time: float) -> float:
        """Cumulative error spent at an information fraction; all of it from 1 on.

        >>> round(Spending().spent(0.05, 0.25), 9)
        8.8575e-05
        """
        if time >= 1.0:
            return alpha
        if time <= 0.0:
            return 0.0
        if self.family == "obrien_fleming":
            return 2.0 * float(stats.norm.sf(stats.norm.isf(alpha / 2) / sqrt(time)))
        if self.family == "pocock":
            return alpha * log(1.0 + (e - 1.0) * time)
        return float(alpha * time**self.exponent)
