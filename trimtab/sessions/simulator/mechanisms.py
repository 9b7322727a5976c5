# A mechanism is named after its KPI, whose meaning stands in the spec, and all share one signature:
# ruff: noqa: D103, ARG001
"""How each request-time KPI follows from its causes: the structural equations, in causal order.

A mechanism computes one KPI from the circumstances, the KPIs before it and its own standard normal noise. Multiplying
its result is an intervention; whatever is computed from it later follows. Times add up as they do in a browser (the
first byte comes after name lookup, connection, TLS and the server's work; the first paint after the first byte),
rates and sizes are lognormal, counts are floors of lognormals.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from trimtab.sessions.simulator import calibration
from trimtab.sessions.simulator.catalogue import Array, clip
from trimtab.sessions.simulator.context import Context

Values: TypeAlias = Mapping[str, Array]
Mechanism: TypeAlias = Callable[[Context, Values, Array], Array]

_BITS_PER_BYTE = 8  # kB * 8 / (Mbit/s) = ms
MECHANISMS: dict[str, Mechanism] = {}


def propagate(
    context: Context,
    noise: Mapping[str, Array],
    *,
    scale: Mapping[str, float] | None = None,
    held: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """Compute all request-time KPIs.

    Args:
        context: Circumstances of the visits.
        noise: Each mechanism's own standard normal noise, shape [visits].
        scale: Interventions: KPI to the factor that its mechanism is multiplied by. What depends on it follows.
        held: KPIs that keep these values whatever their causes do.

    Returns:
        KPI name to values within the spec's bounds, float32, shape [visits].
    """
    scale, held = scale or {}, held or {}
    values: dict[str, Array] = {}
    for name, mechanism in MECHANISMS.items():
        if name in held:
            values[name] = held[name]
            continue
        result = mechanism(context, values, noise[name])
        values[name] = clip(name, result * np.float32(scale[name]) if name in scale else result)
    return values


def draw_noise(rng: np.random.Generator, count: int) -> dict[str, Array]:
    """Noise for `count` visits of every mechanism."""
    return dict(zip(MECHANISMS, rng.standard_normal((len(MECHANISMS), count), dtype=np.float32), strict=True))


def _mechanism(function: Mechanism) -> Mechanism:
    """Register a function as the mechanism of the KPI whose name it bears."""
    MECHANISMS[function.__name__] = function
    return function


def _by_device(desktop: float, mobile: float, tablet: float) -> Array:
    return np.array([desktop, mobile, tablet], dtype=np.float32)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _transfer_ms(kilobytes: Array, downlink_mbps: Array) -> Array:
    return np.asarray(kilobytes * _BITS_PER_BYTE / downlink_mbps)


# Network: the latent quality of the connection drives all of it; warm connections skip work.

_RTT = np.log(_by_device(32, 52, 40))
_DOWNLINK = np.log(_by_device(45, 24, 34))


@_mechanism
def rtt_ms(c: Context, v: Values, e: Array) -> Array:
    return np.exp(_RTT[c.device] - 0.5 * c.network + 0.25 * e)


@_mechanism
def downlink_mbps(c: Context, v: Values, e: Array) -> Array:
    return np.exp(_DOWNLINK[c.device] + 0.7 * c.network + 0.35 * e)


@_mechanism
def dns_ms(c: Context, v: Values, e: Array) -> Array:
    return np.exp(2.3 - 0.25 * c.network - 0.7 * c.warmth + 0.6 * e)


@_mechanism
def connect_ms(c: Context, v: Values, e: Array) -> Array:
    return v["rtt_ms"] * np.exp(-0.2 - 0.7 * c.warmth + 0.2 * e)


@_mechanism
def tls_ms(c: Context, v: Values, e: Array) -> Array:
    return v["rtt_ms"] * np.exp(-0.1 - 0.7 * c.warmth + 0.25 * e)


# Backend: load raises CPU, CPU raises queues; a cache that knows the visitor spares the database.


@_mechanism
def server_cpu_pct(c: Context, v: Values, e: Array) -> Array:
    return 100 * _sigmoid(-0.3 + 0.7 * c.load + 0.35 * e)


@_mechanism
def server_queue_ms(c: Context, v: Values, e: Array) -> Array:
    return np.exp(1.3 + 2.2 * v["server_cpu_pct"] / 100 + 0.5 * e)


@_mechanism
def db_queries(c: Context, v: Values, e: Array) -> Array:
    return np.floor(np.exp(2.95 + 0.3 * e))


@_mechanism
def cache_hit_ratio(c: Context, v: Values, e: Array) -> Array:
    returning = np.log1p(np.minimum(c.prior_sessions, 8))
    return _sigmoid(1.0 + 0.4 * returning - 0.3 * c.load + 0.3 * c.warmth + 0.6 * e)


@_mechanism
def db_time_ms(c: Context, v: Values, e: Array) -> Array:
    return v["db_queries"] * (1.15 - v["cache_hit_ratio"]) * np.exp(2.0 + 0.25 * c.load + 0.35 * e)


@_mechanism
def ttfb_ms(c: Context, v: Values, e: Array) -> Array:
    way = v["dns_ms"] + v["connect_ms"] + v["tls_ms"] + v["rtt_ms"]
    return way + v["server_queue_ms"] + v["db_time_ms"] + np.exp(4.2 - 0.6 * c.warmth + 0.4 * e)


def _api(base_ms: float, database: float) -> Mechanism:
    """An API's latency: the way, and work that grows with the database's, the load and the platform's state."""
    log_base = np.float32(np.log(base_ms))

    def latency(c: Context, v: Values, e: Array) -> Array:
        slow_database = database * np.log((v["db_time_ms"] + 20) / 100)
        return v["rtt_ms"] + np.exp(log_base + 0.15 * c.load + 0.2 * c.platform + slow_database + 0.5 * e)

    return latency


