"""How conversion and revenue follow from a visit: the declared structural equation.

The probability to convert depends only on what is known when a model is asked: request-time KPIs, attributes,
the user's history and the randomised action. The latents act through those alone, so the true probability is also the
best prediction that any model could make, and its AUC is the Bayes-optimal one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trimtab.sessions.simulator.catalogue import Array
from trimtab.sessions.simulator.context import Context

# Added to the log odds, in the order of the spec's categories.
SOURCE_EFFECT = np.array([0.25, 0.0, -0.25, 0.55, -0.5, 0.05], dtype=np.float32)
COUNTRY_EFFECT = np.array([0.1, 0.15, 0.1, 0.0, 0.1, -0.2, -0.3, -0.15], dtype=np.float32)
DEVICE_EFFECT = np.array([0.15, -0.1, 0.05], dtype=np.float32)
WEEKDAY_EFFECT = np.array([0.0, 0.0, 0.0, 0.0, -0.1, -0.05, 0.2], dtype=np.float32)
LCP_SENSITIVITY = np.array([0.8, 1.2, 1.0], dtype=np.float32)  # by device: mobiles are used on the move
TREATMENT_DEVICE = np.array([-0.35, 0.35, 0.0], dtype=np.float32)
TREATMENT_CONNECTION = np.array([-0.3, 0.0, 0.25, 0.5], dtype=np.float32)

REVENUE_LOG_MEAN, REVENUE_LOG_DEVIATION = 4.0, 0.55
REVENUE_COUNTRY = np.array([0.15, 0.1, 0.1, 0.0, 0.2, -0.3, -0.5, -0.35], dtype=np.float32)
REVENUE_DEVICE = np.array([0.12, -0.12, 0.0], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Coefficients of the log odds of conversion.

    Each is named after the KPI or fact that it weighs. Terms in KPIs saturate: an S-curve in the logarithm of a
    latency, an exponential approach in a count.
    """

    intercept: float = -2.05
    lcp: float = -2.6
    inp: float = -1.1
    tbt: float = -0.3
    cls: float = -0.35
    api_checkout: float = -1.2
    api_payment: float = -0.7
    api_search: float = -0.5
    api_cart: float = -0.3
    api_recommendations: float = -0.15
    api_errors: float = -0.8
    js_errors: float = -0.45
    cart_items: float = 2.4
    products_viewed: float = 0.7
    dwell: float = 0.8
    cart_checkout: float = -0.3
    evening: float = 0.3
    promotion: float = 0.45
    prior_conversions: float = 0.9
    prior_sessions: float = 0.25
    recency: float = 0.5
    treatment: float = 1.0
    treatment_threshold_log_ms: float = 6.95

    def drifted(self, concept: Mapping[str, float]) -> "Outcome":
        """These coefficients with some replaced."""
        changes: dict[str, Any] = dict(concept)
        return replace(self, **changes)


def static_log_odds(outcome: Outcome, context: Context, kpis: Mapping[str, Array]) -> Array:
    """Log odds of conversion without history of conversions and without the action.

    Args:
        outcome: Coefficients.
        context: Circumstances of the visits.
        kpis: Request-time KPIs of the visits.

    Returns:
        Log odds, shape [visits].
    """
    return np.asarray(
        outcome.intercept
        + _circumstances(outcome, context)
        + _speed(outcome, context, kpis)
        + _interest(outcome, kpis)
        + outcome.prior_sessions * np.log1p(np.minimum(context.prior_sessions, 20))
        + outcome.recency * np.exp(-np.nan_to_num(context.days_since_last, nan=np.inf) / 10),
        dtype=np.float32,
    )


def loyalty_log_odds(outcome: Outcome, prior_conversions: Array) -> Array:
    """What earlier conversions of the user add to the log odds."""
    return np.asarray(outcome.prior_conversions * (1 - np.exp(-prior_conversions)), dtype=np.float32)


