import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trimtab.experiments.assignment import Arm, Experiment, assign, assign_codes, assign_one, bucket_shares
from trimtab.experiments.hashing import salted_hash, salted_hashes

UNITS = np.array([f"user-{number}" for number in range(40_000)], dtype=object)


@given(st.lists(st.text(), max_size=30), st.text(max_size=20))
@settings(deadline=None)
def test_one_and_many_agree_on_any_text(units: list[str], salt: str) -> None:
    try:
        expected = [salted_hash(unit, salt) for unit in units]
    except UnicodeEncodeError:  # A lone surrogate is no text.
        return
    assert salted_hashes(units, salt).tolist() == expected


@given(st.integers(0, 10**6), st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
@settings(deadline=None, max_examples=20)
def test_arms_get_their_shares(salt: int, weights: list[float]) -> None:
    arms = tuple(Arm(f"arm-{place}", weight) for place, weight in enumerate(weights))
    experiment = Experiment("shares", arms, control="arm-0", salt=str(salt))
    counts = np.bincount(assign_codes(UNITS, experiment), minlength=len(arms))
    expected = np.array(list(bucket_shares(experiment).values())) * len(UNITS)
    assert stats.chisquare(counts, expected).pvalue > 1e-7
    assert np.abs(expected / len(UNITS) - np.array(weights) / sum(weights)).max() <= 1e-4


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
@settings(deadline=None, max_examples=20)
def test_experiments_are_independent(first: str, second: str) -> None:
    if first == second:
        return
    pair = (Arm("a", 1), Arm("b", 1))
    one = assign_codes(UNITS, Experiment("one", pair, control="a", salt=first))
    two = assign_codes(UNITS, Experiment("two", pair, control="a", salt=second))
    table = np.histogram2d(one, two, bins=2)[0]
    assert stats.chi2_contingency(table, correction=False).pvalue > 1e-7


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6))
@settings(deadline=None, max_examples=30)
def test_ramping_up_moves_control_to_treatment_only(treatment_shares: list[float]) -> None:
    shares = sorted(treatment_shares)
    experiment = Experiment("ramp", (Arm("c", 1 - shares[0]), Arm("t", shares[0])), control="c")
    before = assign(UNITS[:5_000], experiment)
    for share in shares[1:]:
        experiment = experiment.ramped({"c": 1 - share, "t": share})
        after = assign(UNITS[:5_000], experiment)
        assert (after[before == "t"] == "t").all()
        before = after


@given(st.integers())
@settings(deadline=None)
def test_integers_and_their_text_share_an_arm(unit: int) -> None:
    pair = Experiment("e", (Arm("a", 1), Arm("b", 1)), control="a")
    if -(2**63) <= unit < 2**63:
        assert assign([unit], pair)[0] == assign_one(str(unit), pair)
