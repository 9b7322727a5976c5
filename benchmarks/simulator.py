"""The simulator against a plain loop that draws the same world one session at a time.

The loop is what one writes first: for each user in turn, for each visit, draw the circumstances, compute each KPI with
`math` and `random`, convert or not, remember. It has the same structural equations, 45 KPIs, losses and outputs, held
in Python lists. It runs on fewer sessions and its time per session is scaled up, which is fair: its cost per session
does not depend on how many there are. The simulator uses all cores, the loop one. Neither side writes files.

    python -m benchmarks.simulator [SESSIONS]
"""

import random
import sys
import time
from bisect import bisect
from math import cos, exp, floor, log, log1p, pi, sin, tanh
from typing import Any

from trimtab.sessions.simulator import WorldConfig, calibration, context, outcome, population, reporting
from trimtab.sessions.simulator.catalogue import categories
from trimtab.sessions.simulator.simulation import simulate_blocks

LOOP_SESSIONS = 10_000
DEVICES = categories("device")


def main(sessions: int = 1_000_000) -> list[dict[str, Any]]:
    _vectorised(1_000)  # imports and caches are neither side's
    ours = _vectorised(sessions)
    loop_seconds, looped = _loop(LOOP_SESSIONS)
    theirs = loop_seconds / looped * sessions
    print(f"{sessions / ours:,.0f} sessions per second; the loop makes {looped / loop_seconds:,.0f}")
    return [
        {
            "name": f"Simulate {sessions:,} sessions x 45 KPIs",
            "ours": round(ours, 3),
            "theirs": round(theirs, 1),
            "theirs_is": f"a plain Python loop on one core with the same equations (scaled up from {looped:,})",
            "unit": "s",
            "ratio": round(theirs / ours, 1),
        }
    ]


def _vectorised(sessions: int) -> float:
    started = time.perf_counter()
    made = sum(len(block.sessions) for block in simulate_blocks(WorldConfig(sessions=sessions)))
    assert made == sessions
    return time.perf_counter() - started


def _loop(sessions: int) -> tuple[float, int]:
    """Seconds, and the number of sessions made: at least as many as asked for."""
    rng = random.Random(7)
    rows: list[list[float]] = []
    started = time.perf_counter()
    while len(rows) < sessions:
        rows += _user(rng)
    return time.perf_counter() - started, len(rows)


def _pick(rng: random.Random, weights: Any) -> int:
    return rng.choices(range(len(weights)), weights)[0]


def _user(rng: random.Random) -> list[list[float]]:
    """All visits of one user, in time order."""
    country = _pick(rng, COUNTRIES)
    device = _pick(rng, [share * (exp(MOBILE[country]) if i == 1 else 1) for i, share in enumerate(DEVICE)])
    network, cpu, intent, spend = (rng.gauss() for _ in range(4))
    visits = min(int(exp(population.VISITS_LOG_MEAN + population.VISITS_LOG_DEVIATION * rng.gauss())) + 1, 60)
    arrival = 60 * rng.random() ** (1 + 0.15 * min(visits, 20))
    days = [floor(arrival + (60 - arrival) * rng.random() ** 1.3) for _ in range(visits)]
    times = sorted(day * 86_400.0 + (_pick(rng, HOURS) + rng.random() - OFFSETS[country]) % 24 * 3_600 for day in days)
    rows: list[list[float]] = []
    conversions, last = 0, -1.0
    for visit, seconds in enumerate(times):
        row = _visit(
            rng,
            (country, device, network, cpu, intent, spend),
            visit=visit,
            seconds=seconds,
            last=last,
            conversions=conversions,
        )
        rows.append(row)
        conversions, last = conversions + int(row[-1]), seconds
    return rows


