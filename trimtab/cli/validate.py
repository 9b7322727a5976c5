"""`trimtab validate`: is this file fit for use, and why not."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from trimtab.cli import console
from trimtab.sessions.validation import Finding

_MARKS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "info": ("·", "dim")}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "validate",
        epilog="Example: trimtab validate --data sessions.csv --spec spec.yaml",
    )(validate)


def validate(
    data: Annotated[str, typer.Option("--data", help="CSV or Parquet file of sessions.")],
    spec: Annotated[str, typer.Option("--spec", help="Dataset spec: a YAML file or a shipped name.")],
    quarantine: Annotated[
        str, typer.Option("--quarantine", help="Where rejected rows go (default: quarantine/ in the state folder).")
    ] = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Check a file of sessions, and keep the good rows as a snapshot."""
    from trimtab import runtime
    from trimtab.steps import validate as step

    with console.progress_bars(enabled=not as_json) as progress:
        result = step.run(
            step.Config(data=data, spec=spec, quarantine=quarantine), runtime.load(profile, progress=progress)
        )
    console.emit(result, as_json=as_json, render=lambda: _render(result))


def _render(result: object) -> None:
    """Three lines of numbers, then one line per finding."""
    from trimtab.steps.validate import Result

    assert isinstance(result, Result)
    out = console.out
    out.print(f"[bold]{result.spec}[/]  {result.data}", highlight=False)
    out.print(
        f"  [green]{result.rows:,}[/] rows accepted, "
        + (f"[red]{result.rejected:,} rejected[/]" if result.rejected else "none rejected")
        + f"; {result.conversion_rate:.2%} convert; {result.inputs} model inputs",
        highlight=False,
    )
    out.print(f"  snapshot [bold]{result.snapshot_id}[/]", highlight=False)
    if result.quarantine:
        out.print(f"  rejected rows, with reasons: {result.quarantine}", highlight=False, soft_wrap=True)
    if result.findings:
        out.print()
        out.print(_findings(result.findings))


def _findings(findings: tuple[Finding, ...]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(width=3, justify="right", no_wrap=True)
    table.add_column(no_wrap=True, max_width=24)
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.severity]
        text = Text(finding.message, style="dim" if finding.severity == "info" else "")
        if finding.remedy:
            text.append(f"\n{finding.remedy}", style="dim")
        table.add_row(Text(mark, style=style), Text(finding.column or finding.check, style="bold"), text)
    return table
