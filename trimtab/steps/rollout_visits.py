"""Simulated users of a running rollout: each asks the router as an app would, and what the answer brings is reported.

Nothing about the result is scripted. The user converts by the true effect of what the version that answered asks for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trimtab.ports import Ports, Visits
from trimtab.rollout.traffic import Happened, Traffic, world_traffic
from trimtab.sessions.privacy import load_key
from trimtab.sessions.simulator import World
from trimtab.sessions.spec import load_spec
from trimtab.steps.routed import asked, reports

_STREAM = 13  # keeps this step's randomness apart from other uses of the seed


@dataclass(frozen=True, slots=True)
class Config:
    """Who comes.

    Attributes:
        world: Folder of the simulated world.
        spec: Dataset spec of its sessions.
        users: How many users come.
        seed: Seed of visits and outcomes.
    """

    world: str
    spec: str
    users: int = 30_000
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Came:
    """What a batch of users met.

    Attributes:
        users: How many came.
        by_arm: How many by the arm they were assigned to.
        fallbacks: How many were answered by another arm.
        conversions: How many converted.
        latency_p99_ms: 99th percentile of their wait.
    """

    users: int
    by_arm: dict[str, int]
    fallbacks: int
    conversions: int
    latency_p99_ms: float


def users(config: Config, ports: Ports) -> Traffic:
    """The users who are to come.

    Args:
        config: The configuration.
        ports: Uses `home`, for the key of the pseudonyms.

    Raises:
        BadInput: The folder holds no world, or the spec is wrong.
    """
    rng = np.random.default_rng([config.seed, _STREAM])
    world = World.load(Path(config.world))
    return world_traffic(world, load_spec(config.spec), users=config.users, key=load_key(ports.home), rng=rng)


def visits(traffic: Traffic, ports: Ports, *, url: str, model: str, batch: int) -> Iterator[Came]:
    """Send users batch by batch; each batch is sent when the next item is asked for.

    Args:
        traffic: The users.
        ports: Uses `app`.
        url: The router.
        model: The model's name at the router.
        batch: Users between two reports.

    Raises:
        Unavailable: The router does not answer.
        BadInput: The router refuses a request.
    """
    act, instances = np.zeros(len(traffic.units), dtype=bool), asked(traffic)
    for start in range(0, len(act), batch):
        rows = np.arange(start, min(start + batch, len(act)))
        answers = ports.app.visit(url, model, [traffic.units[row] for row in rows], instances.iloc[rows])
        act[rows] = answers.act
        happened = traffic.outcomes(act)
        ports.app.report(url, reports(traffic, happened, rows))
        yield _came(answers, happened, rows)


def _came(answers: Visits, happened: Happened, rows: np.ndarray) -> Came:
    arms, counts = np.unique(answers.arm.astype(str), return_counts=True)
    return Came(
        users=len(rows),
        by_arm={str(arm): int(count) for arm, count in zip(arms, counts, strict=True)},
        fallbacks=int((answers.fallback != "").sum()),
        conversions=int(happened.converted[rows].sum()),
        latency_p99_ms=float(np.percentile(answers.latency_ms, 99)),
    )
