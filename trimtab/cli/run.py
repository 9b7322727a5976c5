"""`trimtab run`: the whole loop, from sessions to a verdict and a retraining."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from trimtab.cli import choices, console
from trimtab.errors import BadInput

SIMULATED = "ux_sessions"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", epilog=console.example("trimtab run --data sessions.csv --spec my-spec.yaml"))(run)


def run(
    *,
    data: Annotated[
        str, typer.Option("--data", help="CSV or Parquet file of your sessions; simulated if absent.")
    ] = "",
    spec: Annotated[
        str, typer.Option("--spec", help="What the file's columns mean: a YAML file or a shipped name.")
    ] = "",
    sessions: Annotated[int, typer.Option("--sessions", min=1000, help="Sessions to simulate.")] = 80_000,
    users: Annotated[int, typer.Option("--users", min=2, help="Most users in the experiment.")] = 30_000,
    trials: Annotated[int, typer.Option("--trials", min=0, help="Tuning trials.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")] = 7,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or hpu (Gaudi).")] = "auto",
    out: Annotated[str, typer.Option("--out", help="Folder of the report; replaced.")] = "reports/latest",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Run the whole loop: data, features, model, KPIs, experiment, verdict, promotion, drift, retraining."""
    started = datetime.now(UTC)
    _check(data, spec)
    where = choices.choice("--device", device, choices.DEVICES)
    from trimtab import runtime
    from trimtab.cli.stages import announced
    from trimtab.report.folder import require_replaceable
    from trimtab.report.publish import SUMMARY
    from trimtab.report.terminal import terminal_table
    from trimtab.steps import loop, report

    require_replaceable(Path(out), marker=SUMMARY)
    with console.progress_bars(enabled=not as_json) as progress:
        ports = runtime.load(profile, progress=progress)
        with _alone(ports.home):
            identifier = f"run-{started:%Y%m%d-%H%M%S}"
            config = loop.Config(
                identifier, data=data, spec=spec or SIMULATED, sessions=sessions, users=users, trials=trials,
                seed=seed, device=where, out=out, started=started,
            )  # fmt: skip
            with announced(ports, {config.run: "", config.retraining: "retrain"}, enabled=not as_json):
                made = loop.run(config, ports)
    found = report.gather(config.report, ports)

    def render() -> None:
        console.out.print()
        console.out.print(terminal_table(found))
        console.out.print(f"\nReport: {made.html}\nSummary: {made.summary}", highlight=False, soft_wrap=True)

    console.emit(made, as_json=as_json, render=render)


def _check(data: str, spec: str) -> None:
    """Know at once that the file and the spec belong together."""
    if data and not Path(data).is_file():
        raise BadInput(f"--data '{data}' is not a file.", remedy="Give a CSV or Parquet file.")
    if data and not spec:
        raise BadInput(
            "--data needs --spec, which says what the columns mean.",
            remedy=f"Write one (docs/bring-your-own-data.md), or give `--spec {SIMULATED}` for simulated sessions.",
        )
    if spec not in ("", SIMULATED) and not data:
        raise BadInput(
            f"--spec '{spec}' needs --data, the file with the sessions.",
            remedy="Give both, or neither to simulate sessions.",
        )


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep a second run out of this state folder; a killed run's lock goes with it."""
    with (home / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(
                f"another run is using the state folder '{home}'.",
                remedy="Wait for it, or set TRIMTAB_HOME to another folder.",
            ) from error
        lock.write(str(os.getpid()))
        lock.flush()
        yield
