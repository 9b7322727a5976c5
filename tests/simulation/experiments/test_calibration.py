"""The number of false positives over balanced divisions is binomial, and rows that hang together are found out."""

import numpy as np
from scipy import stats

from trimtab.experiments.analysis.calibrate import calibrate
from trimtab.experiments.analysis.evidence import Material, whole
from trimtab.experiments.calibration import BUCKETS
from trimtab.experiments.cells import Cell, UnitCheck
from trimtab.experiments.moments import Moments
from trimtab.experiments.spec import ExperimentSpec, Metric

SPEC = ExperimentSpec(name="aa", control="A", metrics={"m": Metric(kind="mean", column="m")})


def material(values: np.ndarray, buckets: np.ndarray) -> Material:
    cells = []
    for place in range(BUCKETS):
        own = values[buckets == place]
        cells.append(Cell("A", str(place), len(own), {"m": Moments.of({"m": own})}))
    return Material("memory", whole(cells), units=UnitCheck(len(values)), buckets=cells)


def test_false_positives_are_binomial() -> None:
    rng, found = np.random.default_rng(1), []
    for _ in range(40):
        result, reason = calibrate(SPEC, material(rng.gamma(2, 3, 4_000), rng.integers(0, BUCKETS, 4_000)))
        assert result is not None, reason
        found.append(result.false_positives)
    splits = BUCKETS - 1
    low, high = stats.binom.interval(0.999, splits * len(found), 0.05)
    assert low <= sum(found) <= high
    freedom = len(found) - 1
    spread = np.var(found, ddof=1) / (splits * 0.05 * 0.95) * freedom
    assert stats.chi2.ppf(0.0005, freedom) < spread < stats.chi2.ppf(0.9995, freedom)


def test_rows_of_one_unit_are_found_out() -> None:
    """Ten rows a unit that are all alike: the standard error is too small by the root of ten."""
    rng = np.random.default_rng(2)
    values, buckets = np.repeat(rng.normal(size=400), 10), np.repeat(rng.integers(0, BUCKETS, 400), 10)
    result, reason = calibrate(SPEC, material(values, buckets))
    assert result is not None, reason
    assert result.excessive
    assert result.share > 0.3
    assert "intervals are too narrow" in result.statement
