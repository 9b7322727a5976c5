"""Simulate sessions whose truth is known, and write them with it."""

from dataclasses import dataclass
from pathlib import Path

from trimtab.ports import Ports
from trimtab.sessions.simulator import WorldConfig, simulate, write
from trimtab.sessions.simulator.dataset import SESSIONS_FILE, TRUTH_FILE

STAGE = "simulate"


@dataclass(frozen=True, slots=True)
class Config:
    """What to simulate.

    Attributes:
        out: Folder to write to; files of the same names are replaced.
        sessions: Number of sessions.
        seed: Seed of all randomness.
        drift: Name of a drift, see `trimtab.sessions.simulator.DRIFTS`.
        start: First day, in UTC, as YYYY-MM-DD.
        csv: Whether to write `sessions.csv` too.
    """

    out: str
    sessions: int = 80_000
    seed: int = 7
    drift: str = "none"
    start: str = "2026-01-05"
    csv: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What was written.

    Attributes:
        data: The sessions, as Parquet.
        truth: The truth about them, as JSON.
        world: Folder of the world, for `World.load`.
        rows: Number of sessions.
        users: Number of users.
        conversion_rate: Share of sessions that converted.
        bayes_auc: AUC of the true probabilities: the most that a model can reach.
        treatment_effect: True mean effect of the action on the probability to convert.
        drift: Name of the drift.
    """

    data: str
    truth: str
    world: str
    rows: int
    users: int
    conversion_rate: float
    bayes_auc: float
    treatment_effect: float
    drift: str


def run(config: Config, ports: Ports) -> Result:
    """Simulate and write.

    Raises:
        BadInput: A number is out of range, the drift or the date is unknown, or the folder cannot be made.
    """
    wanted = WorldConfig(sessions=config.sessions, seed=config.seed, drift=config.drift, start=config.start)
    simulation = simulate(wanted, progress=lambda done, total: ports.progress(STAGE, done, total, "sessions"))
    folder = Path(config.out)
    write(simulation, folder, csv=config.csv)
    truth = simulation.truth
    return Result(
        data=str(folder / SESSIONS_FILE),
        truth=str(folder / TRUTH_FILE),
        world=str(folder),
        rows=truth.rows,
        users=truth.users,
        conversion_rate=truth.conversion_rate,
        bayes_auc=truth.bayes_auc,
        treatment_effect=truth.treatment.effect,
        drift=config.drift,
    )
