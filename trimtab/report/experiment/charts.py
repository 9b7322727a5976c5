"""The charts of an experiment's report; empty text where there is nothing to draw."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from trimtab.experiments.analysis.result import ArmComparison, DailyEffect, MetricResult, Segmentation
from trimtab.experiments.effects import Effect
from trimtab.report import svg
from trimtab.report.experiment import numbers
from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.experiment.timeline import Timeline
from trimtab.report.forest import Row, forest, plain
from trimtab.types import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SEGMENTS = 20
_MOST_DATES = 7
_FAR = 5  # Bounds of early looks beyond so many times the last one are left off the scale.


def effect_forest(report: ExperimentReport) -> str:
    """Relative effect on each metric, the primary one in the main colour."""
    rows = [
        _effect_row(report, name, metric, one)
        for name, metric in report.analysis.metrics.items()
        for one in metric.comparisons
        if one.relative is not None
    ]
    if not rows:
        return ""
    return forest(
        "effects",
        f"Relative change of {numbers.count(len(rows), 'metric')} with intervals.",
        rows,
        axis="Change relative to control (%)",
        reference=0.0,
    )


def _effect_row(report: ExperimentReport, name: str, metric: MetricResult, one: ArmComparison) -> Row:
    assert one.relative is not None
    guarded = metric.role == "guardrail" and metric.margin > 0
    sign = -1.0 if metric.direction == "higher" else 1.0
    return Row(
        label=f"{name}, {one.treatment}" if report.several else name,
        interval=_percent(one.relative),
        text=numbers.relative(one.relative.estimate),
        colour=svg.MAIN if metric.role == "primary" else svg.MUTED,
        limit=100 * sign * metric.margin if guarded else None,
    )


def segment_forest(part: Segmentation, overall: float | None) -> str:
    """Relative effect in each segment beside the whole."""
    rows = [
        Row(segment.segment or "missing", _percent(segment.relative), numbers.relative(segment.relative.estimate))
        for segment in part.segments[:MOST_SEGMENTS]
        if segment.relative is not None
    ]
    if not rows:
        return ""
    return forest(
        f"segments-{sum(map(ord, part.attribute + part.treatment))}",
        f"Relative effect by {part.attribute}, with intervals, beside the effect overall.",
        rows,
        axis=f"Change relative to control by {part.attribute} (%)",
        reference=None if overall is None else 100 * overall,
        reference_label="overall",
        baseline=0.0,
    )


def timeline(report: ExperimentReport, line: Timeline) -> str:
    """The effect over all units until each day, with what bounds it."""
    factor, unit = _unit(report)

    low, high = _window(line, factor)

    def paint(_: "Figure", axes: "Axes") -> None:
        places = range(len(line.days))
        axes.axhline(0, color=svg.MUTED, linewidth=1)
        axes.fill_between(
            list(places), [max(low, factor * point.low) for point in line.days],
            [min(high, factor * point.high) for point in line.days], color=svg.MAIN, alpha=0.16, linewidth=0,
        )  # fmt: skip
        axes.plot(list(places), [factor * point.estimate for point in line.days], color=svg.MAIN, linewidth=2.5)
        for sign in (-1, 1) if line.looks else ():
            heights = [factor * sign * look.reach for look in line.looks]
            axes.plot([look.place for look in line.looks], heights, "--_", color=svg.ACCENT, markersize=16,
                      markeredgewidth=2.5, linewidth=1)  # fmt: skip
        for look in line.looks:
            axes.plot([look.place], [factor * look.estimate], "o", color=svg.MAIN, markersize=8)
        _dates(axes, [point.day for point in line.days])
        axes.set_ylim(low, high)
        axes.set_ylabel(f"Effect so far ({unit})")

    what = {"sequential": "with the bounds of each look", "always": "with its confidence sequence"}
    described = what.get(line.kind, "with a nominal interval")
    return svg.draw("timeline", f"Effect over all units until each day, {described}.", paint, height=330)


def daily(report: ExperimentReport, days: Sequence[DailyEffect]) -> str:
    """The effect over the units that came on each day."""
    factor, unit = _unit(report)

    def paint(_: "Figure", axes: "Axes") -> None:
        axes.axhline(0, color=svg.MUTED, linewidth=1)
        for place, day in enumerate(days):
            ends = [factor * (day.effect.estimate + sign * 1.96 * day.effect.standard_error) for sign in (-1, 1)]
            axes.plot([place] * 2, ends, color=svg.MAIN, linewidth=2, alpha=0.55)
            axes.plot([place], [factor * day.effect.estimate], "o", color=svg.MAIN, markersize=5)
        _dates(axes, [day.day for day in days])
        axes.set_ylabel(f"Effect of the day ({unit})")

    return svg.draw("daily", "Effect over the units first exposed on each day, with intervals.", paint, height=280)


def _window(line: Timeline, factor: float) -> tuple[float, float]:
    """What the vertical axis shows: the first days' wide intervals are left off, so that the rest can be read."""
    settled = line.days[len(line.days) // 4 :]
    last = line.looks[-1].reach if line.looks else 0.0
    ends = [value for point in settled for value in (point.low, point.high, point.estimate, 0.0) if isfinite(value)]
    ends += [sign * look.reach for look in line.looks for sign in (-1, 1) if look.reach <= _FAR * last]
    room = 0.15 * (max(ends) - min(ends) or 1.0)
    return factor * (min(ends) - room), factor * (max(ends) + room)


def _dates(axes: "Axes", days: Sequence[str]) -> None:
    plain(axes, grid="y")
    step = max(1, -(-len(days) // _MOST_DATES))
    axes.set_xticks(list(range(0, len(days), step)), [day[5:] for day in days[::step]])
    axes.set_xlim(-0.5, len(days) - 0.5)
    axes.set_xlabel(f"Day, from {days[0]}")


def _unit(report: ExperimentReport) -> tuple[float, str]:
    if report.primary.kind == "binary":
        return 100.0, "points"
    return 1.0, f"in units of {report.analysis.experiment.primary}"


def _percent(effect: Effect) -> Interval:
    return Interval(100 * effect.estimate, 100 * effect.low, 100 * effect.high)
