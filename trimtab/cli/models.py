"""`trimtab models`: what is registered, and which version is champion."""

from typing import Annotated

import typer
from rich.table import Table

from trimtab.cli import console
from trimtab.errors import NotFound
from trimtab.types import ModelVersion

# Metrics that fit a terminal; `--json` has all of them.
_SHOWN = {"auc": "AUC", "log_loss": "log loss", "calibration_error": "calib. error"}


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Registered model versions.", no_args_is_help=True)
    group.callback()(_group)
    group.command("list", epilog=console.example("trimtab models list --name ux_sessions"))(list_)
    app.add_typer(group, name="models", epilog=console.EXIT_CODES)


def _group() -> None:
    """Registered model versions."""


def list_(
    *,
    name: Annotated[str, typer.Option("--name", help="Only this model.")] = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """List versions, newest first, with aliases, key metrics and the quality gate's answer."""
    from trimtab import runtime

    versions = runtime.load(profile).registry.versions(name or None)
    if name and not versions:
        raise NotFound(f"no model '{name}' is registered.", remedy="`trimtab models list` shows those that are.")
    console.emit(versions, as_json=as_json, render=lambda: _render(versions))


def _render(versions: list[ModelVersion]) -> None:
    if not versions:
        console.out.print("No model is registered yet. `trimtab run` or `trimtab pipeline run` makes one.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("model", "version", "aliases", "kind", *_SHOWN.values(), "gate", "created", "snapshot"):
        right = title == "version" or title in _SHOWN.values()
        fold = title in ("model", "kind", "created", "snapshot")
        table.add_column(title, justify="right" if right else "left", no_wrap=not fold, overflow="fold")
    for version in versions:
        table.add_row(*_cells(version))
    console.out.print(table)


def _cells(version: ModelVersion) -> list[str]:
    marks = {"champion": "[bold green]champion[/]", "challenger": "[yellow]challenger[/]"}
    gate = version.tags.get("gate", "")
    return [
        version.name,
        str(version.version),
        " ".join(marks.get(alias, alias) for alias in version.aliases),
        version.tags.get("kind", ""),
        *(f"{version.metrics[metric]:.4f}" if metric in version.metrics else "" for metric in _SHOWN),
        {"passed": "[green]passed[/]", "failed": "[red]failed[/]"}.get(gate, gate),
        f"{version.created_at:%Y-%m-%d %H:%M}" if version.created_at else "",
        version.tags.get("snapshot_id", ""),
    ]
