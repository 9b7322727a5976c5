"""A small shop for tests of serving and experiments: its spec, sessions with a known effect, and a model of them."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from trimtab.models.bundle import ConversionModel
from trimtab.models.data import prepare
from trimtab.models.devices import place
from trimtab.models.recipe import Recipe
from trimtab.models.split import split_rows
from trimtab.models.trainer import train_model
from trimtab.sessions.inputs import history_features
from trimtab.sessions.spec import DatasetSpec

START = datetime(2026, 3, 1, tzinfo=UTC)


def shop_spec(*, treatment: bool = True, users: bool = True) -> DatasetSpec:
    """A spec with two KPIs, a category and a value; with or without a treatment, with or without units and times."""
    kpi = {"role": "kpi", "direction": "lower", "layer": "frontend"}
    columns = {
        **({"user_id": {"role": "unit"}, "began": {"role": "timestamp"}} if users else {}),
        "bought": {"role": "label"},
        "revenue": {"role": "value"},
        **({"lighter": {"role": "treatment", "probability": 0.5}} if treatment else {}),
        "lcp_ms": kpi,
        "api_ms": {**kpi, "layer": "backend"},
        "device": {"role": "attribute", "segment": True},
    }
    return DatasetSpec.model_validate({"name": "shop", "columns": columns, "costs": {"action": 0.02}})


def shop_sessions(
    rng: np.random.Generator, spec: DatasetSpec, *, rows: int = 3_000, shift: float = 0.0
) -> pd.DataFrame:
    """Sessions, one per user: slow pages convert less, and the treatment helps where the page is slow.

    Args:
        rng: Randomness.
        spec: From `shop_spec`.
        rows: How many.
        shift: Added to the standardised log of `lcp_ms`: drift.
    """
    slow = rng.normal(shift, 1.0, rows)
    treated = rng.integers(0, 2, rows) * (spec.treatment is not None)
    logit = -1.0 - 0.8 * slow + treated * np.where(slow > 0, 0.9, -0.3)
    bought = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(int)
    frame = pd.DataFrame(
        {
            "user_id": [f"p-{number:020x}" for number in rng.permutation(rows)],
            "began": pd.Timestamp(START) + pd.to_timedelta(np.sort(rng.integers(0, 2_000_000, rows)), unit="s"),
            "bought": bought,
            "revenue": bought * rng.gamma(2.0, 20.0, rows),
            "lighter": treated,
            "lcp_ms": np.exp(7.5 + 0.4 * slow),
            "api_ms": np.where(rng.random(rows) < 0.1, np.nan, rng.gamma(4.0, 50.0, rows)),
            "device": rng.choice(["mobile", "desktop"], rows),
        }
    )
    return frame[list(spec.columns)]


def shop_model(
    sessions: pd.DataFrame, spec: DatasetSpec, *, rng: np.random.Generator, notes: dict[str, str] | None = None
) -> ConversionModel:
    """A logistic regression of the sessions; history features, where the spec has any, are those of new users."""
    names = history_features(spec)
    history = {name: 0.0 if name in names[:2] else np.nan for name in names}
    frame = sessions.assign(**history)
    data = prepare(frame, spec, split_rows(frame, spec, rng=rng))
    trained = train_model(
        data, spec, kind="logistic", recipe=Recipe(), placement=place("cpu"), rng=rng, notes=notes or {}
    )
    return trained.model


def shop_bundle(folder: Path, sessions: pd.DataFrame, spec: DatasetSpec, *, rng: np.random.Generator) -> Path:
    """`shop_model`, saved."""
    return shop_model(sessions, spec, rng=rng).save(folder)
