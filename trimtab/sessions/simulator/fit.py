"""Print the score quantiles that `calibration` holds: `python -m trimtab.sessions.simulator.fit`."""

import sys

import numpy as np

from trimtab.sessions.simulator.calibration import QUANTILE_LEVELS
from trimtab.sessions.simulator.catalogue import categories
from trimtab.sessions.simulator.mechanisms import lcp_score
from trimtab.sessions.simulator.simulation import WorldConfig, simulate_blocks


def score_quantiles(config: WorldConfig) -> dict[str, tuple[float, ...]]:
    """Quantiles of the structural LCP score by device, at `QUANTILE_LEVELS`."""
    scores, devices = [], []
    for block in simulate_blocks(config):
        scores.append(lcp_score(block.context, block.kpis, block.noise["lcp_ms"]))
        devices.append(block.context.device)
    score, device = np.concatenate(scores), np.concatenate(devices)
    return {
        name: tuple(round(float(q), 4) for q in np.quantile(score[device == code], QUANTILE_LEVELS))
        for code, name in enumerate(categories("device"))
    }


if __name__ == "__main__":
    for name, quantiles in score_quantiles(WorldConfig(sessions=1_000_000, seed=99)).items():
        sys.stdout.write(f'    "{name}": {quantiles},\n')
