"""LCP as real visitors measured it, and the map that gives simulated LCP the same distribution.

Source: the RUM Archive (Akamai mPulse beacons, https://rumarchive.com), page loads of visible tabs, the histograms of the twelve
monthly samples from 2024-11-05 to 2025-10-07 pooled by device (381.9M desktop, 242.9M mobile and 8.3M tablet
page loads). The window ends before 2026, when Mobile Safari began to report LCP and moved the mobile and tablet
figures by measurement alone. Quantiles are read off the cumulative counts at the buckets' mean LCP.
"""

import numpy as np
from scipy.special import ndtri

from trimtab.sessions.simulator.catalogue import Array, Codes, categories

SOURCE_WINDOW = ("2024-11-01", "2025-10-31")
QUANTILE_LEVELS = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
LCP_QUANTILES_MS = {
    "desktop": (304.0, 447.0, 766.0, 1340.0, 2330.0, 3990.0, 5657.0, 13625.0),
    "mobile": (221.0, 408.0, 761.0, 1349.0, 2353.0, 3987.0, 5590.0, 11330.0),
    "tablet": (390.0, 593.0, 1051.0, 1859.0, 3261.0, 5475.0, 7523.0, 14286.0),
}
# Mean and standard deviation of the structural LCP score by device in a world without drift, fitted once on
# 2M sessions. They make the score standard normal; the marginal distribution then is the measured one.
SCORE_MEAN = {"desktop": 6.912, "mobile": 7.0973, "tablet": 7.1103}
SCORE_DEVIATION = {"desktop": 0.6072, "mobile": 0.6191, "tablet": 0.6214}

_LEVEL_SCORES = ndtri(np.array(QUANTILE_LEVELS))


def lcp_ms(score: Array, device: Codes) -> Array:
    """Map the structural score to LCP, monotonically, by the measured quantiles of the device.

    Log-linear between the published quantiles and beyond them with the slope of the nearest segment.

    Args:
        score: Structural score of each page load: larger is slower.
        device: Code of its device.

    Returns:
        LCP in ms.
    """
    result = np.empty_like(score)
    for code, name in enumerate(categories("device")):
        rows = device == code
        z = (score[rows] - SCORE_MEAN[name]) / SCORE_DEVIATION[name]
        result[rows] = np.exp(_interpolate(z, np.log(LCP_QUANTILES_MS[name])))
    return result


def _interpolate(z: Array, log_quantiles: Array) -> Array:
    """Piecewise-linear through the published points, extended beyond both ends."""
    slopes = np.diff(log_quantiles) / np.diff(_LEVEL_SCORES)
    inside = np.interp(z, _LEVEL_SCORES, log_quantiles)
    below = np.minimum(z - _LEVEL_SCORES[0], 0.0) * slopes[0]
    above = np.maximum(z - _LEVEL_SCORES[-1], 0.0) * slopes[-1]
    return np.asarray(inside + below + above, dtype=z.dtype)
