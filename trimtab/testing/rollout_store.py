"""What every `RolloutStore` must do: subclass the suite and give it a `store` fixture."""

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trimtab.errors import BadInput, NotFound, Unavailable
from trimtab.ports import RolloutStore
from trimtab.rollout.audit import AuditEntry, replay
from trimtab.rollout.machine import advance
from trimtab.rollout.observation import Command, Observation
from trimtab.rollout.plan import RolloutPlan, build_plan
from trimtab.rollout.service import ServiceLevel
from trimtab.rollout.state import RolloutState, begin

START = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


def plan_of(name: str = "checkout", **fields: Any) -> RolloutPlan:
    """A small plan, with other fields where given."""
    return build_plan(
        {
            "name": name,
            "model": "conversion",
            "planned_units": 20_000,
            "window_hours": 24,
            "shadow": {"requests": 100},
            "ramp": [{"weight": 0.05, "minutes": 60}, {"weight": 0.25, "minutes": 60}, {"weight": 0.5}],
            "experiment": {"metrics": {"conversion": {"kind": "binary", "column": "conversion"}}},
            "service": {"error_rate": {"margin": 0.01}, "latency_p99": {"margin": 0.2}},
            **fields,
        },
        where="the plan",
    )


def started(plan: RolloutPlan) -> RolloutState:
    """The state that the plan begins with."""
    return begin(plan, control=3, treatment=4, now=START)


def level(requests: int, failures: int = 0, p99: float = 20.0) -> ServiceLevel:
    """A service level with a narrow interval."""
    return ServiceLevel(requests, failures, p99 / 2, p99, p99 * 0.97, p99 * 1.03)


def decided(plan: RolloutPlan, state: RolloutState, seen: Observation) -> AuditEntry:
    """What `advance` makes of an observation."""
    after, decision = advance(plan, state, seen)
    return AuditEntry(seen, decision, after)


class RolloutStoreContract:
    """The suite."""

    @pytest.fixture
    def store(self) -> RolloutStore:
        """The store under test; empty."""
        raise NotImplementedError

    def test_keeps_a_rollout(self, store: RolloutStore) -> None:
        """Plan and state come back equal; names are in order."""
        for name in ("prices", "checkout"):
            store.create(plan_of(name), started(plan_of(name)))
        assert store.names() == ["checkout", "prices"]
        assert store.plan("prices") == plan_of("prices")
        assert store.state("prices") == started(plan_of("prices"))
        assert list(store.audit("prices")) == []

    def test_a_name_is_used_once(self, store: RolloutStore) -> None:
        """Another rollout of the name would share units with the first, which stays as it is."""
        store.create(plan_of(), started(plan_of()))
        with pytest.raises(BadInput, match="already"):
            store.create(plan_of(planned_units=40_000), started(plan_of()))
        assert store.plan("checkout").planned_units == 20_000
        assert store.names() == ["checkout"]

    def test_decisions_are_kept_in_order_and_replay(self, store: RolloutStore) -> None:
        """The state is that of the last decision, and follows from the log."""
        plan = plan_of()
        store.create(plan, started(plan))
        seen = [
            Observation(START),
            Observation(START + timedelta(minutes=5), levels={"control": level(900)}, shadow={"treatment": level(300)}),
            Observation(START + timedelta(minutes=9), levels={"control": level(90), "treatment": level(90, 60)}),
        ]
        entries = []
        for one in seen:
            entries.append(decided(plan, store.state("checkout"), one))
            store.record("checkout", entries[-1])
            assert store.state("checkout") == entries[-1].state
        assert list(store.audit("checkout")) == entries
        assert replay(plan, list(store.audit("checkout"))) == store.state("checkout")
        assert store.state("checkout").status == "rolled_back"

    def test_commands_wait_until_a_decision_answers_them(self, store: RolloutStore) -> None:
        """The oldest comes first, and again until a decision that saw it is recorded."""
        plan = plan_of()
        store.create(plan, started(plan))
        assert store.next_command("checkout") is None
        first = Command("promote", "Ada", "Looks good.", START)
        second = Command("abort", "Bo", "It does not.", START + timedelta(seconds=1))
        store.ask("checkout", second)
        store.ask("checkout", first)
        assert store.next_command("checkout") == store.next_command("checkout") == first
        store.record("checkout", decided(plan, store.state("checkout"), Observation(START, command=first)))
        assert store.next_command("checkout") == second

    def test_one_at_a_time_drives_a_rollout(self, store: RolloutStore) -> None:
        """A second driver is told so; other rollouts are free, and so is this one afterwards."""
        for name in ("checkout", "prices"):
            store.create(plan_of(name), started(plan_of(name)))
        with store.driving("checkout"):
            with pytest.raises(Unavailable, match="another process"), store.driving("checkout"):
                pass
            with store.driving("prices"):
                pass
        with store.driving("checkout"):
            pass

    def test_remembers_what_the_tracker_heard_of(self, store: RolloutStore) -> None:
        """Nothing at first; then what was said last."""
        store.create(plan_of(), started(plan_of()))
        assert store.tracked("checkout") == 0
        for count in (1, 12):
            store.mark_tracked("checkout", count)
            assert store.tracked("checkout") == count
        with pytest.raises(NotFound):
            store.mark_tracked("nothing", 1)

    def test_one_at_a_time_starts(self, store: RolloutStore) -> None:
        """The second one sees what the first one made."""
        seen: list[list[str]] = []

        def start() -> None:
            with store.starting():
                seen.append(list(store.names()))
                time.sleep(0.05)
                name = f"rollout-{len(seen)}"
                store.create(plan_of(name), started(plan_of(name)))

        threads = [threading.Thread(target=start) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [len(names) for names in seen] == [0, 1, 2]

    @pytest.mark.parametrize("absent", ["nothing", "", "..", "../checkout", "checkout/..", ".hidden"])
    def test_absent_is_not_found(self, store: RolloutStore, absent: str) -> None:
        """Whatever is asked of it, also where the name looks like a path."""
        store.create(plan_of(), started(plan_of()))
        entry = decided(plan_of(), started(plan_of()), Observation(START))
        command = Command("abort", "Ada", "Why not.", START)
        for ask in (
            store.plan,
            store.state,
            store.next_command,
            store.tracked,
            lambda name: next(iter(store.audit(name)), None),
        ):
            with pytest.raises(NotFound, match="no rollout"):
                ask(absent)
        with pytest.raises(NotFound):
            store.record(absent, entry)
        with pytest.raises(NotFound):
            store.ask(absent, command)
        with pytest.raises(NotFound), store.driving(absent):
            pass

    def test_levels_that_are_unknown_survive(self, store: RolloutStore) -> None:
        """A percentile without an upper bound: JSON has no infinity, and the decision follows all the same."""
        plan = plan_of()
        store.create(plan, started(plan))
        open_ended = replace(level(30), latency_p99_high_ms=float("inf"))
        seen = Observation(START, levels={"control": open_ended}, shadow={"treatment": open_ended})
        store.record("checkout", decided(plan, started(plan), seen))
        assert replay(plan, list(store.audit("checkout"))) == store.state("checkout")
