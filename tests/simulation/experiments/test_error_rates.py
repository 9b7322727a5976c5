"""Every estimator keeps its promise over many seeded runs: type I error, coverage, power.

Arms are drawn as sufficient statistics where the estimator takes those, so that a thousand experiments cost a second.
Tolerances are binomial: five standard errors of the share of runs, so that a right estimator passes on any seed.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
import pytest
from scipy import stats

from trimtab.experiments.always_valid import confidence_sequence_multiplier
from trimtab.experiments.bayes import compare_proportions_bayes
from trimtab.experiments.effects import Comparison, Effect
from trimtab.experiments.means import Measure, compare_means
from trimtab.experiments.moments import Moments
from trimtab.experiments.multiplicity import adjust
from trimtab.experiments.noninferiority import noninferior_proportions
from trimtab.experiments.power import MetricPlan, TestPlan, minimum_detectable_effect, sample_size
from trimtab.experiments.proportions import Proportion, ProportionMethod, compare_proportions
from trimtab.experiments.quantiles import QuantileSummary, compare_quantiles
from trimtab.experiments.segments import analyse_segments, heterogeneity
from trimtab.experiments.sequential import SequentialDesign, analyse, sequential_power
from trimtab.experiments.stability import novelty

RUNS = 1_500


def within(share: float, promised: float, runs: int = RUNS, *, slack: float = 0.0) -> bool:
    """Five binomial standard errors, and what an approximation may be off by."""
    return abs(share - promised) <= 5 * sqrt(promised * (1 - promised) / runs) + slack


def rates(
    make: Callable[[np.random.Generator], Comparison], truth: float, relative: float, seed: int
) -> tuple[float, float, float]:
    """Share of p-values below .05, and coverage of the absolute and the relative interval."""
    rng = np.random.default_rng(seed)
    rejected = covered = covered_relative = 0
    for _ in range(RUNS):
        result = make(rng)
        assert result.relative is not None
        rejected += result.p_value < 0.05
        covered += result.absolute.low <= truth <= result.absolute.high
        covered_relative += result.relative.low <= relative <= result.relative.high
    return rejected / RUNS, covered / RUNS, covered_relative / RUNS


@pytest.mark.parametrize(
    ("method", "relative"), [("newcombe", "log"), ("score", "score"), ("wald", "linear"), ("welch", "log")]
)
def test_proportions(method: ProportionMethod, relative: str) -> None:
    def make(lift: float) -> Callable[[np.random.Generator], Comparison]:
        def draw(rng: np.random.Generator) -> Comparison:
            a, b = rng.binomial(3_000, 0.06), rng.binomial(2_000, 0.06 * lift)
            counts = Proportion(int(a), 3_000), Proportion(int(b), 2_000)
            return compare_proportions(*counts, method=method, relative=relative)  # type: ignore[arg-type]

        return draw

    error, covered, covered_relative = rates(make(1.0), 0.0, 0.0, seed=1)
    assert within(error, 0.05, slack=0.005)
    assert within(covered, 0.95, slack=0.005)
    assert within(covered_relative, 0.95, slack=0.01)
    _, covered, covered_relative = rates(make(1.4), 0.024, 0.4, seed=2)
    assert within(covered, 0.95, slack=0.005)
    assert within(covered_relative, 0.95, slack=0.01)


@pytest.mark.parametrize("relative", ["log", "linear"])
def test_skewed_means(relative: str) -> None:
    def draw(rng: np.random.Generator) -> Comparison:
        arms = [Moments.of({"y": rng.gamma(0.5, 4.0 * scale, 800)}) for scale in (1.0, 1.1)]
        return compare_means(arms[0], arms[1], Measure("y"), relative=relative)  # type: ignore[arg-type]

    _, covered, covered_relative = rates(draw, 0.2, 0.1, seed=3)
    assert within(covered, 0.95, slack=0.005)
    assert within(covered_relative, 0.95, slack=0.01)


def correlated(rng: np.random.Generator, lift: float, n: int = 400) -> Moments:
    """Sessions, orders and revenue of users who differ, and the same from before the experiment."""
    habit = rng.gamma(2.0, 1.0, n)
    sessions, before = 1 + rng.poisson(habit), 1 + rng.poisson(habit)
    rate = 0.1 + 0.1 * rng.beta(2, 2, n)
    return Moments.of(
        {
            "orders": rng.binomial(sessions, rate * lift),
            "sessions": sessions,
            "orders_before": rng.binomial(before, rate),
            "sessions_before": before,
            "revenue": habit * 10 * lift + rng.normal(0, 5, n),
            "revenue_before": habit * 10 + rng.normal(0, 5, n),
        }
    )


RATIO, RATIO_BEFORE = Measure("orders", "sessions"), Measure("orders_before", "sessions_before")


@pytest.mark.parametrize(
    ("measure", "covariate", "truth"),
    [
        (RATIO, None, 0.15),
        (RATIO, RATIO_BEFORE, 0.15),
        (Measure("revenue"), None, 20.0),
        (Measure("revenue"), Measure("revenue_before"), 20.0),
    ],
)
def test_ratios_and_cuped(measure: Measure, covariate: Measure | None, truth: float) -> None:
    for lift, seed in ((1.0, 4), (1.2, 5)):

        def draw(rng: np.random.Generator, lift: float = lift) -> Comparison:
            return compare_means(correlated(rng, 1.0), correlated(rng, lift), measure, covariate=covariate)

        error, covered, covered_relative = rates(draw, truth * (lift - 1), lift - 1, seed=seed)
        assert within(covered, 0.95, slack=0.005)
        assert within(covered_relative, 0.95, slack=0.01)
        if lift == 1.0:
            assert within(error, 0.05, slack=0.005)


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_quantiles(q: float) -> None:
    truth = float(np.quantile(np.random.default_rng(0).lognormal(size=2_000_000), q))

    def draw(rng: np.random.Generator) -> Comparison:
        a, b = (QuantileSummary.of(rng.lognormal(0, 1, 500) * scale, q) for scale in (1.0, 1.3))
        return compare_quantiles(a, b)

    _, covered, covered_relative = rates(draw, 0.3 * truth, 0.3, seed=6)
    assert within(covered, 0.95, slack=0.015)
    assert within(covered_relative, 0.95, slack=0.015)


@pytest.mark.parametrize(("margin_used", "promised"), [(0.02, 0.025)])
@pytest.mark.parametrize("method", ["wald", "score"])
def test_noninferiority_on_the_margin(margin_used: float, promised: float, method: str) -> None:
    rng = np.random.default_rng(7)
    shown = sum(
        noninferior_proportions(
            Proportion(int(rng.binomial(2_000, 0.20)), 2_000),
            Proportion(int(rng.binomial(2_000, 0.20 - margin_used)), 2_000),
            margin=margin_used,
            method=method,  # type: ignore[arg-type]
        ).shown
        for _ in range(RUNS)
    )
    assert within(shown / RUNS, promised, slack=0.004)


def brownian(rng: np.random.Generator, looks: int, runs: int, drift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Z at equally spaced looks, shape [runs, looks], and the information fractions."""
    times = np.arange(1, looks + 1) / looks
    steps = rng.normal(drift / looks, sqrt(1 / looks), (runs, looks))
    return steps.cumsum(axis=1) / np.sqrt(times), times