MECHANISMS |= {
    "api_search_ms": _api(190, 0.25),
    "api_recommendations_ms": _api(150, 0.15),
    "api_cart_ms": _api(110, 0.2),
    "api_checkout_ms": _api(280, 0.25),
    "api_payment_ms": _api(420, 0.0),  # at the provider, so our database does not matter
}


@_mechanism
def api_errors(c: Context, v: Values, e: Array) -> Array:
    slow = 0.3 * np.log(v["api_checkout_ms"] / 340) + 0.25 * np.log(v["api_payment_ms"] / 470)
    return np.floor(np.exp(-1.0 + 0.3 * c.load + slow + 0.8 * e))


# Frontend: bytes and the device's speed decide what the visitor sees and when the page answers.

_IMAGES = np.log(_by_device(1000, 750, 900))
_RENDER = np.log(_by_device(215, 190, 300))
_BLOCKING = np.log(_by_device(90, 210, 150))
_INPUT = np.log(_by_device(65, 120, 95))
_SHIFT = np.log(_by_device(0.045, 0.06, 0.06))


@_mechanism
def image_kb(c: Context, v: Values, e: Array) -> Array:
    return np.exp(_IMAGES[c.device] + 0.06 * c.network + 0.5 * e)


@_mechanism
def js_kb(c: Context, v: Values, e: Array) -> Array:
    return np.exp(6.1 + 0.35 * e)


@_mechanism
def css_kb(c: Context, v: Values, e: Array) -> Array:
    return np.exp(4.4 + 0.3 * e)


@_mechanism
def page_weight_kb(c: Context, v: Values, e: Array) -> Array:
    return v["image_kb"] + v["js_kb"] + v["css_kb"] + np.exp(4.8 + 0.4 * e)


@_mechanism
def request_count(c: Context, v: Values, e: Array) -> Array:
    return np.floor(18 + v["page_weight_kb"] / 35 * np.exp(0.25 * e))


@_mechanism
def dom_nodes(c: Context, v: Values, e: Array) -> Array:
    return np.floor(np.exp(7.25 + 0.35 * e))


@_mechanism
def third_party_ms(c: Context, v: Values, e: Array) -> Array:
    return np.exp(5.1 - 0.3 * c.cpu - 0.1 * c.network + 0.5 * e)


