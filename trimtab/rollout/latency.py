"""Which of the sorted latencies bound their percentile, for any number of requests.

The number of latencies below the q-th quantile is binomial, whatever their distribution, so two order statistics bound
it with a confidence that needs no large sample (David and Nagaraja 2003, Order Statistics, section 7.1). Assumes
requests that are independent of each other: a slow server makes runs of slow requests, and the interval is then too
narrow.
"""

from math import ceil

from scipy import stats


def percentile_ranks(n: int, q: float, *, alpha: float = 0.05) -> tuple[int | None, int, int | None]:
    """Ranks of the lower bound, the quantile and the upper bound.

    Args:
        n: Latencies; at least 1.
        q: The quantile, in (0, 1).
        alpha: The interval has confidence of at least 1 - alpha.

    Returns:
        Ranks from 0 among the sorted latencies; None where so few of them cannot bound the quantile on that side.

    >>> percentile_ranks(10_000, 0.99)
    (9879, 9899, 9919)
    >>> percentile_ranks(100, 0.99)
    (96, 98, None)
    """
    low, high = int(stats.binom.ppf(alpha / 2, n, q)) - 1, int(stats.binom.ppf(1 - alpha / 2, n, q))
    return (low if low >= 0 else None), ceil(n * q) - 1, (high if high < n else None)
