"""`trimtab features`: the histories that servers read."""

from typing import TYPE_CHECKING, Annotated

import typer

from trimtab.cli import console

if TYPE_CHECKING:
    from trimtab.steps.materialize import Result


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="The histories of units that servers read.", no_args_is_help=True)
    group.callback()(_group)
    group.command("materialize", epilog=console.example("trimtab features materialize ux_sessions"))(materialize)
    app.add_typer(group, name="features", epilog=console.EXIT_CODES)


def _group() -> None:
    """The histories of units that servers read."""


def materialize(
    spec: Annotated[str, typer.Argument(help="Dataset spec: a YAML file or a shipped name.")],
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Load each unit's latest history into the online store; readers see the old content or the new one, whole."""
    from trimtab import runtime
    from trimtab.sessions.spec import load_spec
    from trimtab.steps import materialize as step

    found = load_spec(spec)
    with console.progress_bars(enabled=not as_json) as progress:
        result = step.load(found, runtime.load(profile, progress=progress))
    console.emit(result, as_json=as_json, render=lambda: _render(result, found.name))


def _render(result: "Result", spec: str) -> None:
    if not result.features:
        console.out.print(f"Sessions of '{spec}' have no history: the spec has no unit or no timestamp.")
        return
    console.out.print(
        f"[green]✓[/] {result.units:,} units, {result.features} values each, in {result.seconds:.1f} s", highlight=False
    )
