"""Ranks that bound a percentile have the confidence that they claim, whatever the distribution."""

import pytest
from scipy import stats

from trimtab.rollout.latency import percentile_ranks


@pytest.mark.parametrize("n", [1, 10, 99, 370, 1_000, 54_321])
@pytest.mark.parametrize("q", [0.5, 0.99])
def test_bounds_cover_the_quantile(n: int, q: float) -> None:
    low, _, high = percentile_ranks(n, q)
    # The quantile lies above the order statistic of rank r (from 0) when more than r values lie below it.
    misses_below = 0.0 if low is None else float(stats.binom.cdf(low, n, q))
    misses_above = 0.0 if high is None else float(stats.binom.sf(high, n, q))
    assert misses_below <= 0.025
    assert misses_above <= 0.025


def test_bounds_are_no_wider_than_they_must() -> None:
    low, middle, high = percentile_ranks(1_000, 0.5)
    assert low is not None
    assert high is not None
    assert low < middle < high
    assert stats.binom.cdf(low + 1, 1_000, 0.5) > 0.025
    assert stats.binom.sf(high - 1, 1_000, 0.5) > 0.025


def test_few_values_leave_a_side_open() -> None:
    assert percentile_ranks(367, 0.99)[2] is None
    assert percentile_ranks(368, 0.99)[2] is not None
    assert percentile_ranks(1, 0.5) == (None, 0, None)
