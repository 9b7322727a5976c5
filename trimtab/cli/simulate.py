"""`trimtab simulate`: sessions of a shop whose truth is known."""

from typing import Annotated

import typer

from trimtab.cli import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "simulate",
        epilog=f"Example: trimtab simulate --sessions 80000 --seed 7 --out data/shop\n\n{console.EXIT_CODES}",
    )(simulate)


def simulate(
    *,
    out: Annotated[str, typer.Option("--out", help="Folder to write to.")],
    sessions: Annotated[int, typer.Option("--sessions", help="Number of sessions.")] = 80_000,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give equal files.")] = 7,
    drift: Annotated[
        str,
        typer.Option(
            "--drift",
            help="What changed in the world: none, slow_backend, mobile_shift, release_regression, "
            "seasonal or broken_pixel.",
        ),
    ] = "none",
    start: Annotated[str, typer.Option("--start", help="First of the 60 days, as YYYY-MM-DD.")] = "2026-01-05",
    csv: Annotated[bool, typer.Option("--csv", help="Write sessions.csv too.")] = False,
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Simulate sessions of returning users, and write the truth about them beside the data."""
    from trimtab import runtime
    from trimtab.steps import simulate as step

    wanted = step.Config(out=out, sessions=sessions, seed=seed, drift=drift, start=start, csv=csv)
    with console.progress_bars(enabled=not as_json) as progress:
        result = step.run(wanted, runtime.load(profile, progress=progress))
    console.emit(result, as_json=as_json, render=lambda: _render(result))


def _render(result: object) -> None:
    """What was written, where, and what is true about it."""
    from trimtab.steps.simulate import Result

    assert isinstance(result, Result)
    console.out.print(f"[bold]{result.rows:,}[/] sessions of {result.users:,} users", highlight=False)
    console.out.print(
        f"  {result.conversion_rate:.2%} convert; the best possible AUC is {result.bayes_auc:.4f}; "
        f"the lighter page changes conversion by {100 * result.treatment_effect:+.2f} points on average",
        highlight=False,
    )
    for label, path in (("sessions", result.data), ("truth", result.truth)):
        console.out.print(f"  {label}: {path}", highlight=False, soft_wrap=True)
