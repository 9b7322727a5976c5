"""The circumstances of each visit that no KPI causes: attributes, time, latents, what the user did before."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from trimtab.sessions.simulator.catalogue import Array, Codes, categories
from trimtab.sessions.simulator.drift import Drift
from trimtab.sessions.simulator.population import (
    BROWSER_SHARES,
    DEVICE_SHARES,
    SECONDS_PER_DAY,
    UTC_OFFSET_HOURS,
    Users,
    choose,
)

STAYS_ON_DEVICE = 0.88
SALE_DAYS = (10, 11, 12, 24, 25, 26, 27)  # days of the month, local time
SOURCE_SHARES = np.array([0.24, 0.32, 0.17, 0.08, 0.12, 0.07])
SOURCE_INTENT = np.array([0.35, 0.0, -0.15, 0.55, -0.55, 0.1], dtype=np.float32)
COUNTRY_NETWORK = np.array([0.15, 0.15, 0.1, 0.1, 0.4, -0.35, -0.5, -0.45], dtype=np.float32)
CONNECTION_CUTS = np.array([-1.3, -0.45, 0.65])  # of the latent quality: poor | fair | good | excellent


@dataclass(frozen=True, slots=True)
class Context:
    """One entry per visit.

    Attributes:
        seconds: UTC seconds since 1970.
        country: Code of the country.
        device: Code of the device.
        browser: Code of the browser.
        source: Code of the traffic source.
        connection: Code of the connection's class, a coarse view of `network`.
        weekday: Local day of the week, 0 is Monday.
        hour: Local time of day in hours.
        promotion: 1 where a sale was running.
        network: Latent quality of the connection.
        cpu: Latent speed of the device.
        intent: Latent wish to buy; acts on conversion only through what the visitor does.
        warmth: Latent warmth of connections and caches on the way.
        load: Latent load of the backend.
        platform: Latent state of the API platform.
        spend: Latent size of purse.
        prior_sessions: Earlier visits of the user.
        days_since_last: Days since the last of them; missing for a new user.
    """

    seconds: npt.NDArray[np.int64]
    country: Codes
    device: Codes
    browser: Codes
    source: Codes
    connection: Codes
    weekday: Codes
    hour: Array
    promotion: Codes
    network: Array
    cpu: Array
    intent: Array
    warmth: Array
    load: Array
    platform: Array
    spend: Array
    prior_sessions: Array
    days_since_last: Array

    def __len__(self) -> int:
        return len(self.device)

    def take(self, rows: slice) -> "Context":
        """Some of the visits."""
        return Context(*(getattr(self, field.name)[rows] for field in fields(self)))


def draw_context(
    rng: np.random.Generator,
    users: Users,
    *,
    seconds: npt.NDArray[np.int64],
    prior_sessions: Array,
    days_since_last: Array,
    drift: Drift,
) -> Context:
    """Draw the circumstances of one visit per entry of `users`."""
    count = len(users)
    local = seconds + (UTC_OFFSET_HOURS * 3600).astype(np.int64)[users.country]
    day, hour = local // SECONDS_PER_DAY, (local % SECONDS_PER_DAY / 3600).astype(np.float32)
    device = _draw_device(rng, users.device, drift)
    noise = rng.standard_normal((5, count), dtype=np.float32)
    evening = np.exp(-0.5 * ((hour - np.float32(20.5)) / np.float32(2.5)) ** 2)
    network = 0.75 * users.network + 0.6 * noise[0] + COUNTRY_NETWORK[users.country] - 0.25 * evening
    source = choose(rng, _source_log_odds(users.intent, prior_sessions, drift))
    return Context(
        seconds=seconds,
        country=users.country,
        device=device,
        browser=_draw_browser(rng, device),
        source=source,
        connection=(3 - np.searchsorted(CONNECTION_CUTS, network)).astype(np.int8),
        weekday=((day + 3) % 7).astype(np.int8),  # 1970-01-01 was a Thursday
        hour=hour,
        promotion=_promotion(day, drift),
        network=network,
        cpu=0.85 * users.cpu + np.float32(0.5) * noise[1],
        intent=0.6 * users.intent + 0.8 * noise[2] + SOURCE_INTENT[source],
        warmth=noise[3],
        load=_load(seconds, noise[4], drift),
        platform=rng.standard_normal(count, dtype=np.float32),
        spend=users.spend,
        prior_sessions=prior_sessions,
        days_since_last=days_since_last,
    )


def _draw_device(rng: np.random.Generator, preferred: Codes, drift: Drift) -> Codes:
    other = np.searchsorted(np.cumsum(DEVICE_SHARES)[:-1], rng.random(len(preferred)), side="right")
    device = np.where(rng.random(len(preferred)) < STAYS_ON_DEVICE, preferred, other)
    moved = rng.random(len(preferred)) < drift.to_mobile
    return np.where(moved, categories("device").index("mobile"), device).astype(np.int8)


def _draw_browser(rng: np.random.Generator, device: Codes) -> Codes:
    return choose(rng, np.log(np.maximum(BROWSER_SHARES, 1e-9))[device])


def _source_log_odds(intent: Array, prior_sessions: Array, drift: Drift) -> Array:
    """Loyal users come directly and by mail; new ones from search and social media."""
    shift = np.array([drift.source_shift.get(name, 0.0) for name in categories("source")])
    known = np.log1p(np.minimum(prior_sessions, 10.0))[:, None] * np.array([0.45, -0.1, -0.2, 0.5, -0.1, -0.1])
    liking = intent[:, None] * np.array([0.25, 0.0, -0.05, 0.25, -0.2, 0.0])
    return np.asarray(np.log(SOURCE_SHARES) + shift + known + liking)


def _promotion(day: npt.NDArray[np.int64], drift: Drift) -> Codes:
    if drift.always_promotion:
        return np.ones(len(day), dtype=np.int8)
    dates = day.astype("datetime64[D]")
    day_of_month = (dates - dates.astype("datetime64[M]")).astype(np.int64) + 1
    return np.isin(day_of_month, SALE_DAYS).astype(np.int8)


def _load(seconds: npt.NDArray[np.int64], noise: Array, drift: Drift) -> Array:
    """Load follows the day in UTC, a fixed pattern of busier and calmer hours, and chance."""
    hour = seconds / 3600
    rhythm = 0.55 * np.cos(2 * np.pi * (hour - 18) / 24)
    waves = 0.3 * np.sin(hour / 7.3) + 0.25 * np.sin(hour / 31.7)
    return np.asarray(rhythm + waves + 0.6 * noise + drift.load, dtype=np.float32)
