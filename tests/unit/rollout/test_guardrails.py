from math import inf, nan

import numpy as np
import pytest
from scipy import stats

from trimtab.experiments.moments import Moments
from trimtab.rollout.calibration import calibration, calibration_error, calibration_request
from trimtab.rollout.guardrails import Levels, due, error_rate, latency, level_of_check, service_criteria
from trimtab.rollout.service import ServiceLevel
from trimtab.testing.rollout_store import level, plan_of

LEVELS = Levels(bad=0.01, good=0.025)


def status(control: ServiceLevel | None, treatment: ServiceLevel | None, levels: Levels = LEVELS) -> str:
    return error_rate(control, treatment, margin=0.01, levels=levels).status


@pytest.mark.parametrize(
    ("failures", "expected"),
    [(0, "pass"), (4, "open"), (15, "fail"), (500, "fail")],
)
def test_errors_are_held_against_the_margin(failures: int, expected: str) -> None:
    assert status(level(5_000), level(500, failures)) == expected


def test_errors_that_control_has_too_are_no_harm() -> None:
    assert status(level(9_000, 900), level(9_000, 900)) == "pass"
    assert status(level(5_000, 500), level(5_000, 700)) == "fail"


def test_too_few_requests_show_nothing() -> None:
    assert status(level(5_000), level(19, 19)) == "open"
    assert status(None, level(5_000, 5_000)) == "open"
    assert status(level(5_000), None) == "open"


def test_harm_is_judged_when_due_and_safety_after_a_look() -> None:
    assert status(level(5_000), level(5_000, 5_000), Levels(bad=0.0, good=0.025)) == "open"
    assert status(level(5_000), level(5_000), Levels(bad=0.01, good=0.0)) == "open"


def test_the_exact_bounds_keep_their_level_where_failures_are_few() -> None:
    """A treatment that fails exactly by the margin is taken back at most in `bad` of the cases."""
    rng, bad, runs = np.random.default_rng(4), 0.01, 4_000
    for n0, n1, base in ((1_000, 50, 0.0), (1_000, 50, 0.005), (300, 300, 0.02)):
        counts = zip(rng.binomial(n0, base, runs), rng.binomial(n1, base + 0.01, runs), strict=True)
        harmed = sum(status(level(n0, int(a)), level(n1, int(b)), Levels(bad, 0.025)) == "fail" for a, b in counts)
        assert harmed <= stats.binom.ppf(0.999, runs, bad)


@pytest.mark.parametrize(("p99", "expected"), [(20.0, "pass"), (23.5, "open"), (27.0, "fail")])
def test_latency_is_held_against_the_margin(p99: float, expected: str) -> None:
    assert latency(level(5_000), level(5_000, p99=p99), margin=0.2, levels=LEVELS).status == expected


def test_a_percentile_without_bounds_shows_nothing() -> None:
    few = ServiceLevel(30, 0, 10.0, 80.0, 15.0, inf)
    assert latency(few, level(5_000), margin=0.2, levels=LEVELS).status == "open"
    assert latency(level(5_000), few, margin=0.2, levels=LEVELS).status == "open"
    unknown = ServiceLevel(30, 0, nan, nan, nan, nan)
    assert latency(level(5_000), unknown, margin=0.2, levels=LEVELS).status == "open"


def test_latency_keeps_its_level() -> None:
    rng, runs, n, bad = np.random.default_rng(8), 1_500, 4_000, 0.025
    low, high = stats.binom.ppf([0.025, 0.975], n, 0.99).astype(int)
    harmed = 0
    for _ in range(runs):
        arms = []
        for scale in (1.0, 1.2):
            waits = np.sort(scale * rng.lognormal(3.0, 0.5, n))
            ends = float(waits[low - 1]), float(waits[high])
            arms.append(ServiceLevel(n, 0, float(waits[n // 2]), float(waits[int(0.99 * n)]), *ends))
        harmed += latency(arms[0], arms[1], margin=0.2, levels=Levels(bad, 0.0)).status == "fail"
    assert harmed <= stats.binom.ppf(0.999, runs, bad)
    assert harmed > 0


def test_checks_are_due_as_requests_grow_and_their_levels_add_up_to_alpha() -> None:
    plan = plan_of()
    checked, times = 0, 0
    for requests in range(1, 1_000_000, 7):
        if due(requests, checked=checked):
            checked, times = requests, times + 1
    assert 90 < times < 120
    total = sum(level_of_check(plan, number) for number in range(1, 100_000))
    assert total == pytest.approx(plan.alpha / plan.guardrails, rel=1e-4)
    assert len(service_criteria(plan, level(100), level(100), LEVELS)) == 2
    assert service_criteria(plan_of(service={}), level(100), level(100, 100), LEVELS) == ()


def test_calibration_from_moments_is_calibration_from_rows() -> None:
    rng = np.random.default_rng(1)
    predicted = rng.beta(2, 18, 3_000)
    bought = (rng.random(3_000) < predicted).astype(float)
    error, deviation = calibration_error(Moments.of({"conversion": bought, "probability": predicted}))
    gaps = bought - predicted
    assert error == pytest.approx(gaps.mean())
    assert deviation == pytest.approx(gaps.std(ddof=1) / np.sqrt(3_000))


def test_calibration_keeps_its_level_at_the_margin() -> None:
    rng, runs, bad = np.random.default_rng(2), 2_000, 0.05
    found = []
    for _ in range(runs):
        predicted = rng.beta(4, 36, 2_000)
        bought = rng.random(2_000) < predicted + 0.02
        both = Moments.of({"conversion": bought.astype(float), "probability": predicted})
        found.append(calibration(both, margin=0.02, good=0.025, bad=bad).status)
    assert found.count("fail") <= stats.binom.ppf(0.999, runs, bad)
    assert found.count("fail") > 0
    assert found.count("pass") <= stats.binom.ppf(0.999, runs, 0.025)


def test_calibration_needs_events() -> None:
    rare = Moments.of({"conversion": [1.0] * 9 + [0.0] * 900, "probability": [0.5] * 909})
    assert calibration(rare, margin=0.01, good=0.025, bad=0.025).status == "open"


def test_calibration_asks_for_the_joint_moments_of_units_with_a_prediction() -> None:
    request = calibration_request(plan_of(service={"calibration": {"margin": 0.01}}), source="conversion?")
    assert request is not None
    assert (request.columns, request.missing) == (("conversion", "probability"), "drop")
    assert request.source("conversion") == "conversion?"
    assert calibration_request(plan_of(), source="conversion?") is None
