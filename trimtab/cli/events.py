"""`trimtab events`: what the event log holds, and fewer, larger segments of it."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from trimtab.cli import console
from trimtab.errors import NotFound
from trimtab.types import EventSegments


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="The log of exposures and outcomes.", no_args_is_help=True)
    group.callback()(_group)
    group.command("show", epilog=console.example("trimtab events show --json"))(show)
    group.command("compact", epilog=console.example("trimtab events compact --experiment checkout"))(compact)
    app.add_typer(group, name="events", epilog=console.EXIT_CODES)


def _group() -> None:
    """The log of exposures and outcomes."""


def show(*, profile: console.ProfileOption = "local", as_json: console.JsonOption = False) -> None:
    """Segments, events and bytes by experiment and kind; events that came twice count twice here."""
    from trimtab import runtime

    found = runtime.load(profile).events.contents()
    console.emit(found, as_json=as_json, render=lambda: _render(found))


def compact(
    *,
    experiment: Annotated[str, typer.Option("--experiment", help="Only this experiment.")] = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Merge small segments, so that analyses open fewer files, and show what is there then.

    Routers and analyses may go on meanwhile.
    """
    from trimtab import runtime

    log = runtime.load(profile).events
    before = [row for row in log.contents() if experiment in ("", row.experiment)]
    if experiment and not before:
        raise NotFound(
            f"experiment '{experiment}' has no events.", remedy="`trimtab events show` shows those that have."
        )
    with console.progress_bars(enabled=not as_json) as report:
        for place, row in enumerate(before):
            report("compact", place, len(before), f"{row.experiment} {row.kind}")
            log.compact(row.experiment, row.kind)
        report("compact", len(before), len(before))
    show(profile=profile, as_json=as_json)


def _render(found: Sequence[EventSegments]) -> None:
    if not found:
        console.out.print("No event is logged yet. `trimtab run` or a router logs some.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, title in enumerate(("experiment", "kind", "segments", "events", "MB")):
        table.add_column(title, justify="right" if place > 1 else "left", overflow="fold")
    for row in found:
        table.add_row(row.experiment, row.kind, f"{row.segments:,}", f"{row.rows:,}", f"{row.bytes / 1e6:,.1f}")
    console.out.print(table)
