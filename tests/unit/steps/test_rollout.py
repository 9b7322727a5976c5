"""A rollout from step to step over a real event log, store, routes and bundles; only the sockets are left out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from trimtab.errors import BadInput, NotFound
from trimtab.experiments.assignment import assign
from trimtab.rollout.audit import replay
from trimtab.rollout.observation import Command
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan, build_plan
from trimtab.steps import rollout
from trimtab.steps.rollout_converge import converge, server_name
from trimtab.testing.ports import StepPorts
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec
from trimtab.types import Event


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

    def come(self, users: int, *, failing: float = 0.0, version: str = "") -> None:
        """Some new users are assigned by the route in force and logged with their outcomes."""
        route, now = self.ports.routes.get("shop"), datetime.now(UTC)
        assert route is not None
        experiment = route.experiment_at(now)
        if experiment is None:
            return
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


def step(ports: StepPorts) -> rollout.Result:
    """One step at which every window of the users so far has closed."""
    until = datetime.now(UTC) + timedelta(hours=1, seconds=1)
    return rollout.run(rollout.Config("checkout", known_until=until), ports.as_ports())


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
        converge(plan(), result.state, ports.as_ports(), now=datetime.now(UTC))
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
    assert converge(wanted, result.state, ports.as_ports(), now=later).drained
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


def test_starting_again_goes_on_and_another_plan_is_refused(ports: StepPorts) -> None:
    first = rollout.start(plan(), ports.as_ports())
    assert rollout.start(plan(), ports.as_ports()) == first
    with pytest.raises(BadInput, match="another plan"):
        rollout.start(plan(planned_units=5_000), ports.as_ports())
    with pytest.raises(BadInput, match="has not ended"):
        rollout.start(plan(name="second"), ports.as_ports())
