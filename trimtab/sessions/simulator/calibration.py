"""LCP as real visitors measured it, and the map that gives simulated LCP the same distribution.

Source: the RUM Archive (Akamai mPulse beacons, https://rumarchive.com), page loads of visible tabs, the histograms of
the twelve monthly samples from 2024-11-05 to 2025-10-07 pooled by device (381.9M desktop, 242.9M mobile and 8.3M
tablet page loads). The window ends before 2026, when Mobile Safari began to report LCP and moved the mobile and tablet
figures by measurement alone. Quantiles are read off the cumulative counts at the buckets' mean LCP.

The structural model yields a score for each page load; equal quantiles of score and measured LCP are mapped onto one
another, device by device. The map is increasing, so a cause that raises the score raises LCP. Below the 10% quantile
simulated LCP is somewhat higher than measured, because LCP never comes before the first paint.
"""

import numpy as np

from trimtab.sessions.simulator.catalogue import Array, Codes, categories

SOURCE_WINDOW = ("2024-11-01", "2025-10-31")
QUANTILE_LEVELS = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
LCP_QUANTILES_MS = {
    "desktop": (304.0, 447.0, 766.0, 1340.0, 2330.0, 3990.0, 5657.0, 13625.0),
    "mobile": (221.0, 408.0, 761.0, 1349.0, 2353.0, 3987.0, 5590.0, 11330.0),
    "tablet": (390.0, 593.0, 1051.0, 1859.0, 3261.0, 5475.0, 7523.0, 14286.0),
}
# Quantiles of the structural score at the same levels, in a world without drift (1M sessions, seed 99). A changed
# mechanism upstream of LCP needs them anew: `python -m trimtab.sessions.simulator.fit` prints them.
SCORE_QUANTILES = {
    "desktop": (5.9424, 6.1446, 6.4938, 6.8944, 7.3097, 7.6972, 7.9349, 8.3862),
    "mobile": (6.1112, 6.3181, 6.6744, 7.0838, 7.5090, 7.9027, 8.1458, 8.6133),
    "tablet": (6.1241, 6.3302, 6.6910, 7.1016, 7.5286, 7.9257, 8.1684, 8.6528),
}


def lcp_ms(score: Array, device: Codes) -> Array:
    """Map the structural score to LCP by the measured quantiles of the device.

    Log-linear between the published quantiles, and beyond them with the slope of the nearest segment.

    Args:
        score: Structural score of each page load: larger is slower.
        device: Code of its device.

    Returns:
        LCP in ms.
    """
    result = np.empty_like(score)
    for code, name in enumerate(categories("device")):
        rows = device == code
        knots = np.array(SCORE_QUANTILES[name])
        result[rows] = np.exp(_interpolate(score[rows], knots, np.log(LCP_QUANTILES_MS[name])))
    return result


def _interpolate(x: Array, knots: Array, values: Array) -> Array:
    """Piecewise-linear through the knots, extended beyond both ends."""
    slopes = np.diff(values) / np.diff(knots)
    below = np.minimum(x - knots[0], 0) * slopes[0]
    above = np.maximum(x - knots[-1], 0) * slopes[-1]
    return np.asarray(np.interp(x, knots, values) + below + above, dtype=x.dtype)
