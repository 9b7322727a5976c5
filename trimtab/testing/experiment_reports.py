"""Reports of experiments with made-up users, judged by the real analysis.

For tests of the report and for looking at it; nothing of it is a result.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from trimtab.experiments.analysis.analyse import Declared, analyse
from trimtab.experiments.analysis.evidence import Material, whole
from trimtab.experiments.cells import Cell
from trimtab.experiments.moments import Moments
from trimtab.experiments.spec import ExperimentSpec
from trimtab.report.experiment.model import ExperimentReport

START = date(2026, 9, 7)
METRICS: dict[str, dict[str, Any]] = {
    "conversion": {"kind": "binary", "column": "conversion", "role": "primary"},
    "revenue": {"kind": "mean", "column": "revenue", "covariate": "before"},
    "latency": {"kind": "mean", "column": "latency", "role": "guardrail", "direction": "lower", "margin": 0.05},
}


def simulated_users(
    rng: np.random.Generator, *, lifts: dict[str, float], users: int = 20_000, days: int = 14, share: float = 0.5
) -> pd.DataFrame:
    """Users of arms with known relative lifts of a 12% conversion.

    Args:
        rng: Source of randomness.
        lifts: Relative lift by arm, control first.
        users: Number of users.
        days: Days over which they arrive.
        share: Share of the users in control.
    """
    names = np.array(list(lifts))
    shares = [share, *[(1 - share) / (len(names) - 1)] * (len(names) - 1)]
    arm = rng.choice(names, users, p=shares)
    device = rng.choice(["desktop", "mobile", "tablet"], users, p=[0.5, 0.4, 0.1])
    lift = pd.Series(arm).map(lifts).to_numpy(dtype=float) * np.where(device == "mobile", 1.6, 0.6)
    before = rng.gamma(2.0, 10.0, users)
    converted = rng.random(users) < 0.12 * (1 + lift)
    return pd.DataFrame(
        {
            "arm": arm,
            "day": [(START + timedelta(days=int(day))).isoformat() for day in rng.integers(0, days, users)],
            "device": device,
            "conversion": converted.astype(float),
            "revenue": converted * rng.gamma(3.0, 20.0, users) + 0.2 * before,
            "before": before,
            "latency": rng.normal(200 + 2 * (lift > 0), 30, users),
        }
    )


def simulated_report(
    *, lifts: dict[str, float] | None = None, seed: int = 4, changes: tuple[str, ...] = (), users: int = 20_000,
    days: int = 14, share: float = 0.5, **fields: Any,
) -> ExperimentReport:  # fmt: skip
    """A report of made-up users.

    Args:
        lifts: Relative lift by arm, control first.
        seed: Seed of the users.
        changes: What to say was changed since the rules were locked.
        users: Number of users.
        days: Days over which they arrive.
        share: Share of the users in control.
        **fields: Further fields of the spec.
    """
    lifts = lifts or {"control": 0.0, "treatment": 0.1}
    frame = simulated_users(np.random.default_rng(seed), lifts=lifts, users=users, days=days, share=share)
    raw: dict[str, Any] = {
        "name": "checkout",
        "hypothesis": "A shorter checkout makes more users buy.",
        "arms": dict.fromkeys(lifts, 1 / len(lifts)),
        "metrics": METRICS,
        "time": "day",
        "segments": ["device"],
        "minimum_relative_effect": 0.03,
    }
    spec = ExperimentSpec.model_validate({**raw, **fields})
    day_cells = _cells(spec, frame, "day")
    material = Material(
        data="users.parquet",
        arms={arm: whole(day_cells)[arm] for arm in lifts},
        segments={attribute: _cells(spec, frame, attribute) for attribute in spec.segments},
        days=day_cells if spec.time else [],
    )
    declared = Declared("0123456789abcdef", changes) if changes else Declared()
    return ExperimentReport(
        analysis=analyse(spec, material, declared=declared),
        spec=spec,
        made_at=datetime(2026, 9, 22, 8, 30, tzinfo=UTC),
        locked=bool(changes),
        command="trimtab experiment report users.parquet --spec checkout.yaml",
        data_sha256="0" * 64,
        versions={"trimtab": "test"},
    )


def _cells(spec: ExperimentSpec, frame: pd.DataFrame, key: str) -> list[Cell]:
    return [
        Cell(str(arm), str(value), len(group), {name: _moments(spec, name, group) for name in spec.metrics})
        for (arm, value), group in frame.groupby(["arm", key])
    ]


def _moments(spec: ExperimentSpec, name: str, group: pd.DataFrame) -> Moments:
    metric = spec.metrics[name]
    columns = (*metric.outcome_columns, *metric.covariate_columns)
    return Moments.of({column: group[column].to_numpy() for column in columns})
