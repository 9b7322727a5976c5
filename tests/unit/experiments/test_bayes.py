from math import inf

import numpy as np
import pytest
from scipy import stats

from trimtab.errors import BadInput
from trimtab.experiments.bayes import (
    BetaPrior,
    NormalPrior,
    Posterior,
    compare_means_bayes,
    compare_proportions_bayes,
    probability_best,
)
from trimtab.experiments.effects import ArmEstimate
from trimtab.experiments.proportions import Proportion


def test_quadrature_agrees_with_simulation_where_posteriors_differ_in_width() -> None:
    rng = np.random.default_rng(0)
    draws = 1_000_000
    for (a, b), (c, d) in (((3, 20), (300, 2_000)), ((300, 2_000), (3, 20)), ((1, 1), (50_000, 350_000))):
        control, treatment = rng.beta(a, b, draws), rng.beta(c, d, draws)
        result = compare_proportions_bayes(Proportion(a - 1, a + b - 2 or 1), Proportion(c - 1, c + d - 2))
        if a + b == 2:
            result = compare_proportions_bayes(Proportion(0.0, 1), Proportion(c - 1, c + d - 2), prior=BetaPrior(1, 1))
            control = rng.beta(1, 2, draws)
        tolerance = 5 / np.sqrt(draws)
        assert result.probability_better == pytest.approx((treatment > control).mean(), abs=tolerance)
        assert result.expected_loss == pytest.approx(np.maximum(control - treatment, 0).mean(), abs=tolerance)
        bounds = np.quantile(treatment - control, (0.025, 0.975))
        assert (result.difference.low, result.difference.high) == pytest.approx(tuple(bounds), abs=5e-3)
        assert result.relative is not None
        middle, low, high = np.quantile(treatment / control - 1, (0.5, 0.025, 0.975))
        found = (result.relative.estimate, result.relative.low, result.relative.high)
        assert found == pytest.approx((middle, low, high), rel=0.05, abs=0.02)


def test_normal_posteriors_have_closed_forms() -> None:
    control, treatment = ArmEstimate.plain(10.0, 0.04, 100), ArmEstimate.plain(10.5, 0.05, 100)
    result = compare_means_bayes(control, treatment)
    assert result.probability_better == pytest.approx(stats.norm.cdf(0.5 / 0.3), abs=1e-9)
    assert (result.difference.low, result.difference.high) == pytest.approx(
        (0.5 - 0.3 * 1.959964, 0.5 + 0.3 * 1.959964)
    )
    assert result.prior == "flat"
    assert result.expected_loss_control - result.expected_loss == pytest.approx(0.5)


def test_a_prior_shrinks() -> None:
    posterior = Posterior.of_mean(ArmEstimate.plain(10.0, 1.0, 5), NormalPrior(0.0, 1.0))
    assert (posterior.mean, posterior.deviation) == pytest.approx((5.0, np.sqrt(0.5)))
    assert compare_means_bayes(
        ArmEstimate.plain(1.0, 1.0, 5), ArmEstimate.plain(2.0, 1.0, 5), prior=NormalPrior(0.0, 0.1)
    ).difference.estimate == pytest.approx(0.01 / 1.01)


def test_no_variance_is_no_nan() -> None:
    same = compare_means_bayes(ArmEstimate.plain(1.0, 0.0, 5), ArmEstimate.plain(1.0, 0.0, 5))
    assert same.probability_better == pytest.approx(0.5)
    assert (same.expected_loss, same.expected_loss_control) == (0.0, 0.0)
    apart = compare_means_bayes(ArmEstimate.plain(1.0, 0.0, 5), ArmEstimate.plain(2.0, 0.0, 5))
    assert apart.probability_better == pytest.approx(1.0)
    assert apart.expected_loss == 0.0


def test_no_relative_effect_where_control_may_be_zero() -> None:
    assert compare_means_bayes(ArmEstimate.plain(0.1, 1.0, 5), ArmEstimate.plain(1.0, 1.0, 5)).relative is None
    tiny = BetaPrior(0.001, 0.001)
    assert compare_proportions_bayes(Proportion(0, 50), Proportion(0, 50), prior=tiny).relative is None


def test_the_best_of_several() -> None:
    arms = {"a": Posterior("beta", 11, 91), "b": Posterior("beta", 21, 81), "c": Posterior("beta", 12, 90)}
    draws = np.random.default_rng(1).beta([11, 21, 12], [91, 81, 90], (400_000, 3))
    shares = np.bincount(draws.argmax(axis=1), minlength=3) / 400_000
    assert list(probability_best(arms).values()) == pytest.approx(shares.tolist(), abs=4e-3)
    lowest = np.bincount(draws.argmin(axis=1), minlength=3) / 400_000
    assert list(probability_best(arms, direction="lower").values()) == pytest.approx(lowest.tolist(), abs=4e-3)
    assert probability_best({"only": arms["a"]}) == {"only": 1.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BetaPrior(0, 1), "both must be positive"),
        (lambda: BetaPrior(float("nan"), 1), "both must be positive"),
        (lambda: NormalPrior(inf, 1), "normal prior"),
        (lambda: NormalPrior(0, 0), "normal prior"),
        (lambda: probability_best({}), "no arm"),
        (lambda: Posterior("normal", 0, 1).credible(0), "alpha is 0"),
    ],
)
def test_wrong_input_is_named(call: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        call()  # type: ignore[operator]
