"""What is known only when a session is over: consequences of the conversion, so they predict it without causing it."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from trimtab.sessions.simulator.catalogue import Array, clip

Consequence: TypeAlias = Callable[[Mapping[str, Array], Array, Array], Array]


def _session_duration_s(kpis: Mapping[str, Array], converted: Array, noise: Array) -> Array:
    return kpis["dwell_s"] * (1 + np.exp(0.7 * noise)) + converted * np.exp(5.0 + 0.4 * noise)


def _pages_viewed(kpis: Mapping[str, Array], converted: Array, noise: Array) -> Array:
    return np.floor(1 + kpis["products_viewed"] + np.exp(0.5 + 0.6 * noise) + 4 * converted)


def _checkout_steps(kpis: Mapping[str, Array], converted: Array, noise: Array) -> Array:
    begun = np.minimum(np.floor(np.exp(-1.3 + 0.8 * np.log1p(kpis["cart_items"]) + noise)), 3)
    return np.where(converted > 0, 4, begun)


def _rage_clicks(kpis: Mapping[str, Array], converted: Array, noise: Array) -> Array:  # noqa: ARG001
    return np.floor(np.exp(-1.2 + 0.5 * np.log(kpis["inp_ms"] / 150) + 0.3 * kpis["js_errors"] + 0.7 * noise))


def _support_contacts(kpis: Mapping[str, Array], converted: Array, noise: Array) -> Array:
    return np.floor(np.exp(-1.8 + 0.3 * kpis["api_errors"] + 0.4 * converted + 0.8 * noise))


def _exit_scroll_pct(kpis: Mapping[str, Array], converted: Array, noise: Array) -> Array:
    return kpis["scroll_depth_pct"] / (1 + np.exp(-1.0 + 0.8 * converted + noise))


CONSEQUENCES: dict[str, Consequence] = {
    "session_duration_s": _session_duration_s,
    "pages_viewed": _pages_viewed,
    "checkout_steps": _checkout_steps,
    "rage_clicks": _rage_clicks,
    "support_contacts": _support_contacts,
    "exit_scroll_pct": _exit_scroll_pct,
}


def draw_late_kpis(rng: np.random.Generator, kpis: Mapping[str, Array], converted: Array) -> dict[str, Array]:
    """KPIs known at the session's end, given the request-time KPIs and whether the visit converted."""
    noise = rng.standard_normal((len(CONSEQUENCES), len(converted)), dtype=np.float32)
    return {
        name: clip(name, consequence(kpis, converted, noise[row]))
        for row, (name, consequence) in enumerate(CONSEQUENCES.items())
    }
