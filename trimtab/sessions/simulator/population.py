"""Who visits: users with lasting traits, and the visits that they plan.

A user's number of visits is heavy-tailed and, like the times, independent of what happens in them; only the *outcome*
of a visit depends on the outcomes before it. All visits of many users can therefore be drawn at once.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from trimtab.sessions.simulator.catalogue import Array, Codes

SECONDS_PER_DAY = 86_400
SESSION_GAP_SECONDS = 1_800  # a pause of 30 minutes ends a session: the usual definition
MAX_VISITS = 60
VISITS_LOG_MEAN, VISITS_LOG_DEVIATION = 0.25, 1.05  # about 2.8 visits a user, 40% of users come once

# Shares in the order of the spec's categories.
COUNTRY_SHARES = np.array([0.26, 0.15, 0.13, 0.10, 0.08, 0.11, 0.12, 0.05])
DEVICE_SHARES = np.array([0.40, 0.54, 0.06])
MOBILE_BY_COUNTRY = np.array([0.0, -0.2, 0.0, -0.1, 0.1, 0.5, 0.9, 0.7], dtype=np.float32)
UTC_OFFSET_HOURS = np.array([-6, 1, 0, 1, 9, -3, 5.5, 2])
BROWSER_SHARES = np.array(  # by device: chrome, safari, edge, firefox, samsung
    [[0.64, 0.12, 0.16, 0.08, 0.0], [0.58, 0.29, 0.01, 0.02, 0.10], [0.47, 0.43, 0.03, 0.02, 0.05]]
)
HOUR_WEIGHTS = np.array(
    [14, 9, 6, 5, 5, 7, 13, 24, 36, 44, 48, 50, 53, 51, 48, 47, 49, 54, 62, 72, 80, 76, 56, 30], dtype=float
)


@dataclass(frozen=True, slots=True)
class Users:
    """Lasting traits, one entry per user.

    Attributes:
        country: Code of the country.
        device: Code of the device that the user prefers.
        network: Latent quality of the user's connection, standard normal.
        cpu: Latent speed of the user's device, standard normal.
        intent: Latent liking of the shop, standard normal.
        spend: Latent size of purse, standard normal.
    """

    country: Codes
    device: Codes
    network: Array
    cpu: Array
    intent: Array
    spend: Array

    def __len__(self) -> int:
        return len(self.country)

    def take(self, rows: npt.NDArray[np.int64]) -> "Users":
        """The users at `rows`, repeated where a row is."""
        return Users(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Plan:
    """Visits in the order (user, time).

    Attributes:
        user: Row of the user.
        index: 0 for the user's first visit, 1 for the second ...
        seconds: Start, in UTC seconds after the start of the window.
    """

    user: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.int64]


def draw_users(rng: np.random.Generator, count: int) -> Users:
    """Draw users."""
    country = _choice(rng, COUNTRY_SHARES, count)
    log_odds = np.log(DEVICE_SHARES)[None, :] + np.array([0.0, 1.0, 0.0])[None, :] * MOBILE_BY_COUNTRY[country, None]
    device = choose(rng, log_odds)
    network, cpu, intent, spend = rng.standard_normal((4, count), dtype=np.float32)
    return Users(country, device, network, cpu, intent, spend)


def draw_visit_counts(rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
    """Visits of each of `count` users in the window: one plus the floor of a lognormal."""
    visits = np.exp(VISITS_LOG_MEAN + VISITS_LOG_DEVIATION * rng.standard_normal(count))
    return np.minimum(np.ceil(visits), MAX_VISITS).astype(np.int64)


def plan_visits(rng: np.random.Generator, counts: npt.NDArray[np.int64], country: Codes, *, days: int) -> Plan:
    """Give each visit a time: days clustered after the user's arrival, local hours by the day's rhythm."""
    user = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    index = np.arange(len(user)) - first[user]
    arrival = days * rng.random(len(counts)) ** (1 + 0.15 * np.minimum(counts, 20))
    day = np.floor(arrival[user] + (days - arrival[user]) * rng.random(len(user)) ** 1.3)
    seconds = day * SECONDS_PER_DAY + utc_seconds_of_day(rng, country[user])
    order = np.lexsort((seconds, user))
    return Plan(user, index, _apart(seconds[order].astype(np.int64), index))


def utc_seconds_of_day(rng: np.random.Generator, country: Codes) -> Array:
    """Seconds after midnight UTC of visits that follow the local rhythm of the day."""
    hour = _choice(rng, HOUR_WEIGHTS / HOUR_WEIGHTS.sum(), len(country)) + rng.random(len(country))
    return np.asarray((hour - UTC_OFFSET_HOURS[country]) % 24 * 3600)


def choose(rng: np.random.Generator, log_odds: Array) -> Codes:
    """One code per row by its log odds, which need not be normalised."""
    cumulative = np.cumsum(np.exp(log_odds), axis=1)
    threshold = rng.random(len(log_odds)) * cumulative[:, -1]
    return np.asarray((threshold[:, None] > cumulative).sum(axis=1), dtype=np.int8)


def _choice(rng: np.random.Generator, shares: Array, count: int) -> Codes:
    return np.searchsorted(np.cumsum(shares)[:-1], rng.random(count), side="right").astype(np.int8)


def _apart(seconds: npt.NDArray[np.int64], index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Push a visit that starts within the session gap of the one before it, so that sessions do not overlap."""
    for visit in range(1, int(index.max(initial=0)) + 1):
        rows = np.flatnonzero(index == visit)
        seconds[rows] = np.maximum(seconds[rows], seconds[rows - 1] + SESSION_GAP_SECONDS)
    return seconds
