"""Simulate a shop for some weeks: users visit, convert or not, and come back with that history.

Users do not influence one another, so they are simulated in blocks of a fixed number of users, each with random
streams of its own; how many blocks run at once cannot change the result. Within a block everything that does not
depend on earlier outcomes is computed for all visits at once; only the conversions go by visit rounds.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from trimtab.errors import BadInput
from trimtab.sessions.simulator.aftermath import draw_late_kpis
from trimtab.sessions.simulator.catalogue import Array, Codes
from trimtab.sessions.simulator.context import Context, draw_context
from trimtab.sessions.simulator.drift import named
from trimtab.sessions.simulator.mechanisms import draw_noise, propagate
from trimtab.sessions.simulator.outcome import (
    Outcome,
    draw_value,
    loyalty_log_odds,
    probability,
    static_log_odds,
    treatment_log_odds,
)
from trimtab.sessions.simulator.population import (
    SECONDS_PER_DAY,
    Plan,
    Users,
    draw_users,
    draw_visit_counts,
    plan_visits,
)
from trimtab.sessions.simulator.reporting import report
from trimtab.sessions.simulator.visits import Sessions, attribute_values

BLOCK_USERS = 8_192
TREATED_SHARE = 0.5
FIRST_START, LAST_START = date(1970, 1, 2), date(2200, 1, 1)  # nanosecond timestamps reach to 2262
MAX_DAYS = 3_650
_COUNTS, _BLOCK = 0, 1  # random streams of a block: how often users visit; everything else


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """What to simulate.

    Attributes:
        sessions: Number of sessions, exactly.
        seed: Seed of all randomness; equal configurations give equal bytes (with one numpy on one kind of processor).
        drift: Name of a drift, see `drift.DRIFTS`.
        start: First day of the window, in UTC.
        days: Length of the window.
    """

    sessions: int = 80_000
    seed: int = 7
    drift: str = "none"
    start: str = "2026-01-05"
    days: int = 60

    def __post_init__(self) -> None:
        if self.sessions < 1:
            raise BadInput(f"sessions is {self.sessions}, but at least 1 is needed.")
        if self.seed < 0:
            raise BadInput(f"seed is {self.seed}, but it must not be negative.")
        if not 1 <= self.days <= MAX_DAYS:
            raise BadInput(f"days is {self.days}, but it must lie between 1 and {MAX_DAYS}.")
        try:
            first = date.fromisoformat(self.start)
        except ValueError as error:
            raise BadInput(f"start is '{self.start}', which is no date.", remedy="Write it as YYYY-MM-DD.") from error
        if not FIRST_START <= first <= LAST_START:
            raise BadInput(f"start is {first}, but it must lie between {FIRST_START} and {LAST_START}.")
        named(self.drift)

    @property
    def start_seconds(self) -> int:
        """Start of the window in UTC seconds since 1970."""
        return (date.fromisoformat(self.start) - date(1970, 1, 1)).days * SECONDS_PER_DAY


@dataclass(frozen=True, slots=True)
class Block:
    """The visits of one block of users, in the order (user, time), with everything that caused them.

    Attributes:
        users: Traits of the block's users.
        plan: Who visits when; user rows count from the block's first user.
        context: Circumstances.
        noise: Each mechanism's noise.
        kpis: True request-time KPIs.
        prior_conversions: Earlier conversions of the user at each visit.
        sessions: What happened.
    """

    users: Users
    plan: Plan
    context: Context
    noise: dict[str, Array]
    kpis: dict[str, Array]
    prior_conversions: Array
    sessions: Sessions


def visit_counts(config: WorldConfig) -> list[npt.NDArray[np.int64]]:
    """Visits per user, by block, adding up to exactly the number of sessions asked for."""
    blocks: list[npt.NDArray[np.int64]] = []
    missing = config.sessions
    while missing > 0:
        counts = draw_visit_counts(_stream(config.seed, len(blocks), _COUNTS), BLOCK_USERS)
        total = np.cumsum(counts)
        if total[-1] > missing:
            last = int(np.searchsorted(total, missing))
            counts = counts[: last + 1]
            counts[last] -= total[last] - missing
        blocks.append(counts)
        missing -= int(counts.sum())
    return blocks


def simulate_block(config: WorldConfig, number: int, counts: npt.NDArray[np.int64]) -> Block:
    """Simulate all visits of one block of users."""
    rng, drift = _stream(config.seed, number, _BLOCK), named(config.drift)
    users = draw_users(rng, len(counts))
    plan = plan_visits(rng, counts, users.country, days=config.days)
    context = draw_context(
        rng,
        users.take(plan.user),
        seconds=config.start_seconds + plan.seconds,
        prior_sessions=plan.index.astype(np.float32),
        days_since_last=_days_since_last(plan),
        drift=drift,
    )
    noise = draw_noise(rng, len(context))
    kpis = propagate(context, noise, scale=drift.scale)
    outcome = Outcome().drifted(drift.concept)
    treated = (rng.random(len(context)) < TREATED_SHARE).astype(np.int8)
    prior, p_control, p_treated, converted = play(
        rng, outcome, context=context, kpis=kpis, index=plan.index, treated=treated
    )
    late = draw_late_kpis(rng, kpis, converted.astype(np.float32))
    sessions = Sessions(
        user=number * BLOCK_USERS + plan.user,
        seconds=context.seconds,
        attributes=attribute_values(context),
        kpis=report(rng, context, kpis | late, drift),
        treated=treated,
        converted=converted,
        revenue=np.where(converted > 0, draw_value(rng, context), 0.0),
        p_control=p_control,
        p_treated=p_treated,
    )
    return Block(users, plan, context, noise, kpis, prior, sessions)


def play(
    rng: np.random.Generator,
    outcome: Outcome,
    *,
    context: Context,
    kpis: dict[str, Array],
    index: npt.NDArray[np.int64],
    treated: Codes,
) -> tuple[Array, Array, Array, Codes]:
    """Let the visits happen in rounds, so that each user's earlier conversions weigh on the next visit.

    Args:
        rng: Randomness of the conversions.
        outcome: Coefficients.
        context: Circumstances, in the order (user, time).
        kpis: True request-time KPIs.
        index: 0 for a user's first visit, 1 for the second ...
        treated: Whether the action was taken.

    Returns:
        Per visit: earlier conversions, probability without and with the action, and the label.
    """
    base = static_log_odds(outcome, context, kpis)
    effect = treatment_log_odds(outcome, context, kpis)
    luck = rng.random(len(base))
    prior = np.zeros(len(base), dtype=np.float32)
    control, with_action = np.empty(len(base)), np.empty(len(base))
    converted = np.zeros(len(base), dtype=np.int8)
    for rows in _rounds(index):
        if index[rows[0]] > 0:
            prior[rows] = prior[rows - 1] + converted[rows - 1]
        log_odds = base[rows] + loyalty_log_odds(outcome, prior[rows])
        control[rows] = probability(log_odds)
        with_action[rows] = probability(log_odds + effect[rows])
        converted[rows] = luck[rows] < np.where(treated[rows] > 0, with_action[rows], control[rows])
    return prior, control, with_action, converted


def simulate_blocks(config: WorldConfig, *, workers: int | None = None) -> Iterator[Block]:
    """All blocks in order, computed by threads: one per core, or `workers`."""
    with ThreadPoolExecutor(max_workers=workers or os.cpu_count() or 1) as pool:
        yield from pool.map(lambda job: simulate_block(config, *job), enumerate(visit_counts(config)))


def _rounds(index: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Rows of every user's first visit, of every user's second visit, and so on."""
    order = np.argsort(index, kind="stable")
    return np.split(order, np.cumsum(np.bincount(index))[:-1])


def _days_since_last(plan: Plan) -> Array:
    days = np.diff(plan.seconds, prepend=0) / SECONDS_PER_DAY
    return np.where(plan.index > 0, days, np.nan).astype(np.float32)


def _stream(seed: int, block: int, purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, block, purpose])))
