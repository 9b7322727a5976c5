"""`trimtab score`: what a registered version says about every session of a file."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from trimtab.cli import console
from trimtab.errors import BadInput

if TYPE_CHECKING:
    from trimtab.steps.score import Result


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "score",
        epilog=console.example("trimtab score sessions.parquet --model ux_sessions@champion --out scored")
        + f"\n\n{console.EXIT_CODES}",
    )(score)


def score(
    data: Annotated[str, typer.Argument(metavar="FILE", help="Parquet or CSV file, or a folder of Parquet files.")],
    *,
    model: Annotated[str, typer.Option("--model", help="Model and alias or version, e.g. ux_sessions@champion.")],
    out: Annotated[str, typer.Option("--out", help="Folder for scores.parquet and rejected.csv.")],
    spec: Annotated[
        str, typer.Option("--spec", help="Dataset spec: a YAML file or a shipped name (default: the model's own).")
    ] = "",
    without_history: Annotated[
        bool, typer.Option("--without-history", help="Answer as for users never seen; needs no feature store.")
    ] = False,
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Score sessions: probability, uplift and whether to act, one row each."""
    from trimtab import runtime
    from trimtab.steps import score as step

    name, separator, reference = model.partition("@")
    if not (name and separator and reference):
        raise BadInput(f"model '{model}' names no version.", remedy="Write NAME@ALIAS or NAME@VERSION.")
    config = step.Config(
        data=data, model=name, reference=reference, out=out, spec=spec, with_history=not without_history
    )
    with console.progress_bars(enabled=not as_json) as progress:
        result = step.run(config, runtime.load(profile, progress=progress))
    console.emit(result, as_json=as_json, render=lambda: _render(result))


def _render(result: "Result") -> None:
    """Who answered, how many rows, and where they are."""
    out = console.out
    out.print(Text.assemble((result.model, "bold"), f" version {result.version}, history from: {result.history}"))
    out.print(
        Text.assemble(
            f"{result.read:,} rows read, ",
            (f"{result.rows:,} scored", "green"),
            ", ",
            (f"{result.rejected:,} rejected", "red" if result.rejected else ""),
            f"; mean probability {result.mean_probability:.2%}; act on {result.acts:,}",
        )
    )
    out.print(Text(f"scores: {result.scores}"), soft_wrap=True)
    if result.quarantine:
        out.print(Text(f"rejected rows, with reasons: {result.quarantine}"), soft_wrap=True)
