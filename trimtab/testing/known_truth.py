"""A small synthetic shop whose true conversion probabilities are known, for tests that need data to learn from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from trimtab.sessions.spec import DatasetSpec


@dataclass(frozen=True)
class Shop:
    """Sessions, their spec, and what is true of them.

    Attributes:
        frame: The sessions, in time order, as validation leaves them.
        spec: Three KPIs, a category by which results are split, a randomised treatment and the label.
        truth: Probability to convert, [rows].
    """

    frame: pd.DataFrame
    spec: DatasetSpec
    truth: npt.NDArray[np.float64]


def make_shop(rows: int = 2_000, *, timed: bool = True, seed: int = 0) -> Shop:
    """Draw sessions: a skewed, a kinked and a useless KPI, missing values, and a treatment that helps slow sessions.

    Args:
        rows: Number of sessions.
        timed: Whether sessions have a time.
        seed: Seed of the draw.
    """
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(rows, 2))
    device = rng.choice(["mobile", "desktop", "tablet"], rows, p=[0.6, 0.3, 0.1])
    treated = rng.integers(0, 2, rows)
    logit = -1.0 - normal[:, 0] + np.abs(normal[:, 1]) + 0.8 * (device == "desktop")
    truth = 1 / (1 + np.exp(-(logit + 0.7 * treated * (normal[:, 0] > 0))))
    columns: dict[str, object] = {
        "lcp_ms": 2_000 * np.exp(0.5 * normal[:, 0]),
        "depth": np.where(rng.random(rows) < 0.1, np.nan, normal[:, 1]),
        "errors": rng.poisson(0.3, rows).astype(np.float64),
        "device": pd.Series(device).mask(rng.random(rows) < 0.05, None),
        "lighter_page": treated,
        "converted": (rng.random(rows) < truth).astype(np.int64),
    }
    if timed:
        columns["at"] = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows), unit="min")
    return Shop(pd.DataFrame(columns), _spec(timed=timed), truth)


def as_requests(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a server gets them: plain values by column name, None where missing."""
    values = frame.astype(object).where(frame.notna(), None)
    return [dict(zip(map(str, values.columns), row, strict=True)) for row in values.to_numpy().tolist()]


def _spec(*, timed: bool) -> DatasetSpec:
    kpi = {"role": "kpi", "direction": "lower", "layer": "frontend"}
    columns: dict[str, object] = {
        "lcp_ms": kpi,
        "depth": kpi,
        "errors": kpi,
        "device": {"role": "attribute", "segment": True},
        "lighter_page": {"role": "treatment"},
        "converted": {"role": "label"},
        **({"at": {"role": "timestamp"}} if timed else {}),
    }
    return DatasetSpec.model_validate({"name": "shop", "columns": columns})
