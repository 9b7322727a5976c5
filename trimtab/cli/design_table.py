"""A design and its simulation in a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trimtab.experiments.planning import MetricDesign, longest
from trimtab.steps.design import Result
from trimtab.steps.simulate_experiment import Result as Simulation
from trimtab.types import Interval

_BAR = 30


def design_table(result: Result) -> RenderableType:
    """Size and duration by metric, the price of looking, and the power curve of the metric that takes longest."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for place, header in enumerate(("", "baseline", "effect", "units", "per arm", "days", "CUPED saves", "looks cost")):
        table.add_column(header, justify="right" if place else "left", no_wrap=True)
    for metric in result.metrics:
        table.add_row(*_row(metric))
    slowest = longest(result.metrics)
    days = f" in {slowest.days} days" if slowest.days else ""
    lead = Text(f"{slowest.total:,} units{days}", style="bold")
    lead.append(
        f"  find {slowest.metric} {slowest.relative:+.2%} with {result.power:.0%} power at alpha {result.alpha:g}"
    )
    parts: list[RenderableType] = [lead, "", table, "", _curve(slowest)]
    if result.looks:
        looks = ", ".join(f"{look.fraction:.0%}: |Z| {look.bound:.2f}" for look in result.looks)
        parts += ["", Text(f"bounds of the looks  {looks}")]
    if result.lock:
        parts += ["", Text(f"rules locked in {result.lock} ({result.spec_hash})")]
    return Group(*parts)


def simulation_table(result: Simulation) -> RenderableType:
    """What the design does, in one table."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    rows = [
        ("false positives", _share(result.type_one_error), f"alpha is {result.alpha:.2%}"),
        ("power", _share(result.power), f"of {result.metric} {result.effect:+.4g}"),
    ]
    if result.peeking_error is not None:
        rows.append(("peeking", _share(result.peeking_error), "false positives of a fixed test at every look"))
    days = f"{result.expected_days:,.1f} days" if result.expected_days is not None else ""
    rows.append(("units at the stop", f"{result.expected_units:,.0f} of {result.total:,}", days))
    for row in rows:
        table.add_row(*row)
    return table


def _row(metric: MetricDesign) -> list[str]:
    saved = 1 - metric.total / metric.total_without_covariate
    cost = metric.total / metric.total_without_looks - 1
    per_arm = (
        f"{metric.per_arm[0]:,}" if len(set(metric.per_arm)) == 1 else " / ".join(f"{n:,}" for n in metric.per_arm)
    )
    return [
        metric.metric,
        f"{metric.baseline:,.4g}",
        f"{metric.effect:+.4g} ({metric.relative:+.2%})",
        f"{metric.total:,}",
        per_arm,
        f"{metric.days:,}" if metric.days else "",
        f"{saved:.0%}" if metric.saving else "",
        f"{cost:+.1%}" if cost > 0 else "",
    ]


def _curve(metric: MetricDesign) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for point in metric.curve:
        change = f"{point.relative:+.2%}" if point.relative is not None else f"{point.effect:+.4g}"
        bar = Text("█" * round(point.power * _BAR), style="green" if point.power >= 0.8 else "dim")
        table.add_row(change, f"{point.power:.0%}", bar)
    return table


def _share(interval: Interval) -> str:
    return f"{interval.estimate:.2%} ({interval.low:.2%} to {interval.high:.2%})"
