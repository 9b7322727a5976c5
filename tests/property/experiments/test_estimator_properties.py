"""What holds for any data: swapped arms negate, merging does not care about order, independent libraries agree."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betaln
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_ztest,
    score_test_proportions_2indep,
)

from trimtab.experiments.bayes import BetaPrior, compare_proportions_bayes
from trimtab.experiments.means import Measure, compare_means
from trimtab.experiments.moments import Moments, merge_all
from trimtab.experiments.multiplicity import Correction, adjust
from trimtab.experiments.noninferiority import noninferior_proportions
from trimtab.experiments.proportions import Proportion, compare_proportions, wilson_interval
from trimtab.experiments.quantiles import QuantileSummary, compare_quantiles
from trimtab.experiments.score import ratio_statistic

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 6))
COLUMN = st.lists(NUMBERS, min_size=3, max_size=40)


@st.composite
def proportions(draw: st.DrawFn) -> Proportion:
    n = draw(st.integers(2, 100_000))
    return Proportion(draw(st.integers(0, n)), n)


@given(proportions(), proportions(), st.sampled_from(["newcombe", "score", "wald", "welch"]))
@settings(deadline=None)
def test_swapping_arms_negates_the_difference(a: Proportion, b: Proportion, method: str) -> None:
    one = compare_proportions(a, b, method=method)  # type: ignore[arg-type]
    other = compare_proportions(b, a, method=method)  # type: ignore[arg-type]
    assert other.absolute.estimate == pytest.approx(-one.absolute.estimate, abs=1e-12)
    assert (other.absolute.low, other.absolute.high) == pytest.approx((-one.absolute.high, -one.absolute.low), abs=1e-7)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-6, abs=1e-12)


@given(proportions(), proportions())
@settings(deadline=None)
def test_proportions_agree_with_statsmodels(control: Proportion, treatment: Proportion) -> None:
    counts = (treatment.successes, treatment.n, control.successes, control.n)
    newcombe = compare_proportions(control, treatment)
    assert (newcombe.absolute.low, newcombe.absolute.high) == pytest.approx(
        confint_proportions_2indep(*counts, method="newcomb"), abs=1e-9
    )
    assert wilson_interval(control) == pytest.approx(
        proportion_confint(control.successes, control.n, method="wilson"), abs=1e-9
    )
    if 0 < control.successes + treatment.successes < control.n + treatment.n:
        statistic, p_value = proportions_ztest([treatment.successes, control.successes], [treatment.n, control.n])
        assert newcombe.statistic == pytest.approx(statistic, rel=1e-9, abs=1e-12)
        assert newcombe.p_value == pytest.approx(p_value, rel=1e-6, abs=1e-300)


@given(proportions(), proportions(), st.floats(0.2, 5))
@settings(deadline=None, max_examples=60)
def test_score_for_a_ratio_agrees_with_statsmodels(control: Proportion, treatment: Proportion, ratio: float) -> None:
    assume(0 < control.successes < control.n and 0 < treatment.successes < treatment.n and abs(ratio - 1) > 1e-3)
    counts = (treatment.successes, treatment.n, control.successes, control.n)
    expected = score_test_proportions_2indep(*counts, value=ratio, compare="ratio", return_results=False)
    found = ratio_statistic(control.successes, control.n, treatment.successes, treatment.n, ratio=ratio)
    assert found == pytest.approx(expected[0], rel=1e-5, abs=1e-9)


@given(proportions(), proportions(), st.floats(0.005, 0.3))
@settings(deadline=None, max_examples=60)
def test_score_interval_and_noninferiority_tell_the_same(a: Proportion, b: Proportion, margin: float) -> None:
    low = compare_proportions(a, b, method="score").absolute.low
    assume(abs(low + margin) > 1e-6)
    found = noninferior_proportions(a, b, margin=margin)
    assert found.shown == (low > -margin)
    assert found.worst == pytest.approx(-low, abs=1e-7)


@given(COLUMN, COLUMN)
@settings(deadline=None)
def test_welch_agrees_with_scipy(control: list[float], treatment: list[float]) -> None:
    assume(np.std(control) > 1e-3 and np.std(treatment) > 1e-3)
    result = compare_means(Moments.of({"y": control}), Moments.of({"y": treatment}), Measure("y"))
    expected = stats.ttest_ind(treatment, control, equal_var=False)
    assert result.statistic == pytest.approx(expected.statistic, rel=1e-6, abs=1e-9)
    assert result.p_value == pytest.approx(expected.pvalue, rel=1e-5, abs=1e-12)
    interval = expected.confidence_interval()
    assert (result.absolute.low, result.absolute.high) == pytest.approx(
        (interval.low, interval.high), rel=1e-6, abs=1e-6
    )


@given(st.lists(COLUMN, min_size=1, max_size=6), st.randoms())
@settings(deadline=None)
def test_merging_is_exact_and_does_not_care_about_order(parts: list[list[float]], random: object) -> None:
    whole = Moments.of({"y": list(chain.from_iterable(parts))})
    shuffled = parts.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for order in (parts, shuffled):
        merged = merge_all([Moments.of({"y": part}) for part in order])
        assert merged.n == whole.n
        assert merged.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-9)
        assert merged.variance("y") == pytest.approx(whole.variance("y"), rel=1e-9, abs=1e-6)


@given(COLUMN, COLUMN, st.floats(0.1, 100), st.floats(-100, 100))
@settings(deadline=None)
def test_means_follow_a_change_of_unit(a: list[float], b: list[float], scale: float, shift: float) -> None:
    assume(np.std(a) > 1e-2 and np.std(b) > 1e-2)
    one = compare_means(Moments.of({"y": a}), Moments.of({"y": b}), Measure("y"))
    moved = compare_means(
        Moments.of({"y": np.array(a) * scale + shift}), Moments.of({"y": np.array(b) * scale + shift}), Measure("y")
    )
    assert moved.statistic == pytest.approx(one.statistic, rel=1e-5, abs=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(deadline=None, max_examples=30)
def test_adjustment_agrees_with_statsmodels(p_values: list[float]) -> None:
    methods: dict[Correction, str] = {"bonferroni": "bonferroni", "holm": "holm", "benjamini_hochberg": "fdr_bh"}
    for method, theirs in methods.items():
        assert adjust(p_values, method=method) == pytest.approx(multipletests(p_values, method=theirs)[1], abs=1e-12)
        assert all(
            after >= before - 1e-12 for after, before in zip(adjust(p_values, method=method), p_values, strict=True)
        )


@given(proportions(), proportions())
@settings(deadline=None, max_examples=40)
def test_beliefs_add_up(a: Proportion, b: Proportion) -> None:
    one, other = compare_proportions_bayes(a, b), compare_proportions_bayes(b, a)
    assert one.probability_better + other.probability_better == pytest.approx(1.0, abs=1e-8)
    assert one.expected_loss == pytest.approx(other.expected_loss_control, abs=1e-9)
    assert one.difference.low <= one.difference.estimate <= one.difference.high
    assert one.relative is not None
    assert one.relative.low <= one.relative.estimate <= one.relative.high
    lower = compare_proportions_bayes(a, b, direction="lower")
    assert lower.probability_better == pytest.approx(1 - one.probability_better, abs=1e-9)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_probability_better_agrees_with_the_finite_sum(a: int, b: int, c: int, d: int) -> None:
    """For whole-number parameters P(B > A) is a finite sum of beta functions (E. Miller, 2015)."""
    i = np.arange(c)
    terms = betaln(a + i, b + d) - np.log(d + i) - betaln(1 + i, d) - betaln(a, b)
    expected = float(np.exp(terms).sum())
    control, treatment = Proportion(a - 1, a + b - 2 or 1), Proportion(c - 1, c + d - 2 or 1)
    assume(a + b > 2 and c + d > 2)
    found = compare_proportions_bayes(control, treatment, prior=BetaPrior(1, 1)).probability_better
    assert found == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5, 0.9]))
@settings(deadline=None, max_examples=25)
def test_swapping_arms_negates_quantiles(seed: int, q: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = (QuantileSummary.of(rng.lognormal(size=300), q) for _ in range(2))
    one, other = compare_quantiles(a, b), compare_quantiles(b, a)
    assert one.absolute.estimate == -other.absolute.estimate
    assert one.p_value == pytest.approx(other.p_value)
