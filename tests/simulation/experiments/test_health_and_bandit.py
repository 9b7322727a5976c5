"""Health checks raise false alarms as rarely as they say and find what they are for; the bandit earns, and misleads."""

from math import sqrt

import numpy as np
import numpy.typing as npt
import pytest

from trimtab.experiments.always_valid import confidence_sequence_multiplier
from trimtab.experiments.assignment import Arm, Experiment, assign_codes
from trimtab.experiments.bandit import BanditState, allocation, choose, observe
from trimtab.experiments.bayes import BetaPrior
from trimtab.experiments.health import sample_ratio
from trimtab.experiments.proportions import Proportion, compare_proportions
from trimtab.experiments.stability import calibration


def test_sample_ratio_alarms_as_often_as_its_threshold() -> None:
    rng, runs = np.random.default_rng(0), 4_000
    shares = (0.6, 0.3, 0.1)
    draws = rng.multinomial(5_000, shares, runs)
    weights = dict(zip("abc", shares, strict=True))
    alarms = [
        sample_ratio(dict(zip("abc", row.tolist(), strict=True)), weights, threshold=0.05).mismatch for row in draws
    ]
    assert abs(np.mean(alarms) - 0.05) <= 5 * sqrt(0.05 * 0.95 / runs)
    lossy = rng.multinomial(50_000, (0.6, 0.29, 0.11), 200)
    found = [sample_ratio(dict(zip("abc", row.tolist(), strict=True)), weights).mismatch for row in lossy]
    assert np.mean(found) == 1.0


def test_a_a_experiments_over_assigned_units_are_calibrated() -> None:
    """Assignment and analysis together: units keep their outcome, only the salt changes."""
    rng = np.random.default_rng(1)
    units = np.array([f"user-{number}" for number in range(4_000)], dtype=object)
    converted = rng.random(4_000) < rng.beta(1, 9, 4_000)
    p_values = []
    for salt in range(600):
        experiment = Experiment("aa", (Arm("a", 0.5), Arm("b", 0.5)), control="a", salt=str(salt))
        codes = assign_codes(units, experiment)
        counts = [Proportion(int(converted[codes == arm].sum()), int((codes == arm).sum())) for arm in (0, 1)]
        p_values.append(compare_proportions(counts[0], counts[1]).p_value)
    judged = calibration(p_values)
    # Counts are whole numbers, so exact uniformity is not to be had; the error rate is.
    assert judged.false_positives.low <= 0.05 <= judged.false_positives.high


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
def test_confidence_sequences_hold_at_all_times_together(alternative: str) -> None:
    rng, runs, steps = np.random.default_rng(2), 2_000, 400
    units = 200.0 * np.arange(1, steps + 1)
    z = rng.normal(size=(runs, steps)).cumsum(axis=1) / np.sqrt(np.arange(1, steps + 1))
    bounds = np.array(
        [confidence_sequence_multiplier(n, optimised_for=20_000, alternative=alternative) for n in units]  # type: ignore[arg-type]
    )
    beyond = (np.abs(z) if alternative == "two-sided" else z) > bounds
    assert beyond.any(axis=1).mean() <= 0.05 + 5 * sqrt(0.05 * 0.95 / runs)
    assert beyond.any(axis=1).mean() > 0.005  # And it is not so wide as to say nothing.


def run_bandit(
    rng: np.random.Generator, rates: tuple[float, ...], days: int, per_day: int
) -> tuple[npt.NDArray[np.object_], BanditState]:
    arms = [f"arm-{place}" for place in range(len(rates))]
    shown = np.array([], dtype=object)
    at, reward = np.array([]), np.array([])
    state = BanditState(dict.fromkeys(arms, (0, 0)), dict.fromkeys(arms, 0), BetaPrior())
    for day in range(days):
        today = choose(allocation(state, floor=0.02), per_day, rng=rng)
        chance = np.array(rates)[[arms.index(arm) for arm in today]]
        won = rng.random(per_day) < chance
        shown, at = np.append(shown, today), np.append(at, np.full(per_day, float(day)))
        reward = np.append(reward, np.where(won, day + rng.exponential(1.0, per_day).clip(max=3.0), np.inf))
        state = observe(arms, exposed_arm=shown, exposed_at=at, rewarded_at=reward, now=day + 0.5, window=3.0)
    return shown, state


def test_the_bandit_finds_the_best_arm_though_rewards_are_late() -> None:
    shares = []
    for seed in range(8):
        shown, _ = run_bandit(np.random.default_rng(seed), (0.05, 0.10, 0.05), days=30, per_day=200)
        shares.append((shown[-1_000:] == "arm-1").mean())
    assert np.mean(shares) > 0.7


def test_the_bandit_underrates_arms_as_its_caveat_says() -> None:
    """Two equal arms: the one that was dropped looks worse than it is, so the mean of the rates falls short."""
    errors = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        wins, shown = np.zeros(2), np.zeros(2)
        for _ in range(40):  # Rewards without delay, one unit at a time.
            arm = int(rng.beta(1 + wins, 1 + shown - wins).argmax())
            shown[arm] += 1
            wins[arm] += rng.random() < 0.3
        errors += [won / n - 0.3 for won, n in zip(wins, shown, strict=True) if n]
    assert np.mean(errors) < -5 * np.std(errors) / sqrt(len(errors))
