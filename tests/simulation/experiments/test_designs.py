"""Designs keep their promises, by the simulation that `trimtab experiment simulate` runs."""

import numpy as np
import pytest
from scipy import stats

from trimtab.experiments.effects import Alternative
from trimtab.experiments.power import MetricPlan, TestPlan, sample_size
from trimtab.experiments.sequential import peeking_error
from trimtab.experiments.simulation import Rules, simulate

RUNS = 20_000
RATE, MEAN = MetricPlan.of_proportion(0.1), MetricPlan(50.0, 900.0, saving=0.3)


def tolerance(share: float) -> float:
    """What chance explains, at one in ten thousand."""
    return float(stats.norm.isf(0.00005)) * (share * (1 - share) / RUNS) ** 0.5


@pytest.mark.parametrize("metric", [RATE, MEAN], ids=["rate", "mean"])
@pytest.mark.parametrize("looks", [1, 5, 20])
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_alpha_and_power_of_group_sequential_designs(metric: MetricPlan, looks: int, share: float) -> None:
    plan = TestPlan(looks=looks, shares=(1 - share, share))
    effect = 0.05 * metric.baseline
    rules = Rules(sample_size(metric, effect, plan).total, share=share, looks=looks)
    rng = np.random.default_rng(looks)
    assert simulate(metric, 0.0, rules, runs=RUNS, rng=rng).rejected.estimate < 0.05 + tolerance(0.05)
    found = simulate(metric, effect, rules, runs=RUNS, rng=rng)
    assert found.rejected.estimate == pytest.approx(0.8, abs=tolerance(0.8) + 0.01)
    assert sum(found.stopped) == pytest.approx(1.0)
    assert found.wrong_way < 0.002


def test_always_valid_bounds_hold_under_twenty_looks() -> None:
    rules = Rules(40_000, looks=20, always_valid=True)
    found = simulate(RATE, 0.0, rules, runs=RUNS, rng=np.random.default_rng(3))
    assert found.rejected.estimate < 0.05


def test_peeking_costs_what_theory_says() -> None:
    rules = Rules(400_000, looks=20, peeking=True)
    found = simulate(RATE, 0.0, rules, runs=RUNS, rng=np.random.default_rng(4))
    assert found.rejected.estimate == pytest.approx(peeking_error(20), abs=tolerance(0.25))


@pytest.mark.parametrize("alternative", ["greater", "less"])
def test_one_sided_designs(alternative: Alternative) -> None:
    effect = 2.0 if alternative == "greater" else -2.0
    rules = Rules(sample_size(MEAN, effect, TestPlan(alternative=alternative)).total, alternative=alternative)
    rng = np.random.default_rng(5)
    rejected = [simulate(MEAN, true, rules, runs=RUNS, rng=rng).rejected.estimate for true in (0.0, effect, -effect)]
    assert rejected[0] == pytest.approx(0.05, abs=tolerance(0.05))
    assert rejected[1] == pytest.approx(0.8, abs=tolerance(0.8) + 0.01)
    assert rejected[2] < 0.01
