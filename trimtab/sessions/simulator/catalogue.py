"""The simulator's names, categories and bounds, read from the shipped `ux_sessions` spec: one source of truth."""

from functools import cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trimtab.sessions.spec import DatasetSpec, KpiColumn, load_spec

Array: TypeAlias = npt.NDArray[np.floating[Any]]
Codes: TypeAlias = npt.NDArray[np.integer[Any]]

SPEC_NAME = "ux_sessions"


@cache
def spec() -> DatasetSpec:
    """The spec that simulated sessions satisfy."""
    return load_spec(SPEC_NAME)


@cache
def categories(attribute: str) -> tuple[str, ...]:
    """Values of a categorical attribute, in the order of their codes."""
    return spec().attributes[attribute].categories or ()


@cache
def request_kpis() -> tuple[str, ...]:
    """KPIs that exist when a model is asked."""
    return tuple(name for name, kpi in spec().kpis.items() if kpi.known_at == "request")


@cache
def late_kpis() -> tuple[str, ...]:
    """KPIs that exist only once the session is over."""
    return tuple(name for name, kpi in spec().kpis.items() if kpi.known_at == "session_end")


def clip(name: str, values: Array) -> Array:
    """`values` within the bounds of a KPI, as float32."""
    kpi = spec().kpis[name]
    return np.clip(values, kpi.minimum, kpi.maximum).astype(np.float32, copy=False)


def improvement(kpi: KpiColumn, share: float) -> float:
    """The factor that improves a KPI by `share`, e.g. 0.95 for 5% where lower is better."""
    return 1.0 - share if kpi.direction == "lower" else 1.0 + share
