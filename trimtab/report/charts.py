"""The charts of the page: each takes values of the view model and gives an inline SVG.

One reading per chart. Estimates are dots, intervals are lines through them, and everything is labelled where it is.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trimtab.experiments.proportions import Proportion, wilson_interval
from trimtab.impact.study import KpiImpact
from trimtab.models.evaluate import Evaluation, ReliabilityBin
from trimtab.monitoring.drift import ColumnDrift
from trimtab.report import svg, words
from trimtab.report.forest import ROW_HEIGHT, Row, forest, plain
from trimtab.report.loop import EffectRow, ModelSection
from trimtab.types import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLUMNS = 12


def kpi_forest(kpis: Sequence[KpiImpact], truth: dict[str, float]) -> str:
    """KPIs by the change in predicted conversions that improving each alone goes with."""
    rows = [
        Row(
            label=impact.kpi,
            interval=_scaled(impact.largest.population.relative, 100),
            text=words.percent(impact.largest.population.relative.estimate, 2, signed=True),
            truth=100 * truth[impact.kpi] if impact.kpi in truth else None,
        )
        for impact in kpis[: words.MOST_KPIS]
    ]
    level = words.percent(kpis[0].largest.level, 0)
    return forest(
        "impact",
        f"Change in predicted conversions when one KPI is {level} better, with intervals, for {len(rows)} KPIs.",
        rows,
        axis=f"Change in predicted conversions when the KPI alone is {level} better (%)",
        reference=0.0,
    )


def effect_forest(effects: Sequence[EffectRow]) -> str:
    """Relative effect of the treatment on each metric."""
    rows = [
        Row(
            label=effect.metric,
            interval=_scaled(effect.relative, 100),
            text=words.percent(effect.relative.estimate, signed=True),
            colour=svg.ACCENT,
        )
        for effect in effects
        if effect.relative is not None
    ]
    return forest(
        "effects",
        "Relative effect of the treatment on each metric, with intervals.",
        rows,
        axis="Treatment against control (%)",
        reference=0.0,
    )


def model_forest(model: ModelSection) -> str:
    """AUC of the main model beside the baselines; a constant prediction has none to show."""
    rows = [
        Row(
            label=name,
            interval=metrics["auc"],
            text=words.decimal(metrics["auc"].estimate, 4),
            colour=svg.MAIN if name == model.evaluation.model else svg.MUTED,
        )
        for name, metrics in model.models.items()
        if "auc" in metrics and name != "constant"
    ]
    return forest(
        "models",
        "AUC of each model on held-out sessions, with intervals.",
        rows,
        axis="AUC on held-out sessions",
        reference=model.bayes_auc,
        reference_label="best possible",
    )


def segment_forest(evaluation: Evaluation) -> str:
    """AUC of the main model in each segment with enough sessions to judge."""
    rows = [
        Row(
            label=f"{part.attribute}: {part.value or 'missing'}",
            interval=part.metrics["auc"],
            text=words.decimal(part.metrics["auc"].estimate),
        )
        for part in evaluation.segments
        if "auc" in part.metrics
    ]
    return forest(
        "segments",
        "AUC of the main model in each segment, with intervals, beside its AUC overall.",
        rows,
        axis="AUC on held-out sessions of the segment",
        reference=evaluation.metrics["auc"].estimate,
        reference_label="overall",
    )


def roc(evaluation: Evaluation) -> str:
    """Share of converted against share of other sessions flagged, over all thresholds."""

    def paint(_: "Figure", axes: "Axes") -> None:
        axes.plot([0, 100], [0, 100], color=svg.LINE, linewidth=1.5)
        axes.text(84, 77, "by chance", color=svg.MUTED, fontsize=12, rotation=45, ha="center", va="center")
        axes.plot(
            [100 * point.false_positive_rate for point in evaluation.roc],
            [100 * point.true_positive_rate for point in evaluation.roc],
            color=svg.MAIN,
            linewidth=2.5,
        )
        cells = evaluation.confusion
        other, converted = cells.false_positive + cells.true_negative, cells.true_positive + cells.false_negative
        at = (100 * cells.false_positive / max(1, other), 100 * cells.true_positive / max(1, converted))
        axes.plot(*at, "o", color=svg.ACCENT, markersize=8)
        axes.annotate(
            "decision threshold", at, xytext=(11, -5), textcoords="offset points", color=svg.ACCENT, fontsize=12.5,
            va="top",
        )  # fmt: skip
        axes.set(xlim=(0, 100), ylim=(0, 101), aspect="equal")
        axes.set_xlabel("Sessions without conversion that are flagged (%)")
        axes.set_ylabel("Conversions that are flagged (%)")
        plain(axes, grid="both")

    return svg.draw("roc", "ROC curve of the main model on held-out sessions.", paint, width=430, height=430)


def reliability(bins: Sequence[ReliabilityBin]) -> str:
    """Observed against predicted conversion, with Wilson intervals."""
    groups = [
        (
            100 * part.predicted,
            100 * part.observed,
            wilson_interval(Proportion(round(part.observed * part.rows), part.rows)),
        )
        for part in bins
    ]
    top = 105 * max(*(part.predicted for part in bins), *(high for *_, (_, high) in groups))

    def paint(_: "Figure", axes: "Axes") -> None:
        axes.plot([0, top], [0, top], color=svg.LINE, linewidth=1.5)
        for predicted, observed, (low, high) in groups:
            axes.plot([predicted] * 2, [100 * low, 100 * high], color=svg.MAIN, linewidth=2, alpha=0.55)
            axes.plot([predicted], [observed], "o", color=svg.MAIN, markersize=6)
        for x, y, side, text in (
            (0.04, 0.95, "left", "more than predicted"),
            (0.96, 0.05, "right", "fewer than predicted"),
        ):
            axes.text(x, y, text, transform=axes.transAxes, color=svg.MUTED, fontsize=12, ha=side)
        axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
        axes.set_xlabel("Predicted to convert (%)")
        axes.set_ylabel("Converted (%)")
        plain(axes, grid="both")

    return svg.draw(
        "reliability", "Observed against predicted conversion on held-out sessions.", paint, width=430, height=430
    )


def drift_bars(columns: Sequence[ColumnDrift]) -> str:
    """Distance of each column as a multiple of the threshold at which it counts as drifted."""
    shown = [column for column in columns if column.threshold > 0][:MOST_COLUMNS]

    def paint(_: "Figure", axes: "Axes") -> None:
        heights = range(len(shown) - 1, -1, -1)
        ratios = [column.score / column.threshold for column in shown]
        colours = [svg.ACCENT if column.drifted else svg.MUTED for column in shown]
        axes.barh(list(heights), ratios, color=colours, height=0.55, zorder=2)
        axes.axvline(1, color=svg.INK, linewidth=1, zorder=3)
        axes.annotate(
            "threshold", (1, 1), xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
            ha="center", va="bottom", color=svg.MUTED, fontsize=12,
        )  # fmt: skip
        for height, ratio in zip(heights, ratios, strict=True):
            axes.annotate(
                words.decimal(ratio, 1) + "×", (ratio, height), xytext=(5, 0), textcoords="offset points",
                va="center", fontsize=12.5,
            )  # fmt: skip
        axes.set_yticks(list(heights), [column.column for column in shown])
        axes.set_ylim(-0.7, len(shown) - 0.3)
        axes.set_xlim(0, max(1.2, 1.12 * max(ratios)))
        axes.set_xlabel("Distance between then and now, in multiples of the threshold")
        plain(axes)

    return svg.draw(
        "drift", "Drift of each column relative to its threshold.", paint, height=70 + ROW_HEIGHT * len(shown)
    )


def timing_bars(seconds: dict[str, float]) -> str:
    """Seconds per stage, in the order that they ran."""

    def paint(_: "Figure", axes: "Axes") -> None:
        heights = list(range(len(seconds) - 1, -1, -1))
        axes.barh(heights, list(seconds.values()), color=svg.MAIN, height=0.5, zorder=2)
        for height, value in zip(heights, seconds.values(), strict=True):
            axes.annotate(
                words.duration(value), (value, height), xytext=(5, 0), textcoords="offset points", va="center",
                fontsize=12.5,
            )  # fmt: skip
        axes.set_yticks(heights, list(seconds))
        axes.set_ylim(-0.7, len(seconds) - 0.3)
        axes.set_xlim(0, 1.15 * max(*seconds.values(), 1e-9))
        axes.set_xlabel("Seconds")
        plain(axes)

    return svg.draw("timings", "Seconds per stage.", paint, height=70 + ROW_HEIGHT * len(seconds))


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(interval.estimate * factor, interval.low * factor, interval.high * factor)
