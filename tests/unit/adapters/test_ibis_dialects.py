"""The aggregation of an experiment, written in the SQL of engines that are not here. None of it is run."""

from dataclasses import replace
from datetime import UTC, datetime

import ibis
import pytest

from trimtab.adapters.ibis_sums import aggregates, centres, treated_aggregates
from trimtab.adapters.ibis_tables import ARM, units_table
from trimtab.experiments.cells import Layout, MissingRule, Request

ENGINES = ("bigquery", "snowflake", "clickhouse", "postgres", "trino", "databricks", "pyspark")
RESULTS = ibis.table(
    {"user_id": "string", "variant": "string", "seen_at": "timestamp", "converted": "int64", "revenue": "float64"},
    name="results",
)
LAYOUT = Layout(unit="user_id", arm="variant")
REQUESTS = (Request("conversion", ("converted",)), Request("revenue", ("revenue", "converted")))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """An engine whose SQL can be written: Spark's needs its own package."""
    if request.param == "pyspark":
        pytest.importorskip("pyspark", reason="PySpark is not installed")
        assert ibis.pyspark  # registers the options that its compiler reads
    return str(request.param)


def test_sums_are_one_statement_that_returns_one_row_an_arm(engine: str) -> None:
    units = units_table(RESULTS, LAYOUT, "results")
    statement = str(ibis.to_sql(units.group_by(ARM).aggregate(**aggregates(units, REQUESTS)), dialect=engine))
    assert statement.upper().count("GROUP BY") == 1
    assert "user_id" not in statement.split("FROM", maxsplit=1)[0]


@pytest.mark.parametrize("missing", ["drop", "zero"])
def test_sums_around_the_centre_are_one_statement_too(engine: str, missing: MissingRule) -> None:
    # Bound to an engine, which is asked what it can do; what it says is written in the SQL of the other.
    units = units_table(ibis.duckdb.connect().create_table("results", schema=RESULTS.schema()), LAYOUT, "results")
    requests = tuple(replace(one, missing=missing) for one in REQUESTS)
    means = units.group_by(ARM).aggregate(**centres(units, requests))
    joined = units.inner_join(means, [ARM])
    sums = joined.group_by(ARM).aggregate(**treated_aggregates(joined, requests))
    statement = str(ibis.to_sql(sums, dialect=engine))
    assert statement.upper().count("GROUP BY") == 2
    outermost = statement.rsplit("\nSELECT", maxsplit=1)[-1].split("\nFROM", maxsplit=1)[0]
    assert "revenue|product|revenue|revenue" in outermost
    assert "user_id" not in outermost


def test_a_window_of_time_is_the_engines_own_filter(engine: str) -> None:
    layout = Layout(unit="user_id", arm="variant", time="seen_at", starts=datetime(2026, 3, 1, tzinfo=UTC))
    units = units_table(RESULTS, layout, "results")
    statement = str(ibis.to_sql(units.group_by(ARM).aggregate(units=units.count()), dialect=engine))
    assert "WHERE" in statement.upper()
    assert "2026" in statement