def _visit(  # noqa: PLR0915 - long on purpose: it is the plain loop's body
    rng: random.Random, user: tuple[Any, ...], *, visit: int, seconds: float, last: float, conversions: int
) -> list[float]:
    """One visit: its attributes and KPIs, the probabilities, revenue and, at the end, the label."""
    country, preferred, network, cpu, intent, spend = user
    z = rng.gauss
    hour = (seconds / 3_600 + OFFSETS[country]) % 24
    weekday = int(seconds // 86_400) % 7
    sale = float(int(seconds // 86_400) % 30 in context.SALE_DAYS)
    device = preferred if rng.random() < context.STAYS_ON_DEVICE else _pick(rng, DEVICE)
    browser = _pick(rng, BROWSERS[device])
    known = log1p(min(visit, 10))
    source = _pick(
        rng, [s * exp(k * known + i * intent) for s, k, i in zip(SOURCES, SOURCE_KNOWN, SOURCE_LIKING, strict=True)]
    )
    q = 0.75 * network + 0.6 * z() + COUNTRY_NETWORK[country] - 0.25 * exp(-0.5 * ((hour - 20.5) / 2.5) ** 2)
    connection = 3 - bisect(CUTS, q)
    c, want = 0.85 * cpu + 0.5 * z(), 0.6 * intent + 0.8 * z() + SOURCE_INTENT[source]
    warm, platform, h = z(), z(), seconds / 3_600
    load = 0.55 * cos(2 * pi * (h - 18) / 24) + 0.3 * sin(h / 7.3) + 0.25 * sin(h / 31.7) + 0.6 * z()
    rtt = exp(log((32, 52, 40)[device]) - 0.5 * q + 0.25 * z())
    down = exp(log((45, 24, 34)[device]) + 0.7 * q + 0.35 * z())
    dns = exp(2.3 - 0.25 * q - 0.7 * warm + 0.6 * z())
    connect, tls = rtt * exp(-0.2 - 0.7 * warm + 0.2 * z()), rtt * exp(-0.1 - 0.7 * warm + 0.25 * z())
    processor = 100 / (1 + exp(0.3 - 0.7 * load - 0.35 * z()))
    queue, queries = exp(1.3 + 0.022 * processor + 0.5 * z()), floor(exp(2.95 + 0.3 * z()))
    cache = 1 / (1 + exp(-(1.0 + 0.4 * log1p(min(visit, 8)) - 0.3 * load + 0.3 * warm + 0.6 * z())))
    database = queries * (1.15 - cache) * exp(2.0 + 0.25 * load + 0.35 * z())
    ttfb = dns + connect + tls + rtt + queue + database + exp(4.2 - 0.6 * warm + 0.4 * z())
    slow_db = log((database + 20) / 100)
    search, advice, cart, checkout, payment = (
        rtt + exp(log(base) + 0.15 * load + 0.2 * platform + share * slow_db + 0.5 * z())
        for base, share in ((190, 0.25), (150, 0.15), (110, 0.2), (280, 0.25), (420, 0.0))
    )
    failed = floor(exp(-1 + 0.3 * load + 0.3 * log(checkout / 340) + 0.25 * log(payment / 470) + 0.8 * z()))
    image = exp(log((1000, 750, 900)[device]) + 0.06 * q + 0.5 * z())
    script, style = exp(6.1 + 0.35 * z()), exp(4.4 + 0.3 * z())
    weight = image + script + style + exp(4.8 + 0.4 * z())
    requests, nodes = floor(18 + weight / 35 * exp(0.25 * z())), floor(exp(7.25 + 0.35 * z()))
    third = exp(5.1 - 0.3 * c - 0.1 * q + 0.5 * z())
    render = exp(log((215, 190, 300)[device]) - 0.25 * c - 0.6 * warm + 0.6 * z())
    fcp = ttfb + 0.25 * (script + style) * 8 / down + render
    score = 0.75 * log(fcp) + 0.3 * log(image * 8 / down + 60) + 0.1 * log(third) + 0.3 * z()
    lcp = max(_lcp(score, device), fcp)
    blocked = 0.8 * log(script / 450) + 0.2 * log(third / 165)
    tbt = exp(log((90, 210, 150)[device]) - 0.5 * c + blocked + 0.5 * z())
    inp = 16 + exp(
        log((65, 120, 95)[device]) - 0.3 * c + 0.4 * log((tbt + 50) / 190) + 0.2 * log(nodes / 1400) + 0.4 * z()
    )
    cls = exp(log((0.045, 0.06, 0.06)[device]) + 0.3 * log(image / 850) + 0.8 * z())
    interactive = fcp * exp(0.12 + 0.15 * z()) + 0.2 * tbt
    complete = interactive + 0.6 * image * 8 / down + exp(5.9 + 0.4 * z())
    loaded = max(complete, 0.8 * lcp) + exp(3.5 + 0.5 * z())
    broken = floor(exp(-1 + 0.4 * log(script / 450) + 0.8 * z()))
    patience = -0.12 * log(lcp / 1350)
    products = floor(exp(0.95 + 0.5 * want + patience + 0.5 * z()))
    dwell = exp(3.6 + 0.35 * want + patience + 0.35 * log1p(products) + 0.5 * z())
    scroll = 100 / (1 + exp(-(0.1 + 0.35 * want + 0.9 * z())))
    clicks = floor(exp(1.2 + 0.2 * want + 0.5 * log1p(products) + 0.4 * z()))
    searches = floor(exp(-0.3 + 0.25 * want + 0.8 * z()))
    items = floor(exp(-1.1 + 0.7 * want + 0.4 * log1p(products) + 0.6 * z()))
    o = EQUATION
    log_odds = (
        o.intercept + SOURCE[source] + COUNTRY[country] + DEVICE_EFFECT[device] + WEEKDAY[weekday]
        + o.evening * cos((hour - 20) * pi / 12) + o.promotion * sale
        + o.lcp * SENSITIVITY[device] * _slow(lcp, 2200, 0.6) + o.inp * _slow(inp, 220, 0.4)
        + o.tbt * _slow(tbt, 300, 0.5) + o.cls * _slow(cls + 0.01, 0.13, 0.4)
        + (o.api_checkout + o.cart_checkout * (items > 0)) * _slow(checkout, 400, 0.45)
        + o.api_payment * _slow(payment, 600, 0.45) + o.api_search * _slow(search, 300, 0.5)
        + o.api_cart * _slow(cart, 200, 0.5) + o.api_recommendations * _slow(advice, 250, 0.5)
        + o.api_errors * (1 - exp(-failed / 1.5)) + o.js_errors * (1 - exp(-broken / 1.5))
        + o.cart_items * (1 - exp(-items / 1.2)) + o.products_viewed * (1 - exp(-products / 3))
        + o.dwell * tanh(log((dwell + 1) / 80)) + o.prior_sessions * log1p(min(visit, 20))
        + (o.recency * exp(-(seconds - last) / 864_000) if visit else 0.0)
        + o.prior_conversions * (1 - exp(-conversions))
    )  # fmt: skip
    slowness = 1.1 * (log(lcp) - o.treatment_threshold_log_ms)
    effect = o.treatment * tanh(slowness + TREATMENT_DEVICE[device] + TREATMENT_CONNECTION[connection])
    p_control, p_treated = 1 / (1 + exp(-log_odds)), 1 / (1 + exp(-log_odds - effect))
    treated = rng.random() < 0.5
    converted = rng.random() < (p_treated if treated else p_control)
    value = round(exp(4.0 + REVENUE_COUNTRY[country] + REVENUE_DEVICE[device] + 0.5 * spend + 0.55 * z()), 2)
    e = z()
    duration = dwell * (1 + exp(0.7 * e)) + converted * exp(5 + 0.4 * e)
    pages = floor(1 + products + exp(0.5 + 0.6 * z()) + 4 * converted)
    begun = min(floor(exp(-1.3 + 0.8 * log1p(items) + z())), 3)
    rage = floor(exp(-1.2 + 0.5 * log(inp / 150) + 0.3 * broken + 0.7 * z()))
    support = floor(exp(-1.8 + 0.3 * failed + 0.4 * converted + 0.8 * z()))
    last_scroll = scroll / (1 + exp(-1 + 0.8 * converted + z()))
    row: list[float] = [
        seconds, country, device, browser, source, connection, weekday, hour, sale, dns, connect, tls, rtt, down,
        queries, cache, database, processor, queue, ttfb, search, advice, cart, checkout, payment, failed, image,
        script, style, weight, requests, nodes, third, fcp, lcp, cls, tbt, inp, interactive, complete, loaded, broken,
        products, dwell, scroll, clicks, searches, items, duration, pages, 4 if converted else begun, rage, support,
        last_scroll, p_control, p_treated, treated, value if converted else 0.0, converted,
    ]  # fmt: skip
    for place, share in LOST:
        if rng.random() < share:
            row[place] = float("nan")
    return row


def _slow(value: float, middle: float, width: float) -> float:
    return 1 / (1 + exp((log(middle) - log(value)) / width))


def _lcp(score: float, device: int) -> float:
    knots, values = KNOTS[device]
    i = min(max(bisect(knots, score) - 1, 0), len(knots) - 2)
    slope = (values[i + 1] - values[i]) / (knots[i + 1] - knots[i])
    return exp(values[i] + (score - knots[i]) * slope)


# The simulator's tables, as Python lists: indexing those is faster than indexing arrays.
COUNTRIES, DEVICE, HOURS = (
    table.tolist() for table in (population.COUNTRY_SHARES, population.DEVICE_SHARES, population.HOUR_WEIGHTS)
)
MOBILE, OFFSETS = population.MOBILE_BY_COUNTRY.tolist(), population.UTC_OFFSET_HOURS.tolist()
BROWSERS, SOURCES = population.BROWSER_SHARES.tolist(), context.SOURCE_SHARES.tolist()
SOURCE_KNOWN, SOURCE_LIKING = (0.45, -0.1, -0.2, 0.5, -0.1, -0.1), (0.25, 0.0, -0.05, 0.25, -0.2, 0.0)
SOURCE_INTENT, COUNTRY_NETWORK = context.SOURCE_INTENT.tolist(), context.COUNTRY_NETWORK.tolist()
CUTS = context.CONNECTION_CUTS.tolist()
EQUATION = outcome.Outcome()
SOURCE, COUNTRY = outcome.SOURCE_EFFECT.tolist(), outcome.COUNTRY_EFFECT.tolist()
DEVICE_EFFECT, WEEKDAY = outcome.DEVICE_EFFECT.tolist(), outcome.WEEKDAY_EFFECT.tolist()
SENSITIVITY = outcome.LCP_SENSITIVITY.tolist()
TREATMENT_DEVICE, TREATMENT_CONNECTION = outcome.TREATMENT_DEVICE.tolist(), outcome.TREATMENT_CONNECTION.tolist()
REVENUE_COUNTRY, REVENUE_DEVICE = outcome.REVENUE_COUNTRY.tolist(), outcome.REVENUE_DEVICE.tolist()
KNOTS = [
    (calibration.SCORE_QUANTILES[name], [log(value) for value in calibration.LCP_QUANTILES_MS[name]])
    for name in DEVICES
]
LOST = [(9 + i, share) for i, share in enumerate((*reporting.LOST_AT_RANDOM.values(), 0.27, 0.04))]


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
