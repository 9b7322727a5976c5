import pytest

from trimtab.experiments.proportions import Proportion, compare_proportions


def test_newcombe_and_score_intervals() -> None:
    counts = Proportion(48, 80), Proportion(56, 70)
    newcombe = compare_proportions(*counts, method="newcombe").absolute
    score = compare_proportions(*counts, method="score").absolute
    assert (newcombe.low, newcombe.high) == pytest.approx((0.052431, 0.333873), abs=5e-7)
    assert (score.low, score.high) == pytest.approx((0.052552, 0.344039), abs=5e-7)
