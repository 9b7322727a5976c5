import numpy as np
import pytest

from trimtab.sessions.simulator import Simulation, WorldConfig, simulate
from trimtab.sessions.simulator.simulation import Block, simulate_block, visit_counts

CONFIG = WorldConfig(sessions=12_000, seed=3)


@pytest.fixture(scope="session")
def simulation() -> Simulation:
    return simulate(CONFIG)


@pytest.fixture(scope="session")
def block() -> Block:
    return simulate_block(CONFIG, 0, visit_counts(CONFIG)[0])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)
