from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.errors import BadInput
from trimtab.sessions.simulator import Simulation, WorldConfig, simulate, write
from trimtab.sessions.simulator.outcome import Outcome, loyalty_log_odds, probability, static_log_odds
from trimtab.sessions.simulator.population import MAX_VISITS, SESSION_GAP_SECONDS
from trimtab.sessions.simulator.simulation import Block, visit_counts
from trimtab.sessions.simulator.visits import oracle_table, sessions_table

FILES = ("sessions.parquet", "oracle.parquet", "truth.json", "spec.yaml", "users.parquet", "world.json")


def test_equal_seeds_give_equal_bytes_whatever_the_number_of_threads(tmp_path: Path) -> None:
    config = WorldConfig(sessions=30_000, seed=5)  # two blocks of users
    write(simulate(config, workers=1), tmp_path / "one")
    write(simulate(config, workers=3), tmp_path / "three")
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes(), name


def test_another_seed_gives_other_sessions(simulation: Simulation) -> None:
    other = simulate(replace(simulation.world.config, seed=4))
    assert not np.array_equal(other.sessions.kpis["lcp_ms"], simulation.sessions.kpis["lcp_ms"])


@pytest.mark.parametrize("sessions", [1, 2, 999, 25_000])
def test_there_are_exactly_as_many_sessions_as_asked_for(sessions: int) -> None:
    counts = visit_counts(WorldConfig(sessions=sessions))
    assert sum(int(block.sum()) for block in counts) == sessions
    assert all(block.min() >= 1 for block in counts)


def test_one_session_is_a_valid_world() -> None:
    made = simulate(WorldConfig(sessions=1))
    assert len(made.sessions) == 1
    assert made.truth.users == 1


def test_visits_per_user_are_heavy_tailed(simulation: Simulation) -> None:
    visits = np.bincount(simulation.sessions.user)
    assert 2.4 < visits.mean() < 3.1
    assert np.median(visits) <= 2
    assert 15 < visits.max() <= MAX_VISITS


def test_sessions_come_in_time_order_and_a_user_has_one_at_a_time(simulation: Simulation) -> None:
    frame = pd.DataFrame({"user": simulation.sessions.user, "seconds": simulation.sessions.seconds})
    assert frame["seconds"].is_monotonic_increasing
    gaps = frame.groupby("user")["seconds"].diff().dropna()
    assert gaps.min() >= SESSION_GAP_SECONDS


def test_the_table_alone_yields_the_history_that_drove_conversion(block: Block) -> None:
    """What a feature store recomputes from the sessions equals what the simulator fed back."""
    sessions = block.sessions
    frame = pd.DataFrame({"user": sessions.user, "seconds": sessions.seconds, "converted": sessions.converted})
    by_user = frame.groupby("user")
    np.testing.assert_array_equal(block.prior_conversions, by_user["converted"].cumsum() - frame["converted"])
    np.testing.assert_array_equal(block.context.prior_sessions, by_user.cumcount())
    np.testing.assert_allclose(block.context.days_since_last, by_user["seconds"].diff() / 86_400, rtol=1e-6)
    outcome = Outcome()
    log_odds = static_log_odds(outcome, block.context, block.kpis)
    expected = probability(log_odds + loyalty_log_odds(outcome, block.prior_conversions))
    np.testing.assert_allclose(sessions.p_control, expected, rtol=1e-6)
    assert block.prior_conversions.max() >= 2


def test_revenue_comes_with_conversion_and_only_then(simulation: Simulation) -> None:
    sessions = simulation.sessions
    np.testing.assert_array_equal(sessions.revenue > 0, sessions.converted > 0)


def test_the_oracle_lines_up_with_the_table(simulation: Simulation) -> None:
    oracle = oracle_table(simulation.sessions).to_pandas()
    table = sessions_table(simulation.sessions).to_pandas()
    assert oracle["session_id"].equals(table["session_id"])
    taken = np.where(table["lighter_page"] == 1, oracle["p_treated"], oracle["p_control"])
    np.testing.assert_array_equal(oracle["p_actual"], taken)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"sessions": 0}, "sessions"),
        ({"seed": -1}, "seed"),
        ({"days": 0}, "days"),
        ({"start": "yesterday"}, "start"),
        ({"start": "1500-01-01"}, "start"),
        ({"drift": "nothing_of_the_kind"}, "drift"),
    ],
)
def test_a_wrong_configuration_names_the_argument(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(BadInput, match=named):
        WorldConfig(**wrong)  # type: ignore[arg-type]


def test_a_file_in_place_of_the_folder_is_bad_input(simulation: Simulation, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(BadInput, match="taken"):
        write(simulation, tmp_path / "taken")
