"""Moments of tables through Ibis, held against numpy on the same rows, and against tea-tasting."""

import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest
import tea_tasting as tt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.adapters.ibis import IbisWarehouse
from trimtab.errors import BadInput, TrimtabError
from trimtab.experiments.cells import Key, Layout, QuantileRequest, Request, merged
from trimtab.experiments.means import Measure, compare_means
from trimtab.experiments.moments import Moments
from trimtab.experiments.quantiles import QuantileSummary
from trimtab.testing.warehouse import Saved, WarehouseContract

LAYOUT = Layout("unit", "arm")
PAIR = Request("pair", ("y", "z"))


def frame(rows: int = 400, *, level: float = 0.0, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "unit": np.arange(rows),
            "arm": rng.choice(["A", "B"], rows),
            "y": level + rng.normal(size=rows),
            "z": rng.gamma(2.0, 3.0, rows),
            "place": np.array(["north", "south", None], dtype=object)[rng.integers(0, 3, rows)],
        }
    )


def saved(folder: Path, table: pd.DataFrame) -> str:
    path = folder / "table.parquet"
    table.to_parquet(path, index=False)
    return str(path)


def expected(table: pd.DataFrame, *columns: str) -> Moments:
    return Moments.of({column: table[column].to_numpy() for column in columns})


def assert_equal(found: Moments, wanted: Moments, *, rel: float = 1e-9) -> None:
    assert found.n == wanted.n
    assert found.mean == pytest.approx(wanted.mean, rel=rel)
    scale = float(np.abs(wanted.comoment).max())
    assert found.comoment == pytest.approx(wanted.comoment, rel=rel, abs=rel * scale)


class TestParquet(WarehouseContract):
    @pytest.fixture
    def warehouse(self) -> IbisWarehouse:
        return IbisWarehouse()

    @pytest.fixture
    def saved(self, tmp_path: Path) -> Saved:
        return lambda table: saved(tmp_path, table)


class TestSqlite(WarehouseContract):
    """An engine of another kind, by its URI."""

    @pytest.fixture
    def warehouse(self) -> IbisWarehouse:
        return IbisWarehouse()

    @pytest.fixture
    def saved(self, tmp_path: Path) -> Saved:
        def save(table: pd.DataFrame) -> str:
            with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
                table.to_sql("exposures", connection, index=False)
            return f"sqlite://{tmp_path}/shop.db#exposures"

        return save


