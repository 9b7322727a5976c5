"""The commands of a rollout over a real store, log and models; only the sockets are left out."""

import getpass
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from trimtab import runtime
from trimtab.cli import rollout as cli
from trimtab.errors import BadInput, Unavailable
from trimtab.rollout.plan import RolloutPlan, build_plan, dump_plan
from trimtab.rollout.traffic import logged_traffic
from trimtab.steps import rollout, rollout_visits
from trimtab.steps.rollout_visits import Came
from trimtab.testing.ports import StepPorts
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, spec = np.random.default_rng(4), shop_spec()
    return shop_bundle(tmp_path_factory.mktemp("bundle") / "shop", shop_sessions(rng, spec), spec, rng=rng)


@pytest.fixture
def ports(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> StepPorts:
    found = StepPorts(tmp_path)
    found.registry.put("shop", 1, bundle, "champion")
    found.registry.put("shop", 2, bundle, "challenger")
    monkeypatch.setattr(runtime, "load", lambda _: found.as_ports())
    return found


def plan(**changes: object) -> RolloutPlan:
    raw = {
        "name": "checkout",
        "model": "shop",
        "planned_units": 10_000,
        "window_hours": 1,
        "ramp": [{"weight": 0.25, "eligible": {"device": ["mobile"]}}, {"weight": 0.5}],
        "lead_seconds": 0,
        "experiment": {"metrics": {"conversion": {"kind": "binary", "column": "conversion", "role": "primary"}}},
        **changes,
    }
    return build_plan(raw, where="the plan of this test")


def users(ports: StepPorts, *, number: int) -> Iterator[Came]:
    """Users of the shop who come through the router."""
    rng, spec = np.random.default_rng(5), shop_spec()
    traffic = logged_traffic(shop_sessions(rng, spec, rows=number), spec, users=number, rng=rng)
    return rollout_visits.visits(traffic, ports.as_ports(), url="memory://router", model="shop", batch=300)


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    cli.register(app)
    return CliRunner().invoke(app, ["rollout", *arguments])


def test_simulated_users_are_sent_with_what_decides_who_takes_part(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    steps = cli._drive(plan(), ports, coming=users(ports, number=600), pause=0)
    _, came = next(steps)
    logged = ports.events.read("checkout", "exposure")
    assert came.users == 300
    assert set(logged["device"]) == {"mobile"}
    assert 40 < len(logged) < 110  # half of the half that is mobile: the first step takes a share of 50%


def test_says_so_once_all_simulated_users_have_come(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    with pytest.raises(BadInput, match="all simulated users have come"):
        list(cli._drive(plan(), ports, coming=users(ports, number=300), pause=0))
    assert not ports.rollouts.state("checkout").over


def test_what_does_not_answer_for_a_while_ends_nothing(ports: StepPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout.start(plan(), ports.as_ports())
    steps = cli._drive(plan(), ports, coming=None, pause=0)
    next(steps)
    deploy, calls = ports.arms.deploy, []

    def away_once(*given: object, **named: object) -> object:
        calls.append(given)
        if len(calls) == 1:
            raise Unavailable("the server does not start.")
        return deploy(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ports.arms, "deploy", away_once)
    result, _ = next(steps)
    assert len(calls) > 1
    assert result.decision.action == "hold"


def test_a_tracker_that_is_away_is_only_said(
    ports: StepPorts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(*_: object, **__: object) -> None:
        raise Unavailable("the tracker does not answer.")

    rollout.start(plan(), ports.as_ports())
    monkeypatch.setattr(ports.tracker, "run", away)
    result, _ = next(cli._drive(plan(), ports, coming=None, pause=0))
    assert result.state.status == "ramping"
    assert "the tracker does not answer." in capsys.readouterr().err


def test_a_first_step_that_fails_is_an_error(ports: StepPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout.start(plan(), ports.as_ports())

    def away(*_: object, **__: object) -> None:
        raise Unavailable("the server does not start.")

    monkeypatch.setattr(ports.arms, "deploy", away)
    with pytest.raises(Unavailable):
        next(cli._drive(plan(), ports, coming=None, pause=0))


def test_a_user_without_a_name_is_asked_for_one(ports: StepPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr(getpass, "getuser", nameless)
    rollout.start(plan(), ports.as_ports())
    refused = invoke("abort", "checkout", "--why", "wrong prices")
    assert isinstance(refused.exception, BadInput)
    assert refused.exception.remedy == "Give --who."
    done = invoke("abort", "checkout", "--why", "wrong prices", "--who", "ann")
    assert done.exit_code == 0, done.output
    assert ports.rollouts.state("checkout").status == "aborted"


def test_a_command_is_left_for_the_process_that_drives(ports: StepPorts) -> None:
    rollout.start(plan(), ports.as_ports())
    with ports.rollouts.driving("checkout"):
        left = invoke("promote", "checkout", "--why", "the law asks for it", "--who", "ann")
        assert left.exit_code == 0, left.output
        waiting = ports.rollouts.next_command("checkout")
    assert waiting is not None
    assert (waiting.kind, waiting.who) == ("promote", "ann")
    assert ports.rollouts.state("checkout").status == "pending"


def test_shows_all_rollouts_and_simulates_a_plan(ports: StepPorts, tmp_path: Path) -> None:
    assert invoke("status").exit_code == 0
    rollout.start(plan(), ports.as_ports())
    listed = invoke("status", "--json")
    assert '"checkout"' in listed.stdout
    (tmp_path / "plan.yaml").write_text(dump_plan(plan()), encoding="utf-8")
    found = invoke("simulate", str(tmp_path / "plan.yaml"), "--metric", "conversion=0.1", "--runs", "5", "--json")
    assert found.exit_code == 0, found.output
    wrong = invoke("simulate", str(tmp_path / "plan.yaml"), "--metric", "conversion")
    assert isinstance(wrong.exception, BadInput)
