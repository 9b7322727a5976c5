"""A/A calibration: does the analysis find differences where there are none, on these very data?

Control's units are divided by the hash of their name into a power of two of buckets, and the buckets into two halves in
as many ways as keep every pair of divisions balanced (the rows of a Hadamard matrix). Buckets are independent, so the
differences between the halves are uncorrelated from division to division, and the number of divisions that come out
significant is binomial with the test's alpha: J. Hadamard (1893) for the matrix, R. Kohavi et al. (2020), "Trustworthy
online controlled experiments", chapter 19, for the test. Random divisions of the same units would be dependent, and
their number no evidence by itself.

Too many false positives mean intervals that are too narrow: units that are not independent, or a metric too skewed for
its size. A unit's rows stay in one bucket. What lies above the unit (households, shops) is not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, stats

from trimtab.errors import BadInput

BUCKETS = 128
_SURPRISE = 0.001  # A false alarm in one of a thousand calibrated experiments.


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often equal halves of control were found to differ.

    Attributes:
        splits: Divisions that were tried.
        false_positives: Divisions with a p-value below alpha.
        share: False positives over divisions; about alpha where the analysis is calibrated.
        alpha: The test's level.
        low: Least share that chance explains in 99.8% of calibrated experiments.
        high: Largest such share.
        p_value: Probability of so many false positives or more.
        excessive: Whether there are more than chance explains.
        statement: In words.
    """

    splits: int
    false_positives: int
    share: float
    alpha: float
    low: float
    high: float
    p_value: float
    excessive: bool
    statement: str


def balanced_splits(buckets: int = BUCKETS) -> npt.NDArray[np.bool_]:
    """All balanced, mutually orthogonal divisions into halves, shape [buckets - 1, buckets].

    Raises:
        BadInput: The number of buckets is no power of two of at least 4.

    >>> balanced_splits(4).astype(int).tolist()
    [[0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 1, 0]]
    """
    if buckets < 4 or buckets & (buckets - 1):
        raise BadInput(f"there are {buckets} buckets; balanced divisions need a power of two from 4 on.")
    signs: npt.NDArray[np.int_] = linalg.hadamard(buckets)
    return signs[1:] < 0


def calibration(p_values: Sequence[float], *, alpha: float) -> Calibration:
    """Judge the p-values of the divisions.

    Args:
        p_values: One per division.
        alpha: The test's level.

    Raises:
        BadInput: There is no p-value.

    >>> calibration([0.5] * 120 + [0.01] * 7, alpha=0.05).excessive
    False
    """
    if not p_values:
        raise BadInput("there is no division to calibrate by.")
    splits, found = len(p_values), sum(p_value < alpha for p_value in p_values)
    law = stats.binom(splits, alpha)
    low, high = float(law.ppf(_SURPRISE)) / splits, float(law.isf(_SURPRISE)) / splits
    p_value = float(law.sf(found - 1))
    excessive = p_value < _SURPRISE
    verdict = "more than chance explains, so intervals are too narrow" if excessive else "as chance has it"
    if found / splits < low:
        verdict = "fewer than chance explains, so intervals are wider than they need to be"
    statement = (
        f"A/A: of {splits} divisions of control into equal halves, {found} ({found / splits:.1%}) differ at "
        f"alpha = {alpha:g}; {low:.1%} to {high:.1%} are to be expected: {verdict}."
    )
    return Calibration(splits, found, found / splits, alpha, low, high, p_value, excessive, statement)
