"""The forest plot: estimates as dots with their intervals as lines through them, one row each."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Literal

from trimtab.report import svg
from trimtab.types import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_HEIGHT = 26
_MARGIN = 0.08  # Room beyond the outermost finite value, as a share of the range.


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a forest plot.

    Attributes:
        label: Written on the left.
        interval: The estimate and its bounds, in the unit of the axis; an infinite bound is drawn as an arrow.
        text: Written on the right.
        colour: Stand-in colour of the dot and line.
        truth: A true value to mark, where it is known.
        limit: A value that the interval must not reach, where there is one.
    """

    label: str
    interval: Interval
    text: str
    colour: str = svg.MAIN
    truth: float | None = None
    limit: float | None = None


def forest(
    name: str,
    description: str,
    rows: Sequence[Row],
    *,
    axis: str,
    reference: float | None,
    reference_label: str = "",
    baseline: float | None = None,
) -> str:
    """Estimates with intervals, one row each, the first on top.

    Args:
        name: Unique within a page.
        description: For those who do not see it.
        rows: What to show.
        axis: Label of the horizontal axis, with the unit.
        reference: Where to draw a vertical line; None for none.
        reference_label: What the line means, written above it.
        baseline: Where to draw a second, heavier line; None for none.
    """

    def paint(_: "Figure", axes: "Axes") -> None:
        heights = range(len(rows) - 1, -1, -1)
        if baseline is not None:
            axes.axvline(baseline, color=svg.MUTED, linewidth=1.5, zorder=1)
        if reference is not None:
            axes.axvline(reference, color=svg.MUTED, linewidth=1, zorder=1, linestyle=_style(baseline))
        if reference is not None and reference_label:
            axes.annotate(
                reference_label, (reference, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
                textcoords="offset points", ha="center", va="bottom", color=svg.MUTED, fontsize=12,
            )  # fmt: skip
        edges = _edges(rows, reference)
        for height, row in zip(heights, rows, strict=True):
            _row(axes, row, height, edges)
        axes.set_yticks(list(heights), [row.label for row in rows])
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.set_xlabel(axis)
        plain(axes)

    return svg.draw(name, description, paint, height=70 + ROW_HEIGHT * max(1, len(rows)))


def plain(axes: "Axes", *, grid: Literal["x", "y", "both"] = "x") -> None:
    """Only what helps reading: a light grid, no ticks, no box."""
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(axis=grid)
    axes.locator_params(axis="x", nbins=6)


def _style(baseline: float | None) -> str:
    """The reference is dashed beside a baseline."""
    return "-" if baseline is None else "--"


def _row(axes: "Axes", row: Row, height: int, edges: tuple[float, float]) -> None:
    low, high = max(row.interval.low, edges[0]), min(row.interval.high, edges[1])
    axes.plot([low, high], [height] * 2, color=row.colour, linewidth=2.5, zorder=2)
    for bound, end, marker in ((row.interval.low, low, "<"), (row.interval.high, high, ">")):
        if not isfinite(bound):
            axes.plot([end], [height], marker, color=row.colour, markersize=7, zorder=2)
    axes.plot([row.interval.estimate], [height], "o", color=row.colour, markersize=7, zorder=3)
    if row.truth is not None:
        axes.plot(
            [row.truth], [height], "D", markerfacecolor=svg.PAPER, markeredgecolor=svg.ACCENT, markersize=6,
            markeredgewidth=1.6, zorder=4,
        )  # fmt: skip
    if row.limit is not None:
        axes.plot([row.limit] * 2, [height - 0.3, height + 0.3], color=svg.BAD, linewidth=2.5, zorder=4)
    axes.annotate(
        row.text, (1, height), xycoords=("axes fraction", "data"), xytext=(6, 0),
        textcoords="offset points", va="center", color=svg.INK, fontsize=12.5,
    )  # fmt: skip


def _edges(rows: Sequence[Row], reference: float | None) -> tuple[float, float]:
    """Where an interval without an end stops on the page."""
    found = [
        value for row in rows for value in (row.interval.estimate, row.interval.low, row.interval.high, row.limit)
        if value is not None and isfinite(value)
    ]  # fmt: skip
    found += [] if reference is None else [reference]
    room = _MARGIN * (max(found) - min(found) or 1.0)
    return min(found) - room, max(found) + room
