"""`trimtab experiment`: design, analyse, report and simulate experiments."""

from typing import Annotated

import typer

from trimtab.cli import console

_ANALYZE = (
    "Example: trimtab experiment analyze users.csv --unit user --arm variant --control A "
    "--metric conversion=binary:bought --metric revenue=mean:revenue --covariate revenue=spent_before\n\n"
)
_DESIGN = (
    "Examples: trimtab experiment design --baseline 0.12 --effect 0.05 --per-day 4000; "
    "trimtab experiment design --history users.csv --unit user --metric revenue=mean:revenue "
    "--covariate revenue=spent_before --effect 0.02\n\n"
)
_SIMULATE = "Example: trimtab experiment simulate --baseline 0.12 --effect 0.05 --looks 5 --per-day 4000\n\n"

HistoryOption = Annotated[
    str, typer.Option("--history", help="CSV or Parquet of units from before: baseline, variance, CUPED's saving.")
]
SpecOption = Annotated[str, typer.Option("--spec", help="Experiment spec (YAML); options override it.")]
FileArgument = Annotated[str, typer.Argument(help="CSV or Parquet, one row per unit (or URI#TABLE of another engine).")]
ArmOption = Annotated[str, typer.Option("--arm", help="Column of the arm.")]
SegmentOption = Annotated[
    list[str] | None, typer.Option("--segment", help="Column by whose values results are also given.")
]
AggregatesOption = Annotated[
    str, typer.Option("--aggregates", help="Table with columns arm, metric, n, mean, variance, instead of FILE.")
]
UnitOption = Annotated[str, typer.Option("--unit", help="Column of the unit, normally a user.")]
MetricOption = Annotated[
    list[str] | None,
    typer.Option("--metric", help="NAME=binary:COL, NAME=mean:COL or NAME=ratio:NUM/DEN; the first one decides."),
]
CovariateOption = Annotated[
    list[str] | None, typer.Option("--covariate", help="METRIC=COL measured before the exposure (CUPED).")
]
WeightsOption = Annotated[str, typer.Option("--weights", help="Configured share of each arm: A=.5,B=.5.")]
ControlOption = Annotated[str, typer.Option("--control", help="The arm that others are compared with.")]
BaselineOption = Annotated[float | None, typer.Option("--baseline", help="Control's rate, or mean with --variance.")]
VarianceOption = Annotated[float | None, typer.Option("--variance", min=0, help="Variance of one unit's value.")]
SavingOption = Annotated[
    float, typer.Option("--saving", min=0, max=1, help="Share of the variance that a covariate removes.")
]
EffectOption = Annotated[float | None, typer.Option("--effect", help="Relative effect to be found: 0.05 is 5%.", min=0)]
UnitsOption = Annotated[int | None, typer.Option("--units", min=4, help="Units in all arms, instead of --effect.")]
PerDayOption = Annotated[float | None, typer.Option("--per-day", min=0, help="Units that arrive a day, all arms.")]
LooksOption = Annotated[int, typer.Option("--looks", min=1, help="Equally spaced group-sequential looks.")]
AlphaOption = Annotated[float | None, typer.Option("--alpha", help="Level over all treatments (default 0.05).")]
PowerOption = Annotated[float | None, typer.Option("--power", help="Chance to find the effect (default 0.8).")]
SidedOption = Annotated[bool, typer.Option("--one-sided", help="Ask only whether the treatment is better.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    from trimtab.cli import (  # which takes the options from here
        experiment_bandit,
        experiment_report,
        experiment_resource,
    )

    group = typer.Typer(help="Design, analyse, report and simulate experiments.", no_args_is_help=True)
    group.command("design", epilog=_DESIGN + console.EXIT_CODES)(design)
    group.command("analyze", epilog=_ANALYZE + console.EXIT_CODES)(analyze)
    group.command("report", epilog=experiment_report.REPORT + console.EXIT_CODES)(experiment_report.report)
    group.command("simulate", epilog=_SIMULATE + console.EXIT_CODES)(simulate)
    group.command("bandit", epilog=experiment_bandit.BANDIT + console.EXIT_CODES)(experiment_bandit.bandit)
    experiment_resource.add(group)
    app.add_typer(group, name="experiment")


def analyze(
    *,
    file: FileArgument = "",
    unit: UnitOption = "",
    arm: ArmOption = "",
    control: ControlOption = "",
    metric: MetricOption = None,
    covariate: CovariateOption = None,
    segment: SegmentOption = None,
    weights: WeightsOption = "",
    aggregates: AggregatesOption = "",
    spec: SpecOption = "",
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


def design(
    *,
    history: HistoryOption = "",
    spec: SpecOption = "",
    unit: UnitOption = "",
    control: ControlOption = "",
    metric: MetricOption = None,
    covariate: CovariateOption = None,
    weights: WeightsOption = "",
    baseline: BaselineOption = None,
    variance: VarianceOption = None,
    saving: SavingOption = 0.0,
    effect: EffectOption = None,
    units: UnitsOption = None,
    per_day: PerDayOption = None,
    looks: LooksOption = 1,
    alpha: AlphaOption = None,
    power: PowerOption = None,
    one_sided: SidedOption = False,
    lock: Annotated[
        bool, typer.Option("--lock", help="Write the spec's rules down beside it, before the start.")
    ] = False,
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """How many units and days an experiment takes, or what a given number of units finds."""
    from trimtab import runtime
    from trimtab.cli.design_table import design_table
    from trimtab.experiments.declaration import Flags
    from trimtab.steps import design as step

    flags = Flags(unit, "", control, tuple(metric or ()), tuple(covariate or ()), (), weights)
    config = step.Config(
        history=history, spec=spec, flags=flags, baseline=baseline, variance=variance, saving=saving, effect=effect,
        units=units, per_day=per_day, looks=looks, alpha=alpha, power=power, one_sided=one_sided, lock=lock,
    )  # fmt: skip
    result = step.run(config, runtime.load(profile))
    console.emit(result, as_json=as_json, render=lambda: console.out.print(design_table(result)))


def simulate(
    *,
    history: HistoryOption = "",
    spec: SpecOption = "",
    unit: UnitOption = "",
    control: ControlOption = "",
    metric: MetricOption = None,
    covariate: CovariateOption = None,
    weights: WeightsOption = "",
    baseline: BaselineOption = None,
    variance: VarianceOption = None,
    saving: SavingOption = 0.0,
    effect: EffectOption = None,
    units: UnitsOption = None,
    per_day: PerDayOption = None,
    looks: LooksOption = 1,
    alpha: AlphaOption = None,
    power: PowerOption = None,
    one_sided: SidedOption = False,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Simulated experiments of each sort.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds give equal results.")] = 7,
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Estimate type I error, power and expected duration of a design by simulated experiments."""
    from trimtab import runtime
    from trimtab.cli.design_table import simulation_table
    from trimtab.experiments.declaration import Flags
    from trimtab.steps import design as design_step
    from trimtab.steps import simulate_experiment as step

    flags = Flags(unit, "", control, tuple(metric or ()), tuple(covariate or ()), (), weights)
    config = design_step.Config(
        history=history, spec=spec, flags=flags, baseline=baseline, variance=variance, saving=saving, effect=effect,
        units=units, per_day=per_day, looks=looks, alpha=alpha, power=power, one_sided=one_sided,
    )  # fmt: skip
    with console.progress_bars(enabled=not as_json) as progress:
        result = step.run(step.Config(config, runs, seed), runtime.load(profile, progress=progress))
    console.emit(result, as_json=as_json, render=lambda: console.out.print(simulation_table(result)))
