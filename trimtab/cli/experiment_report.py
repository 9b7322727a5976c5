"""`trimtab experiment report`: the analysis as a page, Markdown and JSON."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli import console
from trimtab.cli.experiment import (
    AggregatesOption,
    ArmOption,
    ControlOption,
    CovariateOption,
    FileArgument,
    MetricOption,
    SegmentOption,
    SpecOption,
    UnitOption,
    WeightsOption,
)

if TYPE_CHECKING:
    from trimtab.steps import analyze

REPORT = (
    "Examples: trimtab experiment report users.csv --spec checkout.yaml --out reports/checkout; "
    "trimtab experiment report --aggregates aggregates.csv --spec spec.yaml\n\n"
)


def report(
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
    out: Annotated[
        str, typer.Option("--out", help="Folder for report.html, report.md and report.json; an older report goes.")
    ] = "reports/experiment",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Write a report for whoever decides and whoever checks: one HTML page, Markdown and JSON."""
    from trimtab import runtime
    from trimtab.experiments.declaration import Flags
    from trimtab.steps import analyze
    from trimtab.steps import experiment_report as step

    flags = Flags(unit, arm, control, tuple(metric or ()), tuple(covariate or ()), tuple(segment or ()), weights)
    analysis = analyze.Config(data=file, aggregates=aggregates, spec=spec, flags=flags)
    with console.progress_bars(enabled=not as_json) as progress:
        made = step.run(
            step.Config(out=out, analysis=analysis, command=_command(analysis, out)),
            runtime.load(profile, progress=progress),
        )

    def render() -> None:
        console.out.print(made.headline, highlight=False)
        console.out.print(
            f"\nPage: {made.html}\nMarkdown: {made.markdown}\nJSON: {made.json}", highlight=False, soft_wrap=True
        )

    console.emit(made, as_json=as_json, render=render)


def _command(analysis: "analyze.Config", out: str) -> str:
    """The command line that makes the report again."""
    flags = analysis.flags
    options = [
        ("--aggregates", analysis.aggregates),
        ("--spec", analysis.spec),
        ("--unit", flags.unit),
        ("--arm", flags.arm),
        ("--control", flags.control),
        *(("--metric", text) for text in flags.metrics),
        *(("--covariate", text) for text in flags.covariates),
        *(("--segment", text) for text in flags.segments),
        ("--weights", flags.weights),
        ("--out", out),
    ]
    words = [*([analysis.data] if analysis.data else []), *(part for pair in options if pair[1] for part in pair)]
    return shlex.join(["trimtab", "experiment", "report", *words])
