import numpy as np
import pytest

from trimtab.errors import BadInput
from trimtab.experiments.bandit import BanditState, allocation, choose, observe


def state_at(now: float, **changes: object) -> BanditState:
    given = {
        "exposed_arm": np.array(["a", "a", "b", "b"]),
        "exposed_at": np.array([0.0, 1.0, 0.0, 6.0]),
        "rewarded_at": np.array([2.0, np.inf, 20.0, 6.5]),
    } | changes
    return observe(["a", "b"], now=now, window=7.0, **given)  # type: ignore[arg-type]


def test_only_exposures_older_than_the_window_count() -> None:
    early = state_at(6.5)
    assert early.matured == {"a": (0, 0), "b": (0, 0)}
    assert early.pending == {"a": 2, "b": 2}
    later = state_at(8.0)
    assert later.matured == {"a": (1, 2), "b": (0, 1)}
    assert later.pending == {"a": 0, "b": 1}
    assert state_at(30.0).matured == {"a": (1, 2), "b": (1, 2)}


def test_the_future_is_not_seen() -> None:
    assert state_at(0.5).pending == {"a": 1, "b": 1}


def test_the_caveat_comes_with_the_state() -> None:
    assert "biased" in state_at(8.0).caveat


def test_allocation_has_a_floor_and_adds_up() -> None:
    shares = allocation(state_at(30.0), floor=0.2)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert min(shares.values()) >= 0.2
    drawn = choose(shares, 10_000, rng=np.random.default_rng(0))
    assert (drawn == "a").mean() == pytest.approx(shares["a"], abs=0.03)
    with pytest.raises(BadInput, match=r"floor of 0.6"):
        allocation(state_at(30.0), floor=0.6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exposed_arm": np.array(["a", "a", "b", "x"])}, r"arms \['x'\]"),
        ({"exposed_at": np.zeros(3)}, "4 arms, 3 and 4 times"),
        ({"rewarded_at": np.array([2.0, np.inf, -1.0, 6.5])}, "before its exposure"),
        ({"rewarded_at": np.array([2.0, np.nan, 1.0, 6.5])}, "before its exposure"),
    ],
)
def test_wrong_input_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        state_at(8.0, **changes)
    with pytest.raises(BadInput, match="window is 0"):
        observe(["a"], exposed_arm=np.array([]), exposed_at=np.zeros(0), rewarded_at=np.zeros(0), now=0, window=0)