@_mechanism
def fcp_ms(c: Context, v: Values, e: Array) -> Array:
    critical = 0.25 * _transfer_ms(v["js_kb"] + v["css_kb"], v["downlink_mbps"])
    return v["ttfb_ms"] + critical + np.exp(_RENDER[c.device] - 0.25 * c.cpu - 0.6 * c.warmth + 0.6 * e)


def lcp_score(c: Context, v: Values, e: Array) -> Array:
    """How slow the largest paint is: the first paint, then the largest image arrives and is drawn."""
    image = np.log(_transfer_ms(v["image_kb"], v["downlink_mbps"]) + 60)
    return 0.75 * np.log(v["fcp_ms"]) + 0.3 * image + 0.1 * np.log(v["third_party_ms"]) + 0.3 * e


@_mechanism
def lcp_ms(c: Context, v: Values, e: Array) -> Array:
    return np.maximum(calibration.lcp_ms(lcp_score(c, v, e), c.device), v["fcp_ms"])


@_mechanism
def tbt_ms(c: Context, v: Values, e: Array) -> Array:
    size = 0.8 * np.log(v["js_kb"] / 450) + 0.2 * np.log(v["third_party_ms"] / 165)
    return np.exp(_BLOCKING[c.device] - 0.5 * c.cpu + size + 0.5 * e)


@_mechanism
def inp_ms(c: Context, v: Values, e: Array) -> Array:
    blocked = 0.4 * np.log((v["tbt_ms"] + 50) / 190)
    nodes = 0.2 * np.log(v["dom_nodes"] / 1400)
    return 16 + np.exp(_INPUT[c.device] - 0.3 * c.cpu + blocked + nodes + 0.4 * e)


@_mechanism
def cls(c: Context, v: Values, e: Array) -> Array:
    return np.exp(_SHIFT[c.device] + 0.3 * np.log(v["image_kb"] / 850) + 0.8 * e)


@_mechanism
def dom_interactive_ms(c: Context, v: Values, e: Array) -> Array:
    return v["fcp_ms"] * np.exp(0.12 + 0.15 * e) + 0.2 * v["tbt_ms"]


@_mechanism
def dom_complete_ms(c: Context, v: Values, e: Array) -> Array:
    return v["dom_interactive_ms"] + 0.6 * _transfer_ms(v["image_kb"], v["downlink_mbps"]) + np.exp(5.9 + 0.4 * e)


@_mechanism
def load_event_ms(c: Context, v: Values, e: Array) -> Array:
    return np.maximum(v["dom_complete_ms"], 0.8 * v["lcp_ms"]) + np.exp(3.5 + 0.5 * e)


@_mechanism
def js_errors(c: Context, v: Values, e: Array) -> Array:
    return np.floor(np.exp(-1.0 + 0.4 * np.log(v["js_kb"] / 450) + 0.8 * e))


# Behaviour: the wish to buy shows in what the visitor does; slow pages dampen it a little.


def _patience(v: Values) -> Array:
    return -0.12 * np.log(v["lcp_ms"] / 1350)


@_mechanism
def products_viewed(c: Context, v: Values, e: Array) -> Array:
    return np.floor(np.exp(0.95 + 0.5 * c.intent + _patience(v) + 0.5 * e))


@_mechanism
def dwell_s(c: Context, v: Values, e: Array) -> Array:
    return np.exp(3.6 + 0.35 * c.intent + _patience(v) + 0.35 * np.log1p(v["products_viewed"]) + 0.5 * e)


@_mechanism
def scroll_depth_pct(c: Context, v: Values, e: Array) -> Array:
    return 100 * _sigmoid(0.1 + 0.35 * c.intent + 0.9 * e)


@_mechanism
def clicks(c: Context, v: Values, e: Array) -> Array:
    return np.floor(np.exp(1.2 + 0.2 * c.intent + 0.5 * np.log1p(v["products_viewed"]) + 0.4 * e))


@_mechanism
def search_queries(c: Context, v: Values, e: Array) -> Array:
    return np.floor(np.exp(-0.3 + 0.25 * c.intent + 0.8 * e))


@_mechanism
def cart_items(c: Context, v: Values, e: Array) -> Array:
    return np.floor(np.exp(-1.1 + 0.7 * c.intent + 0.4 * np.log1p(v["products_viewed"]) + 0.6 * e))
