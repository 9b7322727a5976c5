"""`trimtab rollout`: bring a version to its users step by step, and take it back or ship it by what they do."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import typer

from trimtab.cli import console
from trimtab.errors import BadInput, Unavailable

_START = (
    "Examples: trimtab rollout start examples/rollout/better.yaml; with simulated users: trimtab rollout start "
    "examples/rollout/better.yaml --world .trimtab/data/simulated-80000-7 --users 40000\n\n"
)
_HEARING_SECONDS = 1.5  # The router looks for new routes twice a second.
_FLUSH_SECONDS = 1.5  # The router brings what it logs to the log within a second.
_IDLE_STEPS = 3  # Steps without anybody coming and without a decision, after which nothing can change any more.

NameArgument = Annotated[str, typer.Argument(help="Name of the rollout.")]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, for the audit log.")]
WhoOption = Annotated[str, typer.Option("--who", help="Who decides; you, where absent.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Bring a version to its users: shadow, ramp, ship or take back.", no_args_is_help=True)
    group.command("start", epilog=_START + console.EXIT_CODES)(start)
    group.command("status", epilog=console.example("trimtab rollout status checkout-v4"))(status)
    group.command("step", epilog=console.example("trimtab rollout step checkout-v4 --profile cluster"))(step)
    group.command("promote", epilog=console.example("trimtab rollout promote checkout-v4 --why 'legal asks for it'"))(
        promote
    )
    group.command("abort", epilog=console.example("trimtab rollout abort checkout-v4 --why 'wrong prices'"))(abort)
    group.command(
        "simulate",
        epilog=console.example("trimtab rollout simulate plan.yaml --metric conversion=0.12 --lift 0.05"),
    )(simulate)
    app.add_typer(group, name="rollout")


def start(
    *,
    plan: Annotated[str, typer.Argument(help="Rollout plan (YAML).")],
    world: Annotated[str, typer.Option("--world", help="Simulated world whose users come; none where absent.")] = "",
    spec: Annotated[str, typer.Option("--spec", help="Dataset spec of the world's sessions.")] = "ux_sessions",
    users: Annotated[int, typer.Option("--users", min=1, help="Simulated users who come at most.")] = 40_000,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Simulated users between two steps.")] = 2_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the simulated users.")] = 7,
    every: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two steps without them.")] = 15.0,
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Start a rollout, or go on with one, and drive it to its end: servers, router, looks, decisions."""
    from trimtab import runtime
    from trimtab.cli.rollout_table import decision_line, status_view
    from trimtab.rollout.plan import load_plan
    from trimtab.steps import rollout, rollout_visits

    ports = runtime.load(profile)
    wanted = load_plan(plan)
    config = rollout_visits.Config(world, spec, users=users, seed=seed)
    traffic = rollout_visits.users(config, ports) if world else None
    rollout.start(wanted, ports)
    with ports.rollouts.driving(wanted.name), _serving(ports) as url:
        console.err.print(f"The router answers at {url}.", highlight=False)
        coming = None
        if traffic is not None:
            coming = rollout_visits.visits(traffic, ports, url=url, model=wanted.model, batch=batch)
        pause = every if traffic is None else _FLUSH_SECONDS
        for result, came in _drive(wanted, ports, coming=coming, pause=pause):
            draining = result.state.over and result.decision.action == "hold"
            if not (as_json or draining):
                console.err.print(decision_line(result, came), highlight=False, soft_wrap=True)
    found = rollout.status(wanted.name, ports)
    console.emit(found, as_json=as_json, render=lambda: console.out.print(status_view(found)))


def status(
    *,
    name: Annotated[str, typer.Argument(help="Name of the rollout; all of them where absent.")] = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Where a rollout stands, what was decided and why."""
    from trimtab import runtime
    from trimtab.cli.rollout_table import rollouts_table, status_view
    from trimtab.steps import rollout

    ports = runtime.load(profile)
    found = [rollout.status(one, ports) for one in ([name] if name else ports.rollouts.names())]
    result = found[0] if name else found
    shown = status_view(found[0]) if name else rollouts_table(found)
    console.emit(result, as_json=as_json, render=lambda: console.out.print(shown))


def step(*, name: NameArgument, profile: console.ProfileOption = "local", as_json: console.JsonOption = False) -> None:
    """Take one decision now, where no other process drives the rollout."""
    from trimtab import runtime
    from trimtab.cli.rollout_table import decision_line
    from trimtab.steps import rollout

    ports = runtime.load(profile)
    with ports.rollouts.driving(name):
        result = _taken(rollout.Config(name, follow=ports.deployer.lasting), ports)
    console.emit(result, as_json=as_json, render=lambda: console.out.print(decision_line(result), highlight=False))


def promote(
    *,
    name: NameArgument,
    why: WhyOption,
    who: WhoOption = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Ship the version now, whatever the looks say; who and why stay in the audit log."""
    _command("promote", name, who=who, why=why, profile=profile, as_json=as_json)


def abort(
    *,
    name: NameArgument,
    why: WhyOption,
    who: WhoOption = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """End the rollout now: everyone is answered by control."""
    _command("abort", name, who=who, why=why, profile=profile, as_json=as_json)


def simulate(
    *,
    plan: Annotated[str, typer.Argument(help="Rollout plan (YAML).")],
    metric: Annotated[
        list[str], typer.Option("--metric", help="NAME=RATE, or NAME=MEAN:DEVIATION: each metric in control.")
    ],
    lift: Annotated[float, typer.Option("--lift", help="True relative effect on the primary metric.")] = 0.0,
    per_day: Annotated[float, typer.Option("--per-day", min=1, help="Units that come for the first time a day.")] = 4e3,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Simulated rollouts.")] = 200,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds give equal results.")] = 7,
    as_json: console.JsonOption = False,
) -> None:
    """How often a plan ships, takes back and holds a version of known worth, and how many users meet it."""
    import numpy as np

    from trimtab.cli.rollout_table import simulation_view
    from trimtab.rollout.plan import load_plan
    from trimtab.rollout.simulation import Truth, simulate_rollouts, summarise

    wanted = load_plan(plan)
    truth = Truth(_truths(metric, primary=wanted.experiment.primary or "", lift=lift), per_day)
    result = summarise(wanted, truth, simulate_rollouts(wanted, truth, runs=runs, rng=np.random.default_rng(seed)))
    console.emit(result, as_json=as_json, render=lambda: console.out.print(simulation_view(result, lift)))


