"""How well the predicted effects agree with the true ones, where a simulator knows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np
from scipy import stats

from trimtab.errors import BadInput
from trimtab.types import Interval

# Below this an interval by Fisher's transform has no degrees of freedom.
FEWEST_KPIS = 5


@dataclass(frozen=True, slots=True)
class Agreement:
    """Rank agreement of predicted with true effects.

    Attributes:
        spearman: Spearman's rank correlation over KPIs and its interval.
        kpis: Number of KPIs compared.
        words: The same as a sentence.
        truth: True relative effect of each compared KPI at the largest level.
    """

    spearman: Interval
    kpis: int
    words: str
    truth: dict[str, float]


def rank_agreement(
    predicted: Mapping[str, float], truth: Mapping[str, float], *, confidence: float = 0.95
) -> Agreement:
    """Compare the order of predicted effects with the order of the true ones.

    Estimand: Spearman's rho over KPIs like these. Interval: Fisher's transform with the standard error
    sqrt((1 + rho^2 / 2) / (n - 3)) of Bonett & Wright (2000), Psychometrika 65, eq. 8; it assumes that the KPIs are
    exchangeable draws, which holds only roughly for KPIs that influence each other.

    Args:
        predicted: Predicted effect per KPI.
        truth: True effect per KPI; KPIs in only one of the two are left out.
        confidence: Confidence level of the interval.

    Raises:
        BadInput: Fewer than five KPIs in common.
    """
    names = [name for name in predicted if name in truth]
    if len(names) < FEWEST_KPIS:
        raise BadInput(f"{len(names)} KPIs have both a predicted and a true effect; at least {FEWEST_KPIS} are needed.")
    left = np.array([predicted[name] for name in names])
    right = np.array([truth[name] for name in names])
    constant = np.ptp(left) == 0 or np.ptp(right) == 0
    rho = 0.0 if constant else float(stats.spearmanr(left, right).statistic)
    # A perfect correlation has no finite transform; the bound keeps the interval defined and one-sided.
    centre = atanh(float(np.clip(rho, -1 + 1e-9, 1 - 1e-9)))
    half = float(stats.norm.isf((1 - confidence) / 2)) * sqrt((1 + rho**2 / 2) / (len(names) - 3))
    interval = Interval(rho, min(rho, tanh(centre - half)), max(rho, tanh(centre + half)))
    return Agreement(interval, len(names), _in_words(interval, len(names)), {name: truth[name] for name in names})


def _in_words(spearman: Interval, kpis: int) -> str:
    measured = (
        f"Spearman's rank correlation is {spearman.estimate:.2f} (interval {spearman.low:.2f} to {spearman.high:.2f}) "
        f"over {kpis} KPIs."
    )
    if spearman.low <= 0:
        return f"The predicted ranking does not demonstrably follow the true one. {measured}"
    if spearman.estimate >= 0.8:
        return f"The predicted ranking follows the true one closely. {measured}"
    if spearman.estimate >= 0.5:
        return f"The predicted ranking follows the true one in the main; single KPIs are out of place. {measured}"
    return f"The predicted ranking follows the true one only weakly. {measured}"
