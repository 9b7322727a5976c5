"""`trimtab pipeline runs` and `logs`: what runs there are, and what became of one's tasks."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from trimtab.cli import console
from trimtab.errors import NotFound
from trimtab.ports import PipelineRun, PipelineTask

_MARKS = {"SUCCEEDED": "[green]✓[/]", "FAILED": "[red]✗[/]", "CACHED": "[green]✓[/]", "RUNNING": "[yellow]…[/]"}


def add(group: typer.Typer) -> None:
    """Add the commands to the group."""
    group.command("runs", epilog=console.example("trimtab pipeline runs --profile cluster --limit 50"))(runs)
    group.command("logs", epilog=console.example("trimtab pipeline logs nightly-20260301030000 --task train"))(logs)


def runs(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="Most runs to list.")] = 20,
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """List the latest runs of this machine, or of the profile's Kubeflow endpoint."""
    from trimtab import runtime

    found = runtime.load(profile).launcher.runs(limit=limit)
    console.emit(found, as_json=as_json, render=lambda: _render_runs(found))


def logs(
    run: Annotated[str, typer.Argument(help="Key of a run (its newest), or the id of one.")],
    *,
    task: Annotated[str, typer.Option("--task", help="Only this task.")] = "",
    lines: Annotated[int, typer.Option("--lines", min=0, max=10_000, help="Most lines of each task's log.")] = 20,
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Tell the state of each task of a run, why it failed, and the end of its log."""
    from trimtab import runtime

    found = runtime.load(profile).launcher.tasks(run, lines=lines)
    chosen = [one for one in found if task in ("", one.name)]
    if task and not chosen:
        known = ", ".join(dict.fromkeys(one.name for one in found)) or "none yet"
        raise NotFound(f"run '{run}' has no task '{task}'.", remedy=f"Tasks: {known}.")
    console.emit(chosen, as_json=as_json, render=lambda: _render_tasks(run, chosen))


def _render_runs(found: list[PipelineRun]) -> None:
    if not found:
        console.out.print("no runs yet")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("", "run", "pipeline", "started", "id"):
        table.add_column(heading, no_wrap=True)
    for run in found:
        mark = _MARKS.get(run.state, "[dim]·[/]")
        told = run.id if run.id != run.key else ""
        table.add_row(
            f"{mark} {run.state.lower()}", escape(run.key), escape(run.pipeline), _moment(run.created_at), told
        )
    console.out.print(table)


def _render_tasks(run: str, found: list[PipelineTask]) -> None:
    if not found:
        console.out.print(f"{run}: no task has begun", highlight=False)
    for task in found:
        mark = _MARKS.get(task.state, "[dim]·[/]")
        told = f"{mark} [bold]{escape(task.name)}[/] {task.state.lower()}{_duration(task)}"
        console.out.print(told, highlight=False)
        if task.error:
            console.out.print(f"  [red]{escape(task.error)}[/]", highlight=False, soft_wrap=True)
        for line in task.log:
            console.out.print(f"  [dim]{escape(line)}[/]", highlight=False, soft_wrap=True)
        if task.where and not task.log:
            console.out.print(f"  [dim]log: {escape(task.where)}[/]", highlight=False, soft_wrap=True)


def _duration(task: PipelineTask) -> str:
    if task.started_at is None:
        return ""
    return f" {((task.ended_at or datetime.now(UTC)) - task.started_at).total_seconds():.0f} s"


def _moment(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if moment else ""
