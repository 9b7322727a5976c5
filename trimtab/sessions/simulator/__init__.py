"""A structural causal model of an online shop's visits, with the truth written beside the data.

Every number that the rest of the project estimates (how well a visit's conversion can be predicted at all, what each
KPI is worth, whom an action helps) is known here, so that the estimates can be checked. `mechanisms` says how each
KPI follows from its causes, `outcome` how conversion follows from what is known at request time, `simulation` lets
users visit, convert and come back with a history, `truth` intervenes and writes down the answers, `world` lets
the users come again.
"""

from trimtab.sessions.simulator.dataset import Simulation, simulate, write
from trimtab.sessions.simulator.drift import DRIFTS, Drift
from trimtab.sessions.simulator.simulation import WorldConfig
from trimtab.sessions.simulator.truth import KpiEffect, Truth
from trimtab.sessions.simulator.world import Visits, World

__all__ = ["DRIFTS", "Drift", "KpiEffect", "Simulation", "Truth", "Visits", "World", "WorldConfig", "simulate", "write"]