def treatment_log_odds(outcome: Outcome, context: Context, kpis: Mapping[str, Array]) -> Array:
    """What the lighter page adds to the log odds.

    It helps where the page was slow, on mobiles and on poor connections, and harms where the full page would have come
    quickly anyway, because content is missing.
    """
    slowness = 1.1 * (np.log(kpis["lcp_ms"]) - np.float32(outcome.treatment_threshold_log_ms))
    where = TREATMENT_DEVICE[context.device] + TREATMENT_CONNECTION[context.connection]
    return np.asarray(outcome.treatment * np.tanh(slowness + where), dtype=np.float32)


def probability(log_odds: Array) -> Array:
    """Logistic function, in float64."""
    return np.asarray(1 / (1 + np.exp(-log_odds.astype(np.float64))))


def draw_value(rng: np.random.Generator, context: Context) -> Array:
    """What each visit brings in if it converts: lognormal, by country, device and the user's purse."""
    log_mean = REVENUE_LOG_MEAN + REVENUE_COUNTRY[context.country] + REVENUE_DEVICE[context.device]
    log_value = log_mean + 0.5 * context.spend + REVENUE_LOG_DEVIATION * rng.standard_normal(len(context))
    return np.asarray(np.round(np.exp(log_value), 2), dtype=np.float64)


def _circumstances(outcome: Outcome, context: Context) -> Array:
    evening = np.cos((context.hour - np.float32(20)) * np.float32(2 * np.pi / 24))
    return np.asarray(
        SOURCE_EFFECT[context.source]
        + COUNTRY_EFFECT[context.country]
        + DEVICE_EFFECT[context.device]
        + WEEKDAY_EFFECT[context.weekday]
        + outcome.evening * evening
        + outcome.promotion * context.promotion.astype(np.float32)
    )


def _speed(outcome: Outcome, context: Context, kpis: Mapping[str, Array]) -> Array:
    checkout = _slow(kpis["api_checkout_ms"], 400, 0.45)
    return np.asarray(
        outcome.lcp * LCP_SENSITIVITY[context.device] * _slow(kpis["lcp_ms"], 2200, 0.6)
        + outcome.inp * _slow(kpis["inp_ms"], 220, 0.4)
        + outcome.tbt * _slow(kpis["tbt_ms"], 300, 0.5)
        + outcome.cls * _slow(kpis["cls"] + np.float32(0.01), 0.13, 0.4)
        + (outcome.api_checkout + outcome.cart_checkout * (kpis["cart_items"] > 0)) * checkout
        + outcome.api_payment * _slow(kpis["api_payment_ms"], 600, 0.45)
        + outcome.api_search * _slow(kpis["api_search_ms"], 300, 0.5)
        + outcome.api_cart * _slow(kpis["api_cart_ms"], 200, 0.5)
        + outcome.api_recommendations * _slow(kpis["api_recommendations_ms"], 250, 0.5)
        + outcome.api_errors * _saturating(kpis["api_errors"], 1.5)
        + outcome.js_errors * _saturating(kpis["js_errors"], 1.5)
    )


def _interest(outcome: Outcome, kpis: Mapping[str, Array]) -> Array:
    dwell = np.tanh(np.log((kpis["dwell_s"] + 1) / np.float32(80)))
    return np.asarray(
        outcome.cart_items * _saturating(kpis["cart_items"], 1.2)
        + outcome.products_viewed * _saturating(kpis["products_viewed"], 3.0)
        + outcome.dwell * dwell
    )


def _slow(values: Array, middle: float, width: float) -> Array:
    """S-curve in the logarithm: 0 where fast, 1/2 at `middle`, 1 where slow."""
    return np.asarray(1 / (1 + np.exp((np.float32(np.log(middle)) - np.log(values)) / np.float32(width))))


def _saturating(count: Array, scale: float) -> Array:
    return np.asarray(1 - np.exp(-count / np.float32(scale)))