def test_twenty_looks_at_conversions() -> None:
    """20,000 users per arm at 3%: naive peeking is wrong in a quarter of experiments; what promises to hold, holds."""
    runs, looks, n = 4_000, 20, 1_000
    rng = np.random.default_rng(8)
    a, b = (rng.binomial(n, 0.03, (runs, looks)).cumsum(axis=1) for _ in range(2))
    units = n * np.arange(1, looks + 1)
    pooled = (a + b) / (2 * units)
    error = np.sqrt(pooled * (1 - pooled) * 2 / units)
    z = (b - a) / units / error
    naive = (np.abs(z) > 1.959964).any(axis=1).mean()
    assert within(naive, 0.2479, runs, slack=0.02)
    bounds = np.array([look.bound for look in SequentialDesign(units[-1]).looks(units.tolist())])
    assert within((np.abs(z) > bounds).any(axis=1).mean(), 0.05, runs, slack=0.005)
    wide = np.array([confidence_sequence_multiplier(2.0 * n, optimised_for=float(units[-1])) for n in units.tolist()])
    assert (np.abs(z) > wide).any(axis=1).mean() <= 0.05 + 5 * sqrt(0.05 * 0.95 / runs)
    ratio = msprt_ratios(b / units - a / units, error**2, 0.003**2)
    assert (ratio >= 20).any(axis=1).mean() <= 0.05 + 5 * sqrt(0.05 * 0.95 / runs)


