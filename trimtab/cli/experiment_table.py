"""An experiment's analysis in a terminal: the verdict first, then what it rests on."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trimtab.experiments.analysis.result import Analysis, ArmComparison, MetricResult
from trimtab.experiments.effects import Effect

_WORDS = {"ship": "Ship", "roll_back": "Roll back", "hold": "Hold"}
_STYLES = {"ship": "bold green", "roll_back": "bold red", "hold": "bold yellow"}
_MARKS = {"pass": ("✓", "green"), "fail": ("✗", "red"), "open": ("·", "yellow")}


def analysis_table(result: Analysis) -> RenderableType:
    """The analysis as a person reads it: verdict and reasons, metrics, segments, checks."""
    parts: list[RenderableType] = [_verdict(result), "", _metrics(result)]
    if result.segments:
        parts += ["", _segments(result)]
    moved = [row for row in result.sensitivity if row.moves]
    if result.sensitivity:
        text = "; ".join(f"{row.variation} would say {_WORDS[row.decision].lower()}" for row in moved)
        parts += ["", _line("sensitivity", text or "the verdict on the primary metric does not hang on a choice")]
    count = len(result.health.problems)
    problems = "no problem" if not count else "1 problem" if count == 1 else f"{count} problems"
    parts.append(_line("health", f"sample ratio p = {result.health.srm.p_value:.3g}; {problems}"))
    parts += [_line("", note) for note in result.health.notes]
    return Group(*parts)


def _verdict(result: Analysis) -> RenderableType:
    verdict = result.verdict
    name = f" {verdict.treatment}" if verdict.treatment and len(verdict.arms) > 1 and verdict.decision == "ship" else ""
    head = Text.assemble(
        (f"{_WORDS[verdict.decision]}{name}", _STYLES[verdict.decision]), ("  " + result.experiment.name, "dim")
    )
    return Group(head, *(Text(f"  {reason}") for reason in verdict.reasons))


def _metrics(result: Analysis) -> Table:
    """One row per metric and treatment; columns that would say nothing new are left out."""
    rows = [(name, metric, one) for name, metric in result.metrics.items() for one in metric.comparisons]
    several = len(result.verdict.arms) > 1
    corrected = any(one.p_value != one.p_value_adjusted for _, _, one in rows)
    level = f"{1 - result.experiment.alpha:.0%} interval"
    headers = ["", *(["treatment"] if several else []), "control", "treatment", "change", level, "p"]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for place, header in enumerate([*headers, *(["corrected"] if corrected else [])]):
        table.add_column(header, justify="left" if place <= several else "right", no_wrap=True)
    for name, metric, comparison in rows:
        own = [Text(comparison.treatment)] if several else []
        label = Text(name, style="bold" if metric.role == "primary" else "")
        last = [Text(_p(comparison.p_value_adjusted))] if corrected else []
        table.add_row(label, *own, *_row(result, metric, comparison), *last)
    for name, metric in result.metrics.items():
        if not metric.comparisons:
            table.add_row(name, Text("no comparison", style="dim"))
    return table


def _row(result: Analysis, metric: MetricResult, comparison: ArmComparison) -> list[Text]:
    shown = comparison.relative or comparison.absolute
    percent = comparison.relative is not None
    better = (comparison.absolute.estimate > 0) == (metric.direction == "higher")
    sure = comparison.p_value_adjusted < result.experiment.alpha
    style = ("green" if better else "red") if sure else ""
    values = (metric.arms[arm].value for arm in (comparison.control, comparison.treatment))
    return [
        *(Text(_value(metric, value)) for value in values),
        Text(_number(shown.estimate, percent=percent), style=style),
        Text(_interval(shown, percent=percent)),
        Text(_p(comparison.p_value)),
    ]


def _segments(result: Analysis) -> RenderableType:
    lines: list[RenderableType] = []
    for part in result.segments:
        lines.append(_line(part.attribute, part.statement if len(part.segments) > 1 else "one segment only"))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2), pad_edge=False)
        for segment in part.segments[:12]:
            shown = segment.relative or segment.absolute
            percent = segment.relative is not None
            style = {"better": "green", "worse": "red", "none": ""}[segment.claim]
            table.add_row(
                segment.segment,
                f"{segment.units:,}",
                Text(_number(shown.estimate, percent=percent), style=style),
                _interval(shown, percent=percent),
            )
        lines.append(table)
        if len(part.segments) > 12:
            lines.append(Text(f"  and {len(part.segments) - 12} more; --json has all", style="dim"))
    return Group(*lines)


def _line(label: str, text: str) -> Text:
    return Text.assemble((f"{label:<12}", "dim"), text)


def _value(metric: MetricResult, value: float) -> str:
    return f"{value:.2%}" if metric.kind == "binary" else f"{value:,.4g}"


def _number(value: float, *, percent: bool) -> str:
    return f"{value:+.2%}" if percent else f"{value:+.4g}"


def _interval(effect: Effect, *, percent: bool) -> str:
    bounds = (
        "open" if abs(bound) == float("inf") else _number(bound, percent=percent) for bound in (effect.low, effect.high)
    )
    return " to ".join(bounds)


def _p(value: float) -> str:
    return "<.0001" if value < 1e-4 else f"{value:.4f}"
