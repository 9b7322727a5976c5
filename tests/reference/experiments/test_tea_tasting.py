"""Agreement with tea-tasting on random data, small and large."""

import numpy as np
import pandas as pd
import pytest
import tea_tasting as tt

from trimtab.experiments.means import Measure, compare_means
from trimtab.experiments.moments import Moments

COLUMNS = ("revenue", "orders", "sessions", "before")


def frame_of(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    before = rng.gamma(2.0, 3.0, rows)
    sessions = rng.poisson(3, rows) + 1
    variant = rng.integers(0, 2, rows)
    return pd.DataFrame(
        {
            "variant": variant,
            "before": before,
            "sessions": sessions,
            "orders": rng.binomial(sessions, 0.2 + 0.01 * variant),
            "revenue": 1e6 + before * 2 + rng.normal(0.2 * variant, 5, rows),
        }
    )


@pytest.mark.parametrize("rows", [60, 1_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_means_ratios_and_cuped(rows: int) -> None:
    data = frame_of(np.random.default_rng(rows), rows)
    theirs = tt.Experiment(
        mean=tt.Mean("revenue"),
        cuped=tt.Mean("revenue", "before"),
        ratio=tt.RatioOfMeans("orders", "sessions"),
        ratio_cuped=tt.RatioOfMeans("orders", "sessions", "before"),
    ).analyze(data)
    control, treatment = (
        Moments.of({name: data.loc[data["variant"] == variant, name].to_numpy() for name in COLUMNS})
        for variant in (0, 1)
    )
    metrics: dict[str, tuple[Measure, Measure | None]] = {
        "mean": (Measure("revenue"), None),
        "cuped": (Measure("revenue"), Measure("before")),
        "ratio": (Measure("orders", "sessions"), None),
        "ratio_cuped": (Measure("orders", "sessions"), Measure("before")),
    }
    for name, (measure, covariate) in metrics.items():
        ours, other = compare_means(control, treatment, measure, covariate=covariate, baseline="adjusted"), theirs[name]
        assert ours.relative is not None
        pairs = [
            (ours.absolute.estimate, other.effect_size),
            (ours.absolute.low, other.effect_size_ci_lower),
            (ours.absolute.high, other.effect_size_ci_upper),
            (ours.relative.estimate, other.rel_effect_size),
            (ours.relative.low, other.rel_effect_size_ci_lower),
            (ours.relative.high, other.rel_effect_size_ci_upper),
            (ours.p_value, other.pvalue),
            (ours.statistic, other.statistic),
        ]
        # tea-tasting takes variances from sums of squares, which costs it digits at a mean of a million.
        for own, theirs_value in pairs:
            assert own == pytest.approx(theirs_value, rel=1e-4, abs=1e-12)
