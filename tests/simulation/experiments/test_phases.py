"""Where weights and the metric's level change together, pooled arms mislead; arms compared within phases do not."""

import numpy as np
import pytest
from scipy import stats

from trimtab.experiments.analysis.compare import compare_cells
from trimtab.experiments.cells import Cell, stacked
from trimtab.experiments.effects import Comparison
from trimtab.experiments.moments import Moments
from trimtab.experiments.spec import ExperimentSpec, Metric

RUNS, LEVEL = 1_000, 0.95
UNITS = {"0": (4_500, 500), "1": (2_500, 2_500)}  # control, treatment: a ramp of one in ten, then halves
BASE = {"0": 0.10, "1": 0.20}
SPEC = ExperimentSpec(
    name="ramp",
    control="A",
    metrics={
        "rate": Metric(kind="binary", column="rate"),
        "mean": Metric(kind="mean", column="mean", covariate="before"),
    },
)


def arms(lift: float, rng: np.random.Generator) -> tuple[Cell, Cell]:
    found = []
    for place, arm in enumerate("AB"):
        parts = {}
        for phase, units in UNITS.items():
            n, before = units[place], rng.normal(BASE[phase] * 10, 1, units[place])
            values = {"mean": before + rng.normal(lift * place, 1, n), "before": before}
            successes = rng.binomial(n, BASE[phase] + lift * place)
            rate = Moments.of({"rate": np.repeat([1, 0], [successes, n - successes])})
            parts[phase] = Cell(arm, phase, n, {"rate": rate, "mean": Moments.of(values)})
        found.append(stacked(arm, "", parts))
    return found[0], found[1]


def pooled(cell: Cell) -> Cell:
    return Cell(cell.arm, "", cell.units, cell.moments)


def covers(found: Comparison, lift: float) -> bool:
    return found.absolute.low <= lift <= found.absolute.high


@pytest.mark.parametrize("metric", ["rate", "mean"])
def test_within_phases_the_interval_covers_and_pooled_it_does_not(metric: str) -> None:
    rng, lift = np.random.default_rng(5), 0.02
    inside, plain, estimates, relative = 0, 0, [], 0
    for _ in range(RUNS):
        control, treatment = arms(lift, rng)
        found = compare_cells(SPEC, metric, control, treatment)
        inside += covers(found, lift)
        estimates.append(found.absolute.estimate)
        plain += covers(compare_cells(SPEC, metric, pooled(control), pooled(treatment)), lift)
        relative += found.relative is not None and found.relative.low <= found.relative.estimate <= found.relative.high
    low, high = stats.binom.interval(0.999, RUNS, LEVEL)
    assert low <= inside <= high
    assert relative == RUNS
    assert np.mean(estimates) == pytest.approx(lift, abs=4 * np.std(estimates) / np.sqrt(RUNS))
    if metric == "rate":  # Its covariate saves the mean from most of the harm.
        assert plain < 0.2 * RUNS


def test_without_an_effect_false_positives_stay_at_alpha() -> None:
    rng = np.random.default_rng(6)
    found = [compare_cells(SPEC, "rate", *arms(0.0, rng)).p_value < 0.05 for _ in range(RUNS)]
    low, high = stats.binom.interval(0.999, RUNS, 0.05)
    assert low <= sum(found) <= high
