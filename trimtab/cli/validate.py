"""`trimtab validate`: is this file fit for use, and why not."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from trimtab.cli import console

if TYPE_CHECKING:
    from trimtab.sessions.validation import Finding
    from trimtab.steps.validate import Result

_MARKS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "info": ("·", "dim")}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "validate",
        epilog=f"Example: trimtab validate --data sessions.csv --spec spec.yaml\n\n{console.EXIT_CODES}",
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


def _render(result: "Result") -> None:
    """A line of numbers, where things are, then a line per finding."""
    out = console.out
    out.print(Text.assemble((result.spec, "bold"), f"  {result.data}"), soft_wrap=True)
    out.print(
        Text.assemble(
            f"{result.read:,} rows read, ",
            (f"{result.rows:,} accepted", "green"),
            ", ",
            (f"{result.rejected:,} rejected", "red" if result.rejected else ""),
            f"; {result.conversion_rate:.2%} convert; {result.inputs} model inputs",
        )
    )
    out.print(Text.assemble("snapshot ", (result.snapshot_id, "bold")))
    if result.quarantine:
        out.print(Text(f"rejected rows, with reasons: {result.quarantine}"), soft_wrap=True)
    if result.findings:
        out.print()
        out.print(_findings(result.findings))


def _findings(findings: "tuple[Finding, ...]") -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.severity]
        text = Text(finding.message, style="dim" if finding.severity == "info" else "")
        if finding.remedy:
            text.append(f"\n→ {finding.remedy}", style="dim")
        table.add_row(Text(mark, style=style), Text(finding.column or finding.check, style="bold"), text)
    return table
