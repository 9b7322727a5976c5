"""Were the arms alike before the experiment began? Were units in one arm only?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
import pandas as pd

from trimtab.errors import BadInput
from trimtab.experiments.effects import Reference, statistic_of
from trimtab.experiments.moments import Moments

SMD_LIMIT = 0.1


@dataclass(frozen=True, slots=True)
class CovariateBalance:
    """How far apart two arms are on one covariate.

    Attributes:
        covariate: Name of the column, measured before exposure.
        difference: Standardised mean difference, in pooled standard deviations.
        p_value: Of equal means; over many covariates some are small by chance.
        balanced: Whether the difference is within the limit, or within what chance explains at one in a thousand.
    """

    covariate: str
    difference: float
    p_value: float
    balanced: bool


def covariate_balance(
    control: Moments, treatment: Moments, *, limit: float = SMD_LIMIT, alpha: float = 0.001
) -> tuple[CovariateBalance, ...]:
    """Standardised mean differences of all columns.

    (m_t - m_c) / sqrt((s_c^2 + s_t^2) / 2), with the usual limit of 0.1 (P. C. Austin 2009). A difference beyond the
    limit in a small experiment may be chance, so it counts as imbalance only where its z test agrees.

    Raises:
        BadInput: The arms have different columns, or fewer than two units.
    """
    if control.columns != treatment.columns:
        raise BadInput(f"covariates differ: {control.columns} and {treatment.columns}.")
    found = []
    for place, name in enumerate(control.columns):
        gap = float(treatment.mean[place] - control.mean[place])
        before, after = control.variance(name), treatment.variance(name)
        pooled = sqrt((before + after) / 2)
        error = sqrt(before / control.n + after / treatment.n)
        p_value = Reference(alpha, "two-sided").p_value(statistic_of(gap, error))
        difference = gap / pooled if pooled > 0 else (0.0 if gap == 0 else statistic_of(gap, 0.0))
        found.append(CovariateBalance(name, difference, p_value, abs(difference) <= limit or p_value >= alpha))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Exposures:
    """Whether each unit was in one arm.

    Attributes:
        units: Different units.
        rows: Rows.
        mixed: Units that were seen in more than one arm.
        share: `mixed` over `units`.
        examples: Up to five of the mixed ones.
    """

    units: int
    rows: int
    mixed: int
    share: float
    examples: tuple[str, ...]


def exposures(
    units: Sequence[str] | npt.NDArray[np.generic], arms: Sequence[str] | npt.NDArray[np.generic]
) -> Exposures:
    """Find units that were seen in several arms.

    Such units must be left out or the analysis is of a mixture; more than a trace of them is a defect of serving.

    Args:
        units: Unit of each exposure, shape [rows].
        arms: Arm of each exposure, shape [rows].

    Raises:
        BadInput: The lengths differ.

    >>> exposures(["a", "a", "b"], ["x", "y", "x"]).mixed
    1
    """
    if len(units) != len(arms):
        raise BadInput(f"there are {len(units)} units but {len(arms)} arms.")
    codes, names = pd.factorize(np.asarray(units, dtype=object))
    labels, _ = pd.factorize(np.asarray(arms, dtype=object))
    if not len(codes):
        return Exposures(0, 0, 0, 0.0, ())
    pairs = np.unique(codes.astype(np.int64) * (int(labels.max()) + 2) + labels + 1) // (int(labels.max()) + 2)
    seen = np.bincount(pairs, minlength=len(names))
    mixed = np.flatnonzero(seen > 1)
    examples = tuple(str(names[place]) for place in mixed[:5])
    return Exposures(len(names), len(codes), len(mixed), len(mixed) / len(names), examples)
