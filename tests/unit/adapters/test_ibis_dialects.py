"""The aggregation of an experiment, written in the SQL of engines that are not here. None of it is run."""

from datetime import UTC, datetime

import ibis
import pytest

from trimtab.adapters.ibis_sums import aggregates
from trimtab.adapters.ibis_tables import ARM, units_table
from trimtab.experiments.cells import Layout, Request

ENGINES = ("bigquery", "snowflake", "clickhouse", "postgres", "trino", "databricks")
RESULTS = ibis.table(
    {"user_id": "string", "variant": "string", "seen_at": "timestamp", "converted": "int64", "revenue": "float64"},
    name="results",
)
LAYOUT = Layout(unit="user_id", arm="variant")
REQUESTS = (Request("conversion", ("converted",)), Request("revenue", ("revenue", "converted")))


@pytest.mark.parametrize("engine", ENGINES)
def test_sums_are_one_statement_that_returns_one_row_an_arm(engine: str) -> None:
    units = units_table(RESULTS, LAYOUT, "results")
    statement = str(ibis.to_sql(units.group_by(ARM).aggregate(**aggregates(units, REQUESTS)), dialect=engine))
    assert statement.upper().count("GROUP BY") == 1
    assert "user_id" not in statement.split("FROM", maxsplit=1)[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_window_of_time_is_the_engines_own_filter(engine: str) -> None:
    layout = Layout(unit="user_id", arm="variant", time="seen_at", starts=datetime(2026, 3, 1, tzinfo=UTC))
    units = units_table(RESULTS, layout, "results")
    statement = str(ibis.to_sql(units.group_by(ARM).aggregate(units=units.count()), dialect=engine))
    assert "WHERE" in statement.upper()
    assert "2026" in statement
