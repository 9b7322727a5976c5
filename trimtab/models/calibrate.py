"""Calibration: the logit's scale and offset are refitted on validation rows, where the network was not trained.

Scaling by a temperature is Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; with the offset it is
Platt's method on the logit. Ranking is unchanged.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Floats = npt.NDArray[np.float64]

BIAS_POSITIVES = 50  # with fewer rows of the rarer class than this, an offset fits noise
_PENALTY = 1.0  # pull towards the identity, as if one row had been seen; keeps separable labels finite


@dataclass(frozen=True)
class Calibration:
    """`p = expit(logit / temperature + bias)`.

    Attributes:
        temperature: Above 1 where the model was too sure of itself.
        bias: Offset in log odds.
    """

    temperature: float = 1.0
    bias: float = 0.0

    def probability(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Calibrated probabilities of logits, elementwise."""
        probability: Floats = expit(np.asarray(logits, dtype=np.float64) / self.temperature + self.bias)
        return probability


def calibrate(logits: Floats, label: Floats) -> Calibration:
    """Fit a calibration by maximum likelihood with Newton's method.

    Args:
        logits: Uncalibrated log odds of validation rows, [rows].
        label: 0 or 1, [rows].

    Returns:
        The calibration; without an offset where the rarer class has few rows, and the identity where a class is absent
        or the fit would reverse the ranking.
    """
    rarer = min(label.sum(), len(label) - label.sum())
    if rarer == 0:
        return Calibration()
    design = np.column_stack([logits, np.ones(len(logits))])
    if rarer < BIAS_POSITIVES:
        design = design[:, :1]
    identity = np.array([1.0, 0.0])[: design.shape[1]]
    weights = identity.copy()
    for _ in range(50):
        probability = expit(design @ weights)
        gradient = design.T @ (probability - label) + _PENALTY * (weights - identity)
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature + _PENALTY * np.eye(len(weights)), gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    if not np.isfinite(weights).all() or weights[0] <= 0.05:
        return Calibration()
    return Calibration(float(1 / weights[0]), float(weights[1]) if len(weights) > 1 else 0.0)
