"""A rollout from step to step over a real event log, store, routes and bundles; only the sockets are left out."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from trimtab.adapters.routes import FileRoutes
from trimtab.errors import BadInput, NotFound, Unavailable
from trimtab.experiments.assignment import assign
from trimtab.rollout.audit import AuditEntry, replay
from trimtab.rollout.observation import Command, Observation
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan, build_plan
from trimtab.rollout.route import Route
from trimtab.steps import rollout
from trimtab.steps.rollout_converge import converge, server_name
from trimtab.steps.rollout_observe import observe
from trimtab.testing.ports import StepPorts
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec
from trimtab.types import Endpoint, Event, ModelVersion


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, spec = np.random.default_rng(4), shop_spec(users=False)
    return shop_bundle(tmp_path_factory.mktemp("bundle") / "shop", shop_sessions(rng, spec), spec, rng=rng)


@pytest.fixture
def ports(tmp_path: Path, bundle: Path) -> StepPorts:
    found = StepPorts(tmp_path)
    found.registry.put("shop", 1, bundle, "champion")
    found.registry.put("shop", 2, bundle, "challenger")
    return found


def plan(**changes: object) -> RolloutPlan:
    raw = {
        "name": "checkout",
        "model": "shop",
        "planned_units": 4_000,
        "window_hours": 1,
        "ramp": [{"weight": 0.25, "units": 200}, {"weight": 0.5}],
        "looks": {"units": 400},
        "lead_seconds": 0,
        "experiment": {"metrics": {"conversion": {"kind": "binary", "column": "conversion", "role": "primary"}}},
        **changes,
    }
    return build_plan(raw, where="the plan of this test")


class Shop:
    """Users who meet the route as a router would send them, and what comes of it."""

    def __init__(self, ports: StepPorts, *, control: float, treatment: float, seed: int = 3) -> None:
        self.ports = ports
        self.rates = {CONTROL: control, TREATMENT: treatment}
        self.rng = np.random.default_rng(seed)
        self.seen = 0

    def come(self, users: int, *, failing: float = 0.0, version: str = "", earlier: timedelta = timedelta()) -> None:
        """Some new users are assigned by the route in force and logged with their outcomes, as if some time ago."""
        route, now = self.ports.routes.get("shop"), datetime.now(UTC)
        assert route is not None
        experiment = route.experiment_at(now)
        if experiment is None:
            return
        now -= earlier
        units = [f"u{self.seen + number}" for number in range(users)]
        self.seen += users
        arms = assign(units, experiment)
        events = []
        for unit, arm in zip(units, arms, strict=True):
            if not arm:
                continue
            broken = arm == TREATMENT and self.rng.random() < failing
            events.append(
                Event(
                    f"x-{unit}", "exposure", experiment.name, unit, now, arm=arm, latency_ms=5.0,
                    version=version or str(route.arms[arm].version), fallback="timeout" if broken else "",
                    served_by=CONTROL if broken else "",
                )
            )  # fmt: skip
            if self.rng.random() < self.rates[arm]:
                events.append(Event(f"o-{unit}", "outcome", experiment.name, unit, now, metric="conversion", value=1.0))
        self.ports.events.append(events)


def step(ports: StepPorts, name: str = "checkout") -> rollout.Result:
    """One step at which every window of the users so far has closed."""
    until = datetime.now(UTC) + timedelta(hours=1, seconds=1)
    return rollout.run(rollout.Config(name, known_until=until), ports.as_ports())


def promote(ports: StepPorts, name: str) -> None:
    rollout.ask(name, Command("promote", "ann", "the law asks for it", datetime.now(UTC)), ports.as_ports())


def drive(ports: StepPorts, shop: Shop, *, users: int = 800, steps: int = 40) -> rollout.Result:
    """Steps and users in turn until the rollout is over."""
    for _ in range(steps):
        result = step(ports)
        if result.state.over:
            return result
        shop.come(users)
    pytest.fail("the rollout does not end")


def test_ships_a_better_version_and_moves_the_alias(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    result = drive(ports, Shop(ports, control=0.10, treatment=0.20))
    assert result.state.status == "shipped"
    assert ports.registry.resolve("shop", "champion").version == 2
    with pytest.raises(NotFound):
        ports.registry.resolve("shop", "challenger")
    route = ports.routes.get("shop")
    assert route is not None
    assert {arm: target.version for arm, target in route.arms.items()} == {TREATMENT: 2}


def test_takes_a_worse_version_back_before_half_of_the_plan(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    result = drive(ports, Shop(ports, control=0.20, treatment=0.10))
    assert result.state.status == "rolled_back"
    assert result.state.looks[-1].information < 2_000
    assert ports.registry.resolve("shop", "champion").version == 1
    with pytest.raises(NotFound):
        ports.registry.resolve("shop", "challenger")


def test_holds_an_equal_version_at_the_end(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    result = drive(ports, Shop(ports, control=0.15, treatment=0.15))
    assert result.state.status == "held"
    assert ports.registry.resolve("shop", "champion").version == 1
    assert ports.registry.resolve("shop", "challenger").version == 2


def test_no_data_never_grows(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    decisions = [step(ports).decision.action for _ in range(5)]
    assert decisions == ["start_ramp", "hold", "hold", "hold", "hold"]


def test_exposures_without_any_outcome_never_grow(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    step(ports)
    Shop(ports, control=0.0, treatment=0.0).come(4_000)
    assert step(ports).state.step == 0


def test_takes_back_a_version_whose_server_fails(ports: StepPorts) -> None:
    rollout.start(plan(service={"error_rate": {"margin": 0.02}}), ports.as_ports())
    step(ports)
    Shop(ports, control=0.1, treatment=0.1).come(800, failing=0.5)
    result = step(ports)
    assert result.state.status == "rolled_back"
    assert "guardrail error rate" in {line.name for line in result.decision.criteria if line.status == "fail"}


def test_takes_back_where_another_version_slipped_in(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    step(ports)
    Shop(ports, control=0.1, treatment=0.1).come(400, version="7")
    assert step(ports).state.status == "rolled_back"


def test_a_person_may_promote_and_the_version_says_who(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    step(ports)
    rollout.ask("checkout", Command("promote", "ann", "the law asks for it", datetime.now(UTC)), ports.as_ports())
    result = step(ports)
    assert result.state.status == "shipped"
    assert "ann" in ports.registry.resolve("shop", "champion").tags["promoted_by"]
    with pytest.raises(BadInput, match="has ended"):
        rollout.ask("checkout", Command("abort", "bob", "no", datetime.now(UTC)), ports.as_ports())


def test_goes_on_after_a_kill_between_the_record_and_the_world(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    shop = Shop(ports, control=0.10, treatment=0.25)
    for _ in range(40):
        result = rollout.run(
            rollout.Config("checkout", known_until=datetime.now(UTC) + timedelta(hours=2), follow=False),
            ports.as_ports(),
        )
        if result.state.over:
            break
        converge(plan(), result.state, ports.as_ports(), clock=lambda: datetime.now(UTC))
        shop.come(800)
    assert result.state.status == "shipped"
    assert ports.registry.resolve("shop", "champion").version == 1  # nobody made the world follow yet
    step(ports)
    assert ports.registry.resolve("shop", "champion").version == 2


def test_the_losing_server_goes_once_nobody_can_be_sent_to_it(ports: StepPorts) -> None:
    wanted = plan()
    rollout.start(wanted, ports.as_ports())
    result = drive(ports, Shop(ports, control=0.20, treatment=0.05))
    assert server_name(wanted, TREATMENT) in ports.arms.running
    later = result.state.since + timedelta(minutes=1)
    assert converge(wanted, result.state, ports.as_ports(), clock=lambda: later).drained
    assert ports.arms.running == {server_name(wanted, CONTROL)}


def test_every_decision_is_tracked_with_its_evidence_and_replays(ports: StepPorts) -> None:
    wanted = plan()
    rollout.start(wanted, ports.as_ports())
    result = drive(ports, Shop(ports, control=0.20, treatment=0.10))
    entries = list(ports.rollouts.audit("checkout"))
    assert replay(wanted, entries) == result.state
    tracked = ports.tracker.runs["rollouts/checkout"]
    assert tracked.noted["decision"] == "roll_back"
    assert len(tracked.artifacts) == sum(
        entry.decision.action != "hold" or entry.seen.look is not None for entry in entries
    )


def test_decisions_of_a_time_without_a_tracker_are_recorded_once_it_is_back(
    ports: StepPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(name: str, *, experiment: str, resume: bool = False) -> NoReturn:
        raise Unavailable("the tracker is away.")

    rollout.start(plan(), ports.as_ports())
    with monkeypatch.context() as patched:
        patched.setattr(ports.tracker, "run", away)
        assert step(ports).untracked == "the tracker is away."
        promote(ports, "checkout")
        assert step(ports).untracked == "the tracker is away."
    assert ports.rollouts.state("checkout").status == "shipped"  # deciding waits for nobody
    assert not step(ports).untracked
    step(ports)
    actions = [
        name.removesuffix(".json").rpartition("-")[2] for name in ports.tracker.runs["rollouts/checkout"].artifacts
    ]
    assert actions == ["start_ramp", "ship"]


def test_of_two_rollouts_of_a_model_that_start_at_once_one_is_refused(
    ports: StepPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ports.registry.resolve

    def slow(name: str, reference: str) -> ModelVersion:
        time.sleep(0.05)
        return asked(name, reference)

    monkeypatch.setattr(ports.registry, "resolve", slow)
    with ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(rollout.start, plan(name=name), ports.as_ports()) for name in ("first", "second")]
    refused = [str(start.exception()) for start in starts if start.exception()]
    assert len(refused) == 1
    assert "has not ended" in refused[0]
    assert len(ports.rollouts.names()) == 1


def test_what_was_asked_of_a_rollout_that_has_ended_waits_for_nobody(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    for kind in ("promote", "abort"):
        ports.rollouts.ask("checkout", Command(kind, "Ann", "law", datetime.now(UTC)))
    assert rollout.status("checkout", ports.as_ports()).waiting is not None
    step(ports)
    assert rollout.status("checkout", ports.as_ports()).waiting is None


def test_starting_again_goes_on_and_another_plan_is_refused(ports: StepPorts) -> None:
    first = rollout.start(plan(), ports.as_ports())
    assert rollout.start(plan(), ports.as_ports()) == first
    with pytest.raises(BadInput, match="another plan"):
        rollout.start(plan(planned_units=5_000), ports.as_ports())
    with pytest.raises(BadInput, match="has not ended"):
        rollout.start(plan(name="second"), ports.as_ports())


def test_an_ended_rollout_leaves_route_and_alias_to_the_next_one(ports: StepPorts, bundle: Path) -> None:
    rollout.start(plan(), ports.as_ports())
    promote(ports, "checkout")
    step(ports)
    ports.registry.put("shop", 3, bundle, "challenger")
    rollout.start(plan(name="next"), ports.as_ports())
    promote(ports, "next")
    step(ports, "next")
    route = ports.routes.get("shop")
    again = step(ports)  # as `trimtab rollout start` with the first plan does
    assert (again.state.status, again.drained) == ("shipped", True)
    assert ports.routes.get("shop") == route
    assert ports.registry.resolve("shop", "champion").version == 3


def test_revisions_of_a_route_grow_from_one_rollout_to_the_next(ports: StepPorts, bundle: Path) -> None:
    rollout.start(plan(), ports.as_ports())
    promote(ports, "checkout")
    step(ports)
    first = ports.routes.get("shop")
    ports.registry.put("shop", 3, bundle, "challenger")
    rollout.start(plan(name="next"), ports.as_ports())
    step(ports, "next")
    second = ports.routes.get("shop")
    step(ports, "next")
    assert first is not None
    assert second is not None
    assert second.revision > first.revision
    assert ports.routes.get("shop") == second  # nothing changed, so nothing was published


def test_the_next_rollout_removes_the_servers_of_the_one_before(ports: StepPorts, bundle: Path) -> None:
    first, second = plan(timeout_ms=1), plan(name="next", timeout_ms=1)
    rollout.start(first, ports.as_ports())
    promote(ports, "checkout")
    step(ports)
    ports.registry.put("shop", 3, bundle, "challenger")
    begun = rollout.start(second, ports.as_ports())
    step(ports, "next")
    assert server_name(first, TREATMENT) in ports.arms.running  # routers may not have heard of the new route yet
    over = replace(begun, status="aborted", since=datetime.now(UTC) - timedelta(minutes=1))
    decision = next(iter(ports.rollouts.audit("next"))).decision
    ports.rollouts.record("next", AuditEntry(Observation(over.since), decision, over))
    ports.hearing = timedelta(seconds=30)
    assert not step(ports, "next").drained  # routers are told only now
    route = ports.routes.get("shop")
    assert route is not None
    ports.routes.publish(replace(route, published=over.since))
    assert step(ports, "next").drained
    assert ports.arms.running == {server_name(second, CONTROL)}


def test_a_shipped_version_becomes_champion_before_the_next_rollout(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    promote(ports, "checkout")
    rollout.run(rollout.Config("checkout", follow=False), ports.as_ports())
    with pytest.raises(BadInput, match="the alias has not moved yet"):
        rollout.start(plan(name="next", control="1", treatment="2"), ports.as_ports())
    step(ports)
    rollout.start(plan(name="next", control="1", treatment="2"), ports.as_ports())


def test_who_promoted_is_known_also_where_another_process_makes_the_world_follow(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    promote(ports, "checkout")
    rollout.run(rollout.Config("checkout", follow=False), ports.as_ports())
    step(ports)
    assert "ann" in ports.registry.resolve("shop", "champion").tags["promoted_by"]


def test_a_tracker_that_is_away_keeps_nobody_with_the_version_that_was_taken_back(
    ports: StepPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout.start(plan(service={"error_rate": {"margin": 0.02}}), ports.as_ports())
    step(ports)
    Shop(ports, control=0.1, treatment=0.1).come(800, failing=0.5)

    def away(*_: object, **__: object) -> None:
        raise Unavailable("the tracker does not answer.")

    monkeypatch.setattr(ports.tracker, "run", away)
    assert step(ports).state.status == "rolled_back"
    route = ports.routes.get("shop")
    assert route is not None
    assert set(route.arms) == {CONTROL}


def test_rollouts_whose_servers_would_share_a_name_are_refused(ports: StepPorts) -> None:
    rollout.start(plan(name="check-out"), ports.as_ports())
    with pytest.raises(BadInput, match="named like those of rollout 'check-out'"):
        rollout.start(plan(name="check_out"), ports.as_ports())


def test_units_count_once_their_outcomes_have_had_time_to_arrive(ports: StepPorts) -> None:
    wanted, hour = plan(reporting_minutes=30), timedelta(hours=1)
    rollout.start(wanted, ports.as_ports())
    begun = step(ports).state
    moved = replace(begun, since=begun.since - 3 * hour, steps=(begun.steps[0] - 3 * hour,))
    shop = Shop(ports, control=0.1, treatment=0.1)
    shop.come(4_000, earlier=hour + timedelta(minutes=29))
    now = datetime.now(UTC)
    early = observe(wanted, moved, ports.as_ports(), now=now)
    late = observe(wanted, moved, ports.as_ports(), now=now + timedelta(minutes=2))
    assert (early.look, early.open_windows) == (None, early.enrolled)
    assert (late.look is not None, late.open_windows) == (True, 0)


def test_units_that_met_both_arms_bring_no_look_forward(ports: StepPorts) -> None:
    wanted = plan()
    rollout.start(wanted, ports.as_ports())
    state = step(ports).state
    now = datetime.now(UTC)
    Shop(ports, control=0.1, treatment=0.1).come(900)
    ports.events.append(
        Event(f"{arm}-{number}", "exposure", "checkout", f"both-{number}", now, arm=arm, version=version)
        for number in range(500)
        for arm, version in ((CONTROL, "1"), (TREATMENT, "2"))
    )
    seen = observe(wanted, state, ports.as_ports(), now=now, known_until=now + timedelta(hours=2))
    assert 350 < seen.enrolled < 400 + 150  # about half of the 900, and none of the 500
    assert (seen.look is not None) == (seen.enrolled >= wanted.look_units)


@pytest.mark.parametrize(("fallback", "expected"), [("", "fail"), ("timeout", "open")])
def test_calibration_is_judged_by_what_the_treatment_itself_predicted(
    ports: StepPorts, fallback: str, expected: str
) -> None:
    wanted = plan(service={"calibration": {"margin": 0.05}})
    rollout.start(wanted, ports.as_ports())
    state = step(ports).state
    now = datetime.now(UTC)
    units = [(f"u{number}", (CONTROL, TREATMENT)[number % 2]) for number in range(2_000)]
    ports.events.append(
        Event(
            f"x-{unit}", "exposure", "checkout", unit, now, arm=arm, version=str(1 + (arm == TREATMENT)),
            fallback=fallback if arm == TREATMENT else "", probability=0.6,
        )
        for unit, arm in units
    )  # fmt: skip
    ports.events.append(
        Event(f"o-{unit}", "outcome", "checkout", unit, now, metric="conversion", value=1.0)
        for number, (unit, _) in enumerate(units)
        if number % 20 < 2
    )
    look = observe(wanted, state, ports.as_ports(), now=now, known_until=now + timedelta(hours=2)).look
    assert look is not None
    assert {line.status for line in look.criteria if line.name == "guardrail calibration"} == {expected}


def test_what_is_decided_starts_once_all_routers_have_heard_of_it(ports: StepPorts) -> None:
    ports.hearing = timedelta(seconds=90)
    rollout.start(plan(lead_seconds=0), ports.as_ports())
    begun = step(ports).state
    assert begun.since - step(ports).decision.time > timedelta(seconds=80)
    assert replay(plan(lead_seconds=0), list(ports.rollouts.audit("checkout"))) == begun


def test_servers_run_before_anything_is_decided(ports: StepPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may take longer than routers do to hear of a step: it would have begun before anybody knew of it."""

    def broken(model: ModelVersion, *, arm: str) -> Endpoint:
        raise Unavailable(f"arm '{arm}' has no node.")

    rollout.start(plan(), ports.as_ports())
    with monkeypatch.context() as patched:
        patched.setattr(ports.arms, "deploy", broken)
        with pytest.raises(Unavailable, match="no node"):
            step(ports)
        assert ports.rollouts.state("checkout").status == "pending"
        assert ports.routes.get("shop") is None
        ports.rollouts.ask("checkout", Command("abort", "ann", "no nodes", datetime.now(UTC)))
        with pytest.raises(Unavailable, match="no node"):
            step(ports)
    assert ports.rollouts.state("checkout").status == "aborted"  # no command waits for a server


def test_the_losing_server_s_time_counts_from_the_publication(
    ports: StepPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The routes may have been out of reach for long since the decision; routers send requests by the old one."""

    def away(routes: FileRoutes, route: Route) -> NoReturn:
        raise Unavailable("the API is away.")

    wanted, ports.hearing = plan(), timedelta(seconds=90)
    rollout.start(wanted, ports.as_ports())
    step(ports)
    promote(ports, "checkout")
    with monkeypatch.context() as patched:
        patched.setattr(FileRoutes, "publish", away)
        with pytest.raises(Unavailable):
            step(ports)
    state, much_later = ports.rollouts.state("checkout"), datetime.now(UTC) + timedelta(hours=1)
    assert not converge(wanted, state, ports.as_ports(), clock=lambda: much_later).drained
    assert server_name(wanted, CONTROL) in ports.arms.running
    after = much_later + timedelta(minutes=2)
    assert converge(wanted, state, ports.as_ports(), clock=lambda: after).drained
    assert ports.arms.running == {server_name(wanted, TREATMENT)}