def msprt_ratios(difference: np.ndarray, variance: np.ndarray, mixing: float) -> np.ndarray:
    total = variance + mixing
    return np.asarray(np.sqrt(variance / total) * np.exp(mixing * difference**2 / (2 * variance * total)))


def test_sequential_power_and_duration_are_as_designed() -> None:
    runs, looks = 20_000, 5
    design = SequentialDesign(1.0)
    plan = sequential_power(design, [(look + 1) / looks for look in range(looks)], power=0.8)
    z, times = brownian(np.random.default_rng(9), looks, runs, drift=plan.drift)
    bounds = np.array([look.bound for look in design.looks(times.tolist())])
    crossed = z > bounds
    assert within(crossed.any(axis=1).mean(), 0.8, runs)
    stopped = np.where(crossed.any(axis=1), times[crossed.argmax(axis=1)], 1.0)
    assert stopped.mean() == pytest.approx(plan.expected_fraction, abs=5 * stopped.std() / sqrt(runs))


def test_an_overrun_keeps_alpha() -> None:
    runs = 40_000
    times = np.array([0.4, 0.8, 1.25])
    steps = np.diff(times, prepend=0.0)
    z = np.random.default_rng(10).normal(0, np.sqrt(steps), (runs, 3)).cumsum(axis=1) / np.sqrt(times)
    bounds = np.array([look.bound for look in SequentialDesign(1.0).looks(times.tolist())])
    assert within((np.abs(z) > bounds).any(axis=1).mean(), 0.05, runs)


def test_estimates_after_stopping_early_are_median_unbiased_and_covered() -> None:
    runs, drift = 250, 2.5
    design = SequentialDesign(1.0)
    z, times = brownian(np.random.default_rng(11), 4, runs, drift=drift)
    below = covered = naive = 0
    for path in z:
        for look in range(4):
            information = times[: look + 1].tolist()
            result = analyse(design, information, path[: look + 1].tolist(), standard_error=1 / sqrt(times[look]))
            if result.stop:
                below += result.estimate < drift
                covered += result.low <= drift <= result.high
                naive += path[look] / sqrt(times[look]) < drift
                break
    assert within(below / runs, 0.5, runs)
    assert within(covered / runs, 0.95, runs)
    assert naive < below  # The plain estimate is too large more often than not.


def test_holm_keeps_the_family_error_and_bh_the_false_discovery_rate() -> None:
    rng = np.random.default_rng(12)
    p_values = rng.uniform(size=(RUNS, 10))
    holm = np.mean([min(adjust(row.tolist(), method="holm")) < 0.05 for row in p_values])
    assert within(float(holm), 0.05)
    p_values[:, :5] **= 8
    shares = []
    for row in p_values:
        claimed = np.array(adjust(row.tolist(), method="benjamini_hochberg")) < 0.05
        shares.append(claimed[5:].sum() / max(claimed.sum(), 1))
    assert np.mean(shares) <= 0.05 * 0.5 + 5 * np.std(shares) / sqrt(RUNS)


