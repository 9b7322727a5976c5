import numpy as np
import pytest

from trimtab.models.threshold import choose_threshold
from trimtab.sessions.spec import DecisionCosts


def _cost(probability: np.ndarray, label: np.ndarray, costs: DecisionCosts, at: float) -> float:
    acted = probability >= at
    return float((acted * (1 - label) * costs.false_positive + ~acted * label * costs.false_negative).mean())


def test_a_calibrated_model_uses_the_theoretical_threshold() -> None:
    rng = np.random.default_rng(0)
    probability = rng.beta(1, 4, 5_000)
    label = (rng.random(5_000) < probability).astype(float)
    chosen = choose_threshold(probability, label, DecisionCosts(false_positive=1, false_negative=4))
    assert chosen.theoretical == pytest.approx(0.2)
    assert chosen.value == pytest.approx(0.2, abs=0.05)


def test_a_distorted_model_moves_it_to_where_errors_cost_least() -> None:
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 4, 5_000)
    label = (rng.random(5_000) < truth).astype(float)
    probability = truth**3
    costs = DecisionCosts(false_positive=1, false_negative=4)
    chosen = choose_threshold(probability, label, costs)
    grid = min(_cost(probability, label, costs, at) for at in np.linspace(0, 1, 2_001))
    assert chosen.cost == pytest.approx(_cost(probability, label, costs, chosen.value))
    assert chosen.cost <= grid + 1e-9
    assert chosen.cost < chosen.theoretical_cost
    assert chosen.value < 0.1


def test_dear_false_alarms_raise_it() -> None:
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 2, 3_000)
    label = (rng.random(3_000) < truth).astype(float)
    low = choose_threshold(truth, label, DecisionCosts(false_positive=1, false_negative=10))
    high = choose_threshold(truth, label, DecisionCosts(false_positive=10, false_negative=1))
    assert low.value < high.value


def test_a_constant_model_has_one() -> None:
    chosen = choose_threshold(np.full(100, 0.1), np.eye(1, 100)[0], DecisionCosts())
    assert 0 <= chosen.value <= 1
