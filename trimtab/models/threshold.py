"""The decision threshold: where the two errors cost least."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trimtab.sessions.spec import DecisionCosts


@dataclass(frozen=True)
class Threshold:
    """A threshold and why.

    Attributes:
        value: A row at or above it is predicted to convert.
        cost: Mean cost per row at it, on the rows that chose it.
        theoretical: The threshold that a perfectly calibrated model would use, FP / (FP + FN).
        theoretical_cost: Mean cost per row there.
    """

    value: float
    cost: float
    theoretical: float
    theoretical_cost: float


def choose_threshold(
    probability: npt.NDArray[np.float64], label: npt.NDArray[np.float64], costs: DecisionCosts
) -> Threshold:
    """Choose the threshold of least total cost on validation rows.

    The theoretical threshold is kept unless another one saves more than one standard error of the saving: the lowest
    point of an empirical cost curve is otherwise an accident of the rows.

    Args:
        probability: Calibrated probabilities, [rows].
        label: 0 or 1, [rows].
        costs: Cost of a false positive and of a false negative.
    """
    theoretical = costs.false_positive / (costs.false_positive + costs.false_negative)
    value = _cheapest(probability, label, costs)
    best, usual = (_costs(probability, label, costs, at) for at in (value, theoretical))
    saving = usual - best
    if saving.mean() <= saving.std() / np.sqrt(len(saving)):
        value, best = theoretical, usual
    return Threshold(float(value), float(best.mean()), float(theoretical), float(usual.mean()))


def _cheapest(probability: npt.NDArray[np.float64], label: npt.NDArray[np.float64], costs: DecisionCosts) -> float:
    """The midpoint between neighbouring probabilities that splits the rows at least cost."""
    order = np.argsort(-probability, kind="stable")
    ranked, positive = probability[order], label[order]
    # Cost with the first k rows predicted positive, k = 0..n; only k between different probabilities can be had.
    wrong = np.concatenate([[0.0], np.cumsum(1 - positive)]) * costs.false_positive
    missed = (label.sum() - np.concatenate([[0.0], np.cumsum(positive)])) * costs.false_negative
    edges = np.concatenate([[1.0], (ranked[:-1] + ranked[1:]) / 2, [0.0]])
    reachable = np.concatenate([[True], ranked[:-1] > ranked[1:], [True]])
    return float(edges[np.argmin(np.where(reachable, wrong + missed, np.inf))])


def _costs(
    probability: npt.NDArray[np.float64], label: npt.NDArray[np.float64], costs: DecisionCosts, threshold: float
) -> npt.NDArray[np.float64]:
    acted = probability >= threshold
    return np.where(acted, (1 - label) * costs.false_positive, label * costs.false_negative)
