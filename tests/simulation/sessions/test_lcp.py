"""Simulated LCP has the measured distribution: the published quantiles by device, within 5%."""

import numpy as np
import pytest

from trimtab.sessions.simulator import WorldConfig
from trimtab.sessions.simulator.calibration import LCP_QUANTILES_MS, QUANTILE_LEVELS
from trimtab.sessions.simulator.catalogue import Array, Codes, categories
from trimtab.sessions.simulator.simulation import simulate_blocks

TOLERANCE = 0.05
LEVELS = (0.50, 0.75, 0.95)


@pytest.fixture(scope="module")
def visits() -> tuple[Array, Codes]:
    blocks = list(simulate_blocks(WorldConfig(sessions=250_000, seed=21)))
    return (
        np.concatenate([block.kpis["lcp_ms"] for block in blocks]),
        np.concatenate([block.context.device for block in blocks]),
    )


@pytest.mark.parametrize("device", list(LCP_QUANTILES_MS))
def test_lcp_follows_the_measurements(visits: tuple[Array, Codes], device: str) -> None:
    lcp, devices = visits
    simulated = np.quantile(lcp[devices == categories("device").index(device)], LEVELS)
    measured = [LCP_QUANTILES_MS[device][QUANTILE_LEVELS.index(level)] for level in LEVELS]
    np.testing.assert_allclose(simulated, measured, rtol=TOLERANCE)
