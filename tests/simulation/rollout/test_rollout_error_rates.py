"""Whole rollouts against a known truth: how many ship, how many are taken back, and how many users that takes."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from trimtab.errors import BadInput
from trimtab.rollout.plan import TREATMENT, RolloutPlan
from trimtab.rollout.simulation import MetricTruth, SimulationSummary, Truth, simulate_rollouts, summarise
from trimtab.testing.rollout_store import plan_of

EXPERIMENT: dict[str, Any] = {
    "metrics": {
        "conversion": {"kind": "binary", "column": "conversion", "role": "primary"},
        "value": {"kind": "mean", "column": "value", "role": "guardrail", "margin": 0.1},
    }
}
SERVICE = {"error_rate": {"margin": 0.01}, "latency_p99": {"margin": 0.2}, "calibration": {"margin": 0.02}}
RUNS = 200


def plan(looks: int = 10, **fields: Any) -> RolloutPlan:
    ramp = [{"weight": 0.05}, {"weight": 0.25}, {"weight": 0.5}]
    base = {
        "window_hours": 2,
        "ramp": ramp,
        "experiment": EXPERIMENT,
        "service": SERVICE,
        "looks": {"units": 20_000 // looks},
    }
    return plan_of(**{**base, **fields})


def ran(
    lift: float, *, runs: int, seed: int, value: float | None = None, looks: int = 10, **truth: Any
) -> SimulationSummary:
    metrics = {
        "conversion": MetricTruth(0.10, lift),
        "value": MetricTruth(5.0, lift if value is None else value, 15.0),
    }
    rules = plan(looks)
    world = Truth(metrics, units_per_day=20_000, **truth)
    return summarise(rules, world, simulate_rollouts(rules, world, runs=runs, rng=np.random.default_rng(seed)))


def most(runs: int, share: float) -> float:
    return float(stats.binom.ppf(0.999, runs, share))


def test_a_few_rollouts_of_each_kind() -> None:
    assert ran(0.3, runs=6, seed=1).ends["shipped"].runs >= 5
    worse = ran(-0.3, runs=6, seed=2)
    assert worse.ends["rolled_back"].runs == 6
    assert worse.treated < worse.fixed_horizon / 2
    assert ran(0.0, runs=6, seed=3, failures={TREATMENT: 0.2}).ends["rolled_back"].runs == 6


@pytest.mark.slow
def test_of_equal_versions_at_most_alpha_ship() -> None:
    """Each side has alpha / 2: of what ships without being better, and of what is taken back without being worse."""
    found = ran(0.0, runs=RUNS, seed=4)
    assert found.ends["shipped"].runs <= most(RUNS, 0.025)
    assert found.ends["rolled_back"].runs <= most(RUNS, 0.05)
    assert found.ends["held"].runs >= RUNS * 0.85


@pytest.mark.slow
def test_many_looks_ship_no_more_equal_versions() -> None:
    found = ran(0.0, runs=60, seed=5, looks=40)
    assert found.looks > 25
    assert found.ends["shipped"].runs <= most(60, 0.025)
    assert found.ends["rolled_back"].runs <= most(60, 0.05)


@pytest.mark.slow
def test_a_better_version_ships_with_the_power_of_its_size() -> None:
    """With 20,000 units and 10% conversion a lift of 15% has a power of 93% at one look; looking costs little of it."""
    found = ran(0.15, runs=RUNS, seed=6)
    assert found.ends["shipped"].share.high > 0.90
    assert found.ends["rolled_back"].runs <= most(RUNS, 0.025)


@pytest.mark.slow
def test_a_worse_version_is_taken_back_long_before_the_planned_end() -> None:
    found = ran(-0.2, runs=RUNS, seed=7)
    assert found.ends["rolled_back"].runs >= RUNS * 0.98
    assert found.ends["shipped"].runs == 0
    assert found.treated < 0.6 * found.fixed_horizon
    median, high, highest = found.treated_quantiles
    assert median <= high <= highest


@pytest.mark.slow
def test_a_harmed_guardrail_takes_back_what_the_primary_metric_likes() -> None:
    found = ran(0.2, runs=100, seed=8, value=-0.3)
    assert found.ends["shipped"].runs <= most(100, 0.025)
    assert found.ends["rolled_back"].runs >= 90


@pytest.mark.slow
def test_predictions_that_do_not_hold_take_back() -> None:
    assert ran(0.0, runs=50, seed=9, prediction_error=0.06).ends["rolled_back"].runs == 50


def test_what_cannot_be_simulated_is_refused() -> None:
    rng, truth = np.random.default_rng(0), {"conversion": MetricTruth(0.1)}
    with pytest.raises(BadInput, match="nothing about metric 'value'"):
        simulate_rollouts(plan(), Truth(truth, 1_000), runs=1, rng=rng)
    with pytest.raises(BadInput, match="strictly between 0 and 1"):
        simulate_rollouts(plan_of(), Truth({"conversion": MetricTruth(0.6, 1.0)}, 1_000), runs=1, rng=rng)
    with pytest.raises(BadInput, match="0 runs"):
        simulate_rollouts(plan_of(), Truth(truth, 1_000), runs=0, rng=rng)
    with pytest.raises(BadInput, match="must be some"):
        simulate_rollouts(plan_of(), Truth(truth, 0), runs=1, rng=rng)
