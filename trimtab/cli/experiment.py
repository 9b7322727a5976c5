"""`trimtab experiment`: design, analyse, report and simulate experiments."""

from typing import Annotated

import typer

from trimtab.cli import console

_ANALYZE = (
    "Example: trimtab experiment analyze users.csv --unit user --arm variant --control A "
    "--metric conversion=binary:bought --metric revenue=mean:revenue --covariate revenue=spent_before\n\n"
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Design, analyse, report and simulate experiments.", no_args_is_help=True)
    group.command("analyze", epilog=_ANALYZE + console.EXIT_CODES)(analyze)
    app.add_typer(group, name="experiment")


def analyze(
    *,
    file: Annotated[
        str, typer.Argument(help="CSV or Parquet, one row per unit (or URI#TABLE of another engine).")
    ] = "",
    unit: Annotated[str, typer.Option("--unit", help="Column of the unit, normally a user.")] = "",
    arm: Annotated[str, typer.Option("--arm", help="Column of the arm.")] = "",
    control: Annotated[str, typer.Option("--control", help="The arm that others are compared with.")] = "",
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="NAME=binary:COL, NAME=mean:COL or NAME=ratio:NUM/DEN; the first one decides."),
    ] = None,
    covariate: Annotated[
        list[str] | None, typer.Option("--covariate", help="METRIC=COL measured before the exposure (CUPED).")
    ] = None,
    segment: Annotated[
        list[str] | None, typer.Option("--segment", help="Column by whose values results are also given.")
    ] = None,
    weights: Annotated[str, typer.Option("--weights", help="Configured share of each arm: A=.5,B=.5.")] = "",
    aggregates: Annotated[
        str, typer.Option("--aggregates", help="Table with columns arm, metric, n, mean, variance, instead of FILE.")
    ] = "",
    spec: Annotated[str, typer.Option("--spec", help="Experiment spec (YAML); options override it.")] = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Say ship, roll back or hold about an experiment, and why."""
    from trimtab import runtime
    from trimtab.cli.experiment_table import analysis_table
    from trimtab.experiments.declaration import Flags
    from trimtab.steps import analyze as step

    flags = Flags(unit, arm, control, tuple(metric or ()), tuple(covariate or ()), tuple(segment or ()), weights)
    with console.progress_bars(enabled=not as_json) as progress:
        result = step.run(
            step.Config(data=file, aggregates=aggregates, spec=spec, flags=flags),
            runtime.load(profile, progress=progress),
        )
    console.emit(result, as_json=as_json, render=lambda: console.out.print(analysis_table(result)))
