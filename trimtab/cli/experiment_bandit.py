"""`trimtab experiment bandit`: the next allocation by Thompson sampling."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trimtab.cli import console

if TYPE_CHECKING:
    from trimtab.steps.bandit import Result

BANDIT = (
    "Examples: trimtab experiment bandit arms.csv (columns arm, successes, units); "
    "trimtab experiment bandit exposures.csv --arm variant --time exposed_at --rewarded bought_at --window-hours 72 "
    "--floor 0.05\n\n"
)


def bandit(
    *,
    file: Annotated[
        str, typer.Argument(help="CSV or Parquet: a row per arm (arm, successes, units), or per exposure with --time.")
    ],
    arm: Annotated[str, typer.Option("--arm", help="Column of the arm.")] = "arm",
    time: Annotated[str, typer.Option("--time", help="Column of the exposure's time, for a row per exposure.")] = "",
    rewarded: Annotated[
        str, typer.Option("--rewarded", help="Column of the reward's time, empty where none came.")
    ] = "rewarded_at",
    window_hours: Annotated[
        float, typer.Option("--window-hours", help="A reward counts within this time; younger exposures wait.")
    ] = 24.0,
    now: Annotated[str, typer.Option("--now", help="Time of the allocation; the latest in the data if absent.")] = "",
    new: Annotated[list[str] | None, typer.Option("--new", help="An arm that is not in the data yet.")] = None,
    floor: Annotated[float, typer.Option("--floor", min=0, max=1, help="Least share of every arm.")] = 0.0,
    prior_a: Annotated[float, typer.Option("--prior-a", help="Successes that the prior is worth.")] = 1.0,
    prior_b: Annotated[float, typer.Option("--prior-b", help="Failures that the prior is worth.")] = 1.0,
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Divide the next units among arms by Thompson sampling; what it costs in inference is said with it."""
    from trimtab import runtime
    from trimtab.steps import bandit as step

    config = step.Config(file, arm, time, rewarded, window_hours, now, tuple(new or ()), floor, (prior_a, prior_b))
    result = step.run(config, runtime.load(profile))
    console.emit(result, as_json=as_json, render=lambda: console.out.print(_table(result)))


def _table(result: "Result") -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for place, header in enumerate(["arm", "successes", "units", "pending", "rate", "next share"]):
        table.add_column(header, justify="right" if place else "left")
    for name, arm in result.arms.items():
        counts = (f"{count:,}" for count in (arm.successes, arm.units, arm.pending))
        table.add_row(Text(name), *counts, f"{arm.rate:.2%}", f"{arm.share:.1%}")
    return Group(table, "", Text(result.caveat))
