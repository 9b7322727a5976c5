import numpy as np
import pytest
from statsmodels.stats.power import TTestIndPower

from trimtab.errors import BadInput
from trimtab.experiments.means import Measure
from trimtab.experiments.moments import Moments
from trimtab.experiments.power import (
    MetricPlan,
    TestPlan,
    duration_days,
    minimum_detectable_effect,
    power_curve,
    power_of,
    sample_size,
)

RATE = MetricPlan.of_proportion(0.1)
MEAN = MetricPlan(10.0, 4.0)


@pytest.mark.parametrize("metric", [RATE, MEAN])
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.2), (0.4, 0.3, 0.3)])
def test_size_power_and_effect_invert_each_other(
    metric: MetricPlan, alternative: str, shares: tuple[float, ...]
) -> None:
    plan = TestPlan(power=0.85, alternative=alternative, shares=shares)  # type: ignore[arg-type]
    effect = -0.02 if alternative == "less" else 0.02
    exact = sample_size(metric, effect, plan).exact
    assert power_of(metric, effect, exact, plan) == pytest.approx(0.85, abs=1e-8)
    assert minimum_detectable_effect(metric, exact, plan) == pytest.approx(effect, rel=1e-6)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
def test_agrees_with_statsmodels(ratio: float, alternative: str) -> None:
    side = "two-sided" if alternative == "two-sided" else "larger"
    expected = TTestIndPower().power(effect_size=0.4, nobs1=50, ratio=ratio, alpha=0.05, alternative=side)
    plan = TestPlan(shares=(1.0, ratio), alternative=alternative)  # type: ignore[arg-type]
    assert power_of(MetricPlan(0.0, 1.0), 0.4, 50 * (1 + ratio), plan) == pytest.approx(expected, abs=1e-8)


def test_a_covariate_saves_its_share_of_the_units() -> None:
    plain, saved = (sample_size(MetricPlan(10.0, 4.0, saving=saving), 0.05).exact for saving in (0.0, 0.5))
    assert saved / plain == pytest.approx(0.5, abs=1e-3)
    rng = np.random.default_rng(0)
    before = rng.normal(10, 1, 50_000)
    history = Moments.of({"y": before + rng.normal(0, 1, 50_000), "x": before})
    metric = MetricPlan.of_moments(history, Measure("y"), covariate=Measure("x"))
    assert metric.saving == pytest.approx(0.5, abs=0.02)
    assert metric.variance == pytest.approx(2.0, abs=0.05)


def test_more_arms_and_looks_cost_units() -> None:
    one = sample_size(RATE, 0.01)
    three = sample_size(RATE, 0.01, TestPlan(shares=(1, 1, 1, 1)))
    assert len(three.per_arm) == 4
    assert three.per_arm[0] > one.per_arm[0]
    looks = sample_size(RATE, 0.01, TestPlan(looks=5))
    assert looks.inflation == pytest.approx(looks.exact / one.exact)
    assert 1.02 < looks.inflation < 1.04
    assert minimum_detectable_effect(RATE, looks.exact, TestPlan(looks=5)) == pytest.approx(0.01, rel=1e-6)


def test_power_curve_rises() -> None:
    points = power_curve(RATE, [0.0, 0.005, 0.01, 0.02], 20_000)
    assert points[0].power == pytest.approx(0.05)
    assert [point.power for point in points] == sorted(point.power for point in points)
    assert points[2].relative == pytest.approx(0.1)
    assert power_curve(MetricPlan(0.0, 1.0), [1.0], 100)[0].relative is None


def test_a_huge_effect_needs_a_handful_of_units() -> None:
    assert sample_size(MetricPlan(0.0, 1.0), 1_000.0).per_arm == (2, 2)


def test_duration_covers_a_week() -> None:
    assert duration_days(100, 1_000) == 7
    assert duration_days(10_001, 1_000) == 11


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_size(RATE, 0.0), "cannot be found"),
        (lambda: sample_size(RATE, -0.01, TestPlan(alternative="greater")), "cannot be found by a greater test"),
        (lambda: sample_size(RATE, 0.95), r"out of \[0, 1\]"),
        (lambda: sample_size(RATE, 1e-9), "more than 1e\\+15"),
        (lambda: MetricPlan.of_proportion(1.0), "baseline rate is 1.0"),
        (lambda: MetricPlan(1.0, 0.0), "variance 0.0 cannot be planned"),
        (lambda: MetricPlan(float("nan"), 1.0), "cannot be planned"),
        (lambda: MetricPlan(1.0, 1.0, saving=1.0), "saving is 1.0"),
        (lambda: TestPlan(power=0.01), "power is 0.01"),
        (lambda: TestPlan(shares=(1.0,)), "two or more"),
        (lambda: TestPlan(shares=(1.0, 0.0)), "two or more positive"),
        (lambda: TestPlan(looks=0), "0 looks"),
        (lambda: power_of(MEAN, 1.0, 2), "a variance needs two"),
        (lambda: minimum_detectable_effect(MetricPlan.of_proportion(0.5), 4), "find no effect"),
        (lambda: duration_days(10, 0), "traffic is 0"),
    ],
)
def test_wrong_input_is_named(call: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        call()  # type: ignore[operator]