def _truths(texts: list[str], *, primary: str, lift: float) -> dict[str, Any]:
    from trimtab.rollout.simulation import MetricTruth

    found = {}
    for text in texts:
        name, _, numbers = text.partition("=")
        try:
            level, _, deviation = numbers.partition(":")
            found[name] = MetricTruth(float(level), lift if name == primary else 0.0, float(deviation or 0))
        except ValueError as error:
            raise BadInput(f"--metric '{text}' is not NAME=RATE or NAME=MEAN:DEVIATION.") from error
    return found


def _command(kind: Literal["promote", "abort"], name: str, *, who: str, why: str, profile: str, as_json: bool) -> None:
    """Leave the command, and carry it out at once where nobody else drives the rollout."""
    from trimtab import runtime
    from trimtab.cli.rollout_table import status_view
    from trimtab.rollout.observation import Command
    from trimtab.steps import rollout

    ports = runtime.load(profile)
    command = Command(kind, who or console.user(), why, datetime.now(UTC))
    rollout.ask(name, command, ports)
    driving = False
    try:
        with ports.rollouts.driving(name):
            driving = True
            _taken(rollout.Config(name, follow=ports.deployer.lasting), ports)
        if not ports.deployer.lasting:
            console.err.print(
                "Recorded. Nobody serves the arms: start the rollout once more, and routes and aliases follow.",
                highlight=False,
            )
    except Unavailable as error:
        if driving:
            raise
        console.err.print(f"{error.message} It takes up the command at its next step.", highlight=False, markup=False)
    found = rollout.status(name, ports)
    console.emit(found, as_json=as_json, render=lambda: console.out.print(status_view(found)))


@contextmanager
def _serving(ports: Any) -> Iterator[str]:
    """The router, and servers that end with this process in good order."""
    try:
        yield ports.router.open()
    except KeyboardInterrupt:
        console.err.print("\nStopped; the same command goes on from here.")
        raise typer.Exit(1) from None
    finally:
        ports.router.close()
        if not ports.deployer.lasting:
            ports.deployer.close()


def _drive(plan: Any, ports: Any, *, coming: Iterator[Any] | None, pause: float) -> Iterator[tuple[Any, Any]]:
    """One step after the other until the rollout has ended and is drained; simulated users come in between.

    What does not answer for a while ends nothing: servers and router go on, and the next step tries again.

    Raises:
        Unavailable: The first step fails.
        BadInput: All simulated users have come, and the rollout waits for more.
    """
    settled: datetime | None = None
    result, idle, told = None, 0, None
    while True:
        try:
            result = _step(plan.name, ports, known_until=settled)
        except Unavailable as error:
            if result is None:
                raise
            console.err.print(f"{error} The next step tries again.", highlight=False, markup=False)
            time.sleep(pause)
            continue
        came = None
        if not result.state.over and coming is not None:
            told, before = (result.state.revision, result.servers), told
            _await_phase(result.state.since, heard=told == before)
            came = next(coming, None)
        yield result, came
        if result.drained:
            return
        if came is not None:
            # Nothing more can come of these users, so their windows need not be waited for.
            settled = datetime.now(UTC) + timedelta(hours=plan.window_hours)
        news = came is not None or result.state.over or result.decision.action != "hold"
        idle = 0 if news or coming is None else idle + 1
        if idle >= _IDLE_STEPS:
            raise _nobody_left(result)
        time.sleep(pause)


def _step(name: str, ports: Any, *, known_until: datetime | None) -> Any:
    from trimtab.steps import rollout

    return _taken(rollout.Config(name, known_until=known_until), ports)


def _taken(config: Any, ports: Any) -> Any:
    """A step's result; that the tracker is away is only said."""
    from trimtab.steps import rollout

    result = rollout.run(config, ports)
    if result.untracked:
        console.err.print(f"{result.untracked} The next step tells it.", highlight=False, markup=False)
    return result


def _nobody_left(result: Any) -> BadInput:
    waits = result.decision.reasons[0] if result.decision.reasons else "it waits."
    return BadInput(
        f"all simulated users have come, and rollout '{result.name}' has not ended: {waits}",
        remedy="Let others come: the same command with another --seed goes on from here.",
    )


def _await_phase(since: datetime, *, heard: bool) -> None:
    """Simulated users come once what was decided is in force, and the router has heard of it."""
    time.sleep(max(0.0 if heard else _HEARING_SECONDS, (since - datetime.now(UTC)).total_seconds()))
