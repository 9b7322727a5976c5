from pathlib import Path

import numpy as np
import pytest

from trimtab.errors import BadInput, NotFound
from trimtab.sessions.inputs import model_inputs
from trimtab.sessions.simulator import Simulation, World
from trimtab.sessions.simulator.catalogue import spec


@pytest.fixture
def world(simulation: Simulation) -> World:
    return simulation.world


def test_a_saved_world_plays_on_the_same(world: World, tmp_path: Path) -> None:
    world.save(tmp_path)
    loaded = World.load(tmp_path)
    assert loaded.config == world.config
    ours, theirs = (one.next_visits(200, np.random.default_rng(1)) for one in (world, loaded))
    assert ours.frame.equals(theirs.frame)
    np.testing.assert_array_equal(ours.p_treated, theirs.p_treated)


def test_the_history_of_the_world_is_that_of_its_sessions(simulation: Simulation) -> None:
    sessions, history = simulation.sessions, simulation.world.history
    np.testing.assert_array_equal(history.sessions, np.bincount(sessions.user))
    np.testing.assert_array_equal(history.conversions, np.bincount(sessions.user, weights=sessions.converted))
    latest = np.zeros(len(history.sessions), dtype=np.int64)
    np.maximum.at(latest, sessions.user, sessions.seconds)
    np.testing.assert_array_equal(history.last_seconds, latest)


def test_visits_carry_what_a_request_carries_and_no_outcome(world: World, rng: np.random.Generator) -> None:
    visits = world.next_visits(300, rng)
    columns = set(visits.frame.columns)
    assert set(model_inputs(spec()).request) <= columns
    assert not columns & {spec().label, spec().value, spec().treatment, "session_duration_s"}
    assert visits.frame["started_at"].is_monotonic_increasing
    assert visits.frame["user_id"].is_unique
    assert len(visits.frame) == len(visits.p_control) == len(visits.p_treated) == len(visits.value) == 300
    assert (visits.value > 0).all()


def test_visits_come_after_the_sessions_of_the_world(simulation: Simulation, rng: np.random.Generator) -> None:
    visits = simulation.world.next_visits(300, rng)
    assert visits.seconds.min() > simulation.sessions.seconds.max()
    assert visits.frame["session_id"].min() > f"s{len(simulation.sessions) - 1:09d}"


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_share_of_new_users_is_kept(world: World, rng: np.random.Generator, share: float) -> None:
    visits = world.next_visits(500, rng, new_user_share=share)
    assert np.mean(visits.user >= len(world.users)) == pytest.approx(share)


def test_more_visitors_than_users_makes_the_rest_new(world: World, rng: np.random.Generator) -> None:
    visits = world.next_visits(len(world.users) + 500, rng, new_user_share=0.0)
    assert np.sum(visits.user >= len(world.users)) == 500


def test_users_who_bought_before_buy_more_often(world: World, rng: np.random.Generator) -> None:
    visits = world.next_visits(3_000, rng, new_user_share=0.0)
    bought = world.history.conversions[visits.user] > 0
    assert visits.p_control[bought].mean() > 1.3 * visits.p_control[~bought].mean()


def test_drift_reaches_the_visits(world: World) -> None:
    slow, normal = (
        world.next_visits(800, np.random.default_rng(2), drift=name).frame["api_checkout_ms"].median()
        for name in ("slow_backend", "none")
    )
    assert slow > 1.4 * normal


def test_a_folder_without_a_world_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no simulated world"):
        World.load(tmp_path)


@pytest.mark.parametrize("wrong", [{"users": 0}, {"users": 5, "new_user_share": 1.5}, {"users": 5, "drift": "x"}])
def test_wrong_arguments_are_bad_input(world: World, rng: np.random.Generator, wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        world.next_visits(rng=rng, **wrong)  # type: ignore[arg-type]
