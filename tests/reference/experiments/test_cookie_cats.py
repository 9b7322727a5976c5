"""A real experiment with a real sample-ratio mismatch: 90,189 players, the gate at level 30 or at level 40."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.experiments.balance import exposures
from trimtab.experiments.bayes import compare_proportions_bayes
from trimtab.experiments.capping import cap_at_quantiles
from trimtab.experiments.health import sample_ratio
from trimtab.experiments.means import Measure, compare_means
from trimtab.experiments.moments import Moments
from trimtab.experiments.proportions import Proportion, compare_proportions
from trimtab.experiments.verdict import Evidence, decide

DATA = os.environ.get("TRIMTAB_DATA_DIR", "")


@pytest.fixture(scope="module")
def players() -> pd.DataFrame:
    if not DATA:
        pytest.skip("TRIMTAB_DATA_DIR does not name the folder with cookie_cats.csv.gz")
    return pd.read_csv(Path(DATA) / "cookie_cats.csv.gz")


def retained(players: pd.DataFrame, day: int) -> tuple[Proportion, Proportion]:
    columns = (players.loc[players["version"] == gate, f"retention_{day}"] for gate in ("gate_40", "gate_30"))
    before, after = (Proportion(int(column.sum()), len(column)) for column in columns)
    return before, after


def test_retention(players: pd.DataFrame) -> None:
    """Gate 30 against gate 40."""
    week, day = compare_proportions(*retained(players, 7)), compare_proportions(*retained(players, 1))
    assert week.statistic == pytest.approx(3.164, abs=5e-4)
    assert week.p_value == pytest.approx(0.00155, abs=5e-6)
    assert (week.treatment, week.control) == pytest.approx((0.19020, 0.18200), abs=5e-6)
    assert day.statistic == pytest.approx(1.784, abs=5e-4)
    assert compare_proportions_bayes(*retained(players, 7)).probability_better > 0.999


def test_the_mismatch_stops_the_verdict(players: pd.DataFrame) -> None:
    counts = {str(arm): int(count) for arm, count in players["version"].value_counts().items()}
    ratio = sample_ratio(counts, {"gate_30": 0.5, "gate_40": 0.5})
    assert ratio.p_value == pytest.approx(0.0086, abs=5e-5)
    assert ratio.mismatch
    primary = Evidence("retention_7", compare_proportions(*retained(players, 7)))
    assert decide(primary).decision == "ship"
    assert decide(primary, problems=["The arms do not hold their shares."]).decision == "hold"


def test_nobody_is_in_two_arms(players: pd.DataFrame) -> None:
    found = exposures(players["userid"].to_numpy(), players["version"].to_numpy())
    assert (found.units, found.mixed) == (90_189, 0)


def test_one_player_of_49854_rounds_is_capped(players: pd.DataFrame) -> None:
    capped = cap_at_quantiles(players["sum_gamerounds"].to_numpy(), upper=0.999)
    assert players["sum_gamerounds"].max() == 49_854
    assert capped.upper[""] < 2_000
    arms = []
    for gate in ("gate_40", "gate_30"):
        rows = np.asarray(players["version"] == gate)
        arms.append(
            (Moments.of({"y": players["sum_gamerounds"].to_numpy()[rows]}), Moments.of({"y": capped.values[rows]}))
        )
    raw = compare_means(arms[0][0], arms[1][0], Measure("y"))
    robust = compare_means(arms[0][1], arms[1][1], Measure("y"))
    assert robust.absolute.standard_error < 0.65 * raw.absolute.standard_error
