"""In a simulated world a version that acts better converts more, and nothing else makes it so."""

from functools import cache

import numpy as np
import pytest

from trimtab.rollout.traffic import Traffic, world_traffic
from trimtab.sessions.simulator import World, WorldConfig, simulate
from trimtab.sessions.spec import load_spec

KEY = b"a key of sixteen bytes"
USERS = 20_000


@cache
def _world() -> World:
    return simulate(WorldConfig(sessions=10_000, seed=3)).world


def _traffic(seed: int) -> Traffic:
    return world_traffic(_world(), load_spec("ux_sessions"), users=USERS, key=KEY, rng=np.random.default_rng(seed))


def test_acting_where_it_helps_beats_acting_everywhere_and_nowhere() -> None:
    traffic = _traffic(1)
    visits = _world().next_visits(USERS, np.random.default_rng(1))
    helps = visits.p_treated > visits.p_control
    best, nowhere = (traffic.outcomes(act).converted.sum() for act in (helps, np.zeros(USERS, dtype=bool)))
    everywhere, worst = (traffic.outcomes(act).converted.sum() for act in (np.ones(USERS, dtype=bool), ~helps))
    assert best > max(nowhere, everywhere)
    assert worst < min(nowhere, everywhere)


def test_conversions_follow_the_true_probabilities() -> None:
    traffic = _traffic(2)
    visits = _world().next_visits(USERS, np.random.default_rng(2))
    act = np.arange(USERS) % 2 == 0
    truth = np.where(act, visits.p_treated, visits.p_control)
    converted = traffic.outcomes(act).converted
    error = np.sqrt((truth * (1 - truth)).sum())
    assert abs(converted.sum() - truth.sum()) < 4 * error


def test_a_visit_has_one_fate_per_action() -> None:
    traffic = _traffic(3)
    act = np.arange(USERS) % 3 == 0
    together, apart = traffic.outcomes(act), traffic.outcomes(np.ones(USERS, dtype=bool))
    assert (together.converted[act] == apart.converted[act]).all()
    assert (together.value[~together.converted] == 0).all()


def test_sends_pseudonyms_to_the_log_and_raw_ids_to_the_server() -> None:
    traffic = _traffic(4)
    assert all(unit.startswith("p-") for unit in traffic.units[:100])
    assert len(set(traffic.units)) == USERS
    assert not traffic.instances["user_id"].str.startswith("p-").any()
    assert {"converted", "revenue", "lighter_page"} & set(traffic.instances) == set()
    assert traffic.times[0].tzinfo is not None


@pytest.mark.parametrize("seed", [5, 6])
def test_equal_seeds_give_equal_traffic(seed: int) -> None:
    first, second = _traffic(seed), _traffic(seed)
    act = np.ones(USERS, dtype=bool)
    assert first.instances.equals(second.instances)
    assert (first.outcomes(act).converted == second.outcomes(act).converted).all()