def test_interaction_and_novelty_keep_alpha() -> None:
    rng = np.random.default_rng(13)
    differ = trend = 0
    for _ in range(RUNS):
        comparisons = {
            str(segment): compare_proportions(
                Proportion(int(rng.binomial(2_000, rate)), 2_000),
                Proportion(int(rng.binomial(2_000, rate * 1.1)), 2_000),
            )
            for segment, rate in enumerate((0.1, 0.2, 0.3))
        }
        test = heterogeneity(comparisons)
        assert test is not None
        differ += test.p_value < 0.05
        trend += novelty(range(10), [Effect(rng.normal(1, 0.5), 0, 0, 0.5, 0, 1) for _ in range(10)]).present
    assert within(differ / RUNS, 0.05, slack=0.005)
    assert within(trend / RUNS, 0.05)


def test_segments_with_few_purchases_of_a_heavy_tail_are_not_said_to_differ() -> None:
    rng = np.random.default_rng(29)
    runs, differ = 200, 0

    def arm() -> Moments:
        return Moments.of({"y": (rng.random(300) < 0.05) * rng.lognormal(3.0, 1.2, 300)})

    for _ in range(runs):
        comparisons = {str(segment): compare_means(arm(), arm(), Measure("y")) for segment in range(10)}
        differ += analyse_segments(comparisons).differs
    assert differ / runs <= 0.05 + 5 * sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize("null_variance", ["pooled", "unpooled"])
def test_power_is_as_designed(null_variance: str) -> None:
    plan = TestPlan(null_variance=null_variance, shares=(0.7, 0.3))  # type: ignore[arg-type]
    n_control, n_treatment = sample_size(MetricPlan.of_proportion(0.1), 0.02, plan).per_arm
    rng, runs = np.random.default_rng(14), 20_000
    a, b = rng.binomial(n_control, 0.10, runs) / n_control, rng.binomial(n_treatment, 0.12, runs) / n_treatment
    pooled = (a * n_control + b * n_treatment) / (n_control + n_treatment)
    variance = a * (1 - a) / n_control + b * (1 - b) / n_treatment
    if null_variance == "pooled":
        variance = pooled * (1 - pooled) * (1 / n_control + 1 / n_treatment)
    found = np.abs(b - a) / np.sqrt(variance) > 1.959964
    assert within(found.mean(), 0.8, runs, slack=0.01)


def test_power_of_small_means_is_as_designed() -> None:
    plan = TestPlan(power=0.9)
    effect = minimum_detectable_effect(MetricPlan(5.0, 4.0), 60, plan)
    rng, runs = np.random.default_rng(15), 20_000
    a, b = rng.normal(0, 2, (runs, 30)), rng.normal(effect, 2, (runs, 30))
    assert within((stats.ttest_ind(a, b, axis=1).pvalue < 0.05).mean(), 0.9, runs)


def test_beliefs_are_calibrated_under_the_prior() -> None:
    """Where rates come from the prior, 95% credible intervals hold 95% of them, and P(better) is a frequency."""
    rng, runs = np.random.default_rng(16), 600
    covered, chances, better = 0, [], []
    for _ in range(runs):
        p, q = rng.beta(1, 1, 2)
        result = compare_proportions_bayes(
            Proportion(int(rng.binomial(40, p)), 40), Proportion(int(rng.binomial(60, q)), 60)
        )
        covered += result.difference.low <= q - p <= result.difference.high
        chances.append(result.probability_better)
        better.append(q > p)
    assert within(covered / runs, 0.95, runs)
    residual = np.array(better) - np.array(chances)
    assert abs(residual.mean()) <= 5 * residual.std() / sqrt(runs)
