"""Service levels of arms, aggregated by DuckDB over the segments: no event becomes a Python object."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from math import inf, nan
from tempfile import TemporaryDirectory
from typing import Any

from trimtab.rollout.latency import percentile_ranks
from trimtab.rollout.service import ServiceLevel

# The empty row gives every column a type, also where no segment has it; `isfinite` leaves out unknown latencies.
_REQUESTS = """
CREATE TEMP TABLE requests AS
WITH events AS (
    SELECT NULL::VARCHAR AS id, NULL::VARCHAR AS arm, NULL::VARCHAR AS fallback, NULL::DOUBLE AS latency_ms,
        NULL::VARCHAR AS version, NULL::TIMESTAMPTZ AS time WHERE false
    UNION ALL BY NAME
    SELECT COLUMNS(lambda name: name IN ('id', 'arm', 'fallback', 'latency_ms', 'version', 'time'))
    FROM read_parquet(?, union_by_name = true, hive_partitioning = false)
)
SELECT arg_min(arm, time) AS arm, coalesce(arg_min(fallback, time), '') AS fallback,
    arg_min(latency_ms, time) AS latency_ms, arg_min(version, time) AS version
FROM events WHERE time >= ? GROUP BY id
"""
_COUNTS = """
SELECT arm, count(*), count(*) FILTER (fallback <> ''), count(*) FILTER (isfinite(latency_ms)),
    list_sort(list(DISTINCT version) FILTER (fallback = '' AND version <> ''))
FROM requests GROUP BY arm ORDER BY arm
"""
_QUANTILES = "SELECT quantile_disc(latency_ms, {}) FROM requests WHERE arm = ? AND isfinite(latency_ms)"
_ALWAYS = datetime(1, 1, 1, tzinfo=UTC)


def service_levels(patterns: Sequence[str], since: datetime | None) -> dict[str, ServiceLevel]:
    """How each arm served its requests.

    Args:
        patterns: Globs of at least one segment in all.
        since: Requests before it do not count.

    Returns:
        Levels by arm.

    Raises:
        duckdb.Error: A segment cannot be read.
    """
    with connected() as connection:
        connection.execute(_REQUESTS, [list(patterns), since or _ALWAYS])
        counts = connection.execute(_COUNTS).fetchall()
        return {
            arm: replace(_level(connection, arm, requests, failures, n), versions=tuple(versions or ()))
            for arm, requests, failures, n, versions in counts
        }


@contextmanager
def connected() -> Iterator[Any]:
    """A connection to DuckDB in memory, with a folder of its own for what does not fit."""
    import duckdb

    # By itself it would take one in the working directory, which need not be writable and which others share.
    with (
        TemporaryDirectory(prefix="trimtab-levels-") as folder,
        duckdb.connect(config={"temp_directory": folder}) as connection,
    ):
        connection.execute("SET enable_progress_bar = false")  # It would be drawn into a command's output.
        yield connection


def _level(connection: Any, arm: str, requests: int, failures: int, n: int) -> ServiceLevel:
    if not n:
        return ServiceLevel(requests, failures, nan, nan, nan, nan)
    low, p99, high = percentile_ranks(n, 0.99)
    p50 = percentile_ranks(n, 0.5)[1]
    wanted = [p50, p99, low or 0, n - 1 if high is None else high]
    values = _order_statistics(connection, arm, wanted, n)
    return ServiceLevel(
        requests,
        failures,
        latency_p50_ms=values[0],
        latency_p99_ms=values[1],
        latency_p99_low_ms=0.0 if low is None else values[2],
        latency_p99_high_ms=inf if high is None else values[3],
    )


def _order_statistics(connection: Any, arm: str, ranks: Sequence[int], n: int) -> list[float]:
    """Values at ranks from 0; the engine's discrete quantile at p has the rank ceil(p n) - 1."""
    shares = [(rank + 0.5) / n for rank in ranks]
    return connection.execute(_QUANTILES.format(shares), [arm]).fetchone()[0]