@given(level=st.sampled_from([0.0, -3.0, 1e3, -1e7, 1e9]), rows=st.integers(4, 300), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_moments_are_those_of_the_rows_however_far_from_zero(
    tmp_path: Path, level: float, rows: int, seed: int
) -> None:
    table = frame(rows, level=level, seed=seed)
    cells = IbisWarehouse().open(saved(tmp_path, table), LAYOUT).cells([PAIR])
    assert {cell.arm for cell in cells} == set(table["arm"])
    for cell in cells:
        assert_equal(cell.moments["pair"], expected(table[table["arm"] == cell.arm], "y", "z"), rel=1e-6)


def test_groups_far_apart_keep_their_variances(tmp_path: Path) -> None:
    """A single shift for all groups would lose them."""
    table = frame()
    table["y"] += np.where(table["arm"] == "A", 1e9, 0.0)
    for cell in IbisWarehouse().open(saved(tmp_path, table), LAYOUT).cells([PAIR]):
        own = table.loc[table["arm"] == cell.arm, "y"]
        assert cell.moments["pair"].variance("y") == pytest.approx(own.var(), rel=1e-5)


def test_cells_add_up_to_the_whole(tmp_path: Path) -> None:
    table = frame(level=1e6)
    opened = IbisWarehouse().open(saved(tmp_path, table), LAYOUT)
    parts = opened.cells([PAIR], by=Key("place"))
    assert {cell.key for cell in parts} == {"north", "south", "(missing)"}
    for arm, cell in merged(parts, lambda _: "")[""].items():
        assert_equal(cell.moments["pair"], expected(table[table["arm"] == arm], "y", "z"), rel=1e-7)


def test_dropped_units_leave_a_metric_together(tmp_path: Path) -> None:
    table = frame()
    table.loc[:49, "y"] = np.nan
    table.loc[40:59, "z"] = np.nan
    request = Request("pair", ("y", "z"), missing="drop")
    for cell in IbisWarehouse().open(saved(tmp_path, table), LAYOUT).cells([request]):
        own = table[table["arm"] == cell.arm]
        assert_equal(cell.moments["pair"], expected(own.dropna(subset=["y", "z"]), "y", "z"))
        assert cell.missing == {"y": own["y"].isna().sum(), "z": own["z"].isna().sum()}


def test_caps_hold_before_anything_is_summed(tmp_path: Path) -> None:
    table = frame()
    opened = IbisWarehouse().open(saved(tmp_path, table), LAYOUT)
    (limit,) = opened.limits("z", [0.9])
    assert limit == pytest.approx(table["z"].quantile(0.9))
    for cell in opened.cells([Request("m", ("z",), caps={"z": limit})]):
        own = table[table["arm"] == cell.arm].assign(z=lambda rows: rows["z"].clip(upper=limit))
        assert_equal(cell.moments["m"], expected(own, "z"))


def test_quantiles_are_order_statistics(tmp_path: Path) -> None:
    table = frame()
    request = QuantileRequest("m", "z", 0.9, 0.05)
    found = IbisWarehouse().open(saved(tmp_path, table), LAYOUT).quantiles([request])["m"]
    for arm, summary in found.items():
        wanted = QuantileSummary.of(table.loc[table["arm"] == arm, "z"].to_numpy(), 0.9)
        for name in ("n", "value", "low", "high", "z"):
            assert getattr(summary, name) == pytest.approx(getattr(wanted, name), rel=1e-9)


def test_repeats_and_mixed_units_are_counted(tmp_path: Path) -> None:
    table = pd.concat([frame(), frame().iloc[:5], frame().iloc[5:7].assign(arm="C")])
    table.loc[9, "arm"] = None
    check = IbisWarehouse().open(saved(tmp_path, table), LAYOUT).units()
    assert (check.rows, check.repeated, check.mixed, check.without_arm) == (407, 7, 2, 1)
    assert check.examples[:2] == ("5", "6")
    assert check.checked_share == 1


def test_of_very_many_units_a_sample_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab.adapters.ibis._EXACT_ROWS", 1_000)
    monkeypatch.setattr("trimtab.adapters.ibis._SAMPLED_UNITS", 2_000)
    table = pd.concat([frame(8_000), frame(8_000).iloc[:4_000]])
    check = IbisWarehouse().open(saved(tmp_path, table), LAYOUT).units()
    assert check.checked_share == pytest.approx(1 / 6)
    assert check.repeated == pytest.approx(4_000, rel=0.25)


def test_another_engine_by_its_uri(tmp_path: Path) -> None:
    import duckdb

    units = frame()
    database = tmp_path / "shop.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.register("units", units)
        connection.execute("create table exposures as select * from units")
    cells = IbisWarehouse().open(f"duckdb://{database}#exposures", LAYOUT).cells([PAIR])
    assert sum(cell.units for cell in cells) == 400
    with pytest.raises(BadInput, match="no table 'exposure'"):
        IbisWarehouse().open(f"duckdb://{database}#exposure", LAYOUT)
    with pytest.raises(BadInput, match="names no table"):
        IbisWarehouse().open(f"duckdb://{database}", LAYOUT)


def test_agrees_with_tea_tasting(tmp_path: Path) -> None:
    table = frame(2_000)
    table["variant"] = (table["arm"] == "B").astype(int)
    theirs = tt.Experiment(mean=tt.Mean("y", "z"), ratio=tt.RatioOfMeans("y", "z")).analyze(table)
    request = Request("pair", ("y", "z"))
    arms = {
        cell.arm: cell.moments["pair"] for cell in IbisWarehouse().open(saved(tmp_path, table), LAYOUT).cells([request])
    }
    mean = compare_means(arms["A"], arms["B"], Measure("y"), covariate=Measure("z"), baseline="adjusted")
    ratio = compare_means(arms["A"], arms["B"], Measure("y", "z"))
    for ours, other in ((mean, theirs["mean"]), (ratio, theirs["ratio"])):
        assert ours.absolute.estimate == pytest.approx(other.effect_size, rel=1e-9)
        assert ours.absolute.low == pytest.approx(other.effect_size_ci_lower, rel=1e-9)
        assert ours.p_value == pytest.approx(other.pvalue, rel=1e-9)


@pytest.mark.parametrize(
    "location",
    [
        "postgres://reader:s3cret@127.0.0.1:9/shop#t",
        "postgres://r:s3cret@h/shop",
        "postgress://r:s3cret@h/shop#t",  # Ibis' own error quotes it
        "postgres://r:s3cret/more@h/shop#t",
        "postgres://r:s3cret#more@h/shop#t",
        "postgres://r:s3cret@more@h/shop#t",
    ],
)
def test_an_engine_that_cannot_be_reached_keeps_its_password(location: str) -> None:
    with pytest.raises(TrimtabError, match=r"postgress?://\w+:\*\*\*@") as raised:
        IbisWarehouse().open(location, LAYOUT)
    assert not {"s3cret", "more"} & set(re.split(r"\W", str(raised.value)))


def test_an_engines_connection_ends_with_its_table(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        frame().to_sql("exposures", connection, index=False)
    opened = IbisWarehouse().open(f"sqlite://{tmp_path}/shop.db#exposures", LAYOUT)
    engine = opened._raw.get_backend().con
    del opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        engine.execute("SELECT 1")


@pytest.mark.parametrize(("table", "says"), [("exposures", "no column 'absent'"), ("nothing", "no table 'nothing'")])
def test_an_engines_connection_ends_with_an_error_too(
    table: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        frame().to_sql("exposures", connection, index=False)
    engines, connect = [], ibis.connect

    def noted(uri: str) -> Any:
        engines.append(connect(uri))
        return engines[-1]

    monkeypatch.setattr(ibis, "connect", noted)
    with pytest.raises(BadInput, match=says):
        IbisWarehouse().open(f"sqlite://{tmp_path}/shop.db#{table}", replace(LAYOUT, unit="absent"))
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        engines[0].con.execute("SELECT 1")
