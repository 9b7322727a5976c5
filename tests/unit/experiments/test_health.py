import numpy as np
import pytest

from trimtab.errors import BadInput
from trimtab.experiments.balance import covariate_balance, exposures
from trimtab.experiments.effects import Effect
from trimtab.experiments.health import sample_ratio, sample_ratio_by_phase
from trimtab.experiments.moments import Moments
from trimtab.experiments.proportions import Proportion, compare_proportions
from trimtab.experiments.stability import calibration, novelty, power_at


def test_no_units_are_no_mismatch() -> None:
    result = sample_ratio({}, {"a": 1, "b": 1})
    assert (result.p_value, result.mismatch) == (1.0, False)


def test_units_in_an_arm_without_weight_are_a_mismatch() -> None:
    result = sample_ratio({"a": 50, "b": 50, "c": 1}, {"a": 1, "b": 1, "c": 0})
    assert result.unexpected == ("c",)
    assert result.mismatch


def test_weights_need_not_add_up_to_one() -> None:
    assert sample_ratio({"a": 900, "b": 100}, {"a": 90, "b": 10}).p_value == 1.0


@pytest.mark.parametrize(
    ("counts", "weights", "message"),
    [
        ({"x": 5}, {"a": 1, "b": 1}, r"arms \['x'\] are not configured"),
        ({"a": -5}, {"a": 1, "b": 1}, "-5 units"),
        ({"a": 5}, {"a": float("nan"), "b": 1}, "weight nan"),
        ({"a": 5}, {"a": 1, "b": 0}, "only 1 arm"),
    ],
)
def test_wrong_input_is_named(counts: dict[str, int], weights: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        sample_ratio(counts, weights)


def test_a_ramp_is_no_mismatch_but_a_lossy_phase_is() -> None:
    ramp = [({"a": 9_000, "b": 1_000}, {"a": 9.0, "b": 1.0}), ({"a": 5_000, "b": 5_000}, {"a": 1.0, "b": 1.0})]
    assert sample_ratio_by_phase(ramp).p_value == 1.0
    assert sample_ratio({"a": 14_000, "b": 6_000}, {"a": 1.0, "b": 1.0}).mismatch
    lossy = sample_ratio_by_phase([ramp[0], ({"a": 5_000, "b": 4_600}, {"a": 1.0, "b": 1.0})])
    assert lossy.mismatch
    assert (lossy.degrees_of_freedom, [phase.mismatch for phase in lossy.phases]) == (2, [False, True])
    with pytest.raises(BadInput, match="no phase"):
        sample_ratio_by_phase([])


def test_imbalance_is_found_where_it_is_large_and_not_chance() -> None:
    rng = np.random.default_rng(0)
    control = Moments.of({"age": rng.normal(40, 10, 5_000), "visits": rng.poisson(3, 5_000)})
    treatment = Moments.of({"age": rng.normal(42, 10, 5_000), "visits": rng.poisson(3, 5_000)})
    age, visits = covariate_balance(control, treatment)
    assert age.difference == pytest.approx(0.2, abs=0.04)
    assert (age.balanced, visits.balanced) == (False, True)
    with pytest.raises(BadInput, match="covariates differ"):
        covariate_balance(control, Moments.of({"age": [1.0, 2.0]}))


def test_a_constant_covariate_is_balanced_and_a_shifted_constant_is_not() -> None:
    same, other = Moments.of({"x": [1.0, 1.0]}), Moments.of({"x": [2.0, 2.0]})
    assert covariate_balance(same, same)[0].balanced
    assert not covariate_balance(same, other)[0].balanced


def test_units_in_two_arms_are_counted_once() -> None:
    result = exposures(["u1", "u1", "u1", "u2", "u2", "u3"], ["a", "b", "b", "a", "a", "b"])
    assert (result.units, result.rows, result.mixed, result.examples) == (3, 6, 1, ("u1",))
    assert exposures([], []).share == 0.0
    with pytest.raises(BadInput, match="1 units but 0 arms"):
        exposures(["a"], [])


def day_effect(estimate: float) -> Effect:
    return Effect(estimate, 0, 0, 0.01, 0, 1)


def test_a_fading_effect_is_novelty() -> None:
    fading = novelty(range(7), [day_effect(0.10 - 0.012 * day) for day in range(7)])
    assert fading.present
    assert fading.slope == pytest.approx(-0.012)
    assert fading.standard_error == pytest.approx(0.01 / np.sqrt(28))
    assert not novelty(range(7), [day_effect(0.1)] * 7).present
    assert novelty([3, 1, 2], [day_effect(3), day_effect(1), day_effect(2)]).slope == pytest.approx(1.0)


def test_a_trend_needs_three_days_with_data() -> None:
    silent = Effect(0.5, 0, 0, 0.0, 0, 1)
    with pytest.raises(BadInput, match="three days with data; there are 2"):
        novelty([0, 1, 2], [day_effect(1), day_effect(1), silent])
    with pytest.raises(BadInput, match="2 days but 1 effects"):
        novelty([0, 1], [silent])


def test_calibration_tells_uniform_from_skewed() -> None:
    uniform = np.random.default_rng(1).uniform(size=2_000)
    assert calibration(uniform.tolist()).calibrated
    assert not calibration((uniform**2).tolist()).calibrated
    assert calibration([0.0] * 5).false_positives.high == 1.0
    with pytest.raises(BadInput, match="p-values in"):
        calibration([])
    with pytest.raises(BadInput, match="p-values in"):
        calibration([float("nan")])


def test_power_that_the_data_had() -> None:
    comparison = compare_proportions(Proportion(500, 5_000), Proportion(500, 5_000))
    assert power_at(comparison, 0.0) == pytest.approx(0.05)
    assert power_at(comparison, 0.03) > 0.99
    assert power_at(comparison, -0.03) == pytest.approx(power_at(comparison, 0.03))


def test_counts_beyond_machine_integers_are_compared() -> None:
    result = sample_ratio({"a": 10**21, "b": 10**21}, {"a": 0.5, "b": 0.5})
    assert result.p_value == 1.0
    assert not result.mismatch
