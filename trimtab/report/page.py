"""The self-contained page: one HTML file that needs nothing but itself."""

from dataclasses import dataclass

from markupsafe import Markup

from trimtab.report import charts, words
from trimtab.report.environment import environment
from trimtab.report.loop import LoopReport

# Shown in the table of the page; the summary has them all.
TABLE_METRICS = ("auc", "average_precision", "log_loss", "brier", "calibration_error", "f1")
DIGITS = {"auc": 4, "log_loss": 4, "calibration_error": 4, "brier": 4}


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page: `sections/<anchor>.html` renders `part`."""

    anchor: str
    short: str
    title: str
    part: object


class _Charts:
    """The charts as markup that the templates need not escape."""

    def __getattr__(self, name: str) -> object:
        chart = getattr(charts, name)
        return lambda *values: Markup(chart(*values))  # noqa: S704 (svg.draw escapes what it is given)


def render_page(report: LoopReport) -> str:
    """The page as HTML, with its style and figures inside and no reference to anything elsewhere.

    Args:
        report: What to show.
    """
    return (
        environment()
        .get_template("page.html")
        .render(
            report=report,
            sections=_sections(report),
            lead=words.lead(report),
            cards=words.cards(report),
            words=words,
            charts=_Charts(),
            metrics=TABLE_METRICS,
            digits={metric: DIGITS.get(metric, 3) for metric in TABLE_METRICS},
        )
    )


def _sections(report: LoopReport) -> tuple[Section, ...]:
    return (
        Section("data", "Data", "Data checked", report.data),
        Section("features", "Features", "What the model is given", report.features),
        Section("model", "Model", "The model beside honest baselines", report.model),
        Section("impact", "KPIs", "What each KPI is worth", report.impact),
        Section("experiment", "Experiment", "Two versions in front of users", report.experiment),
        Section("promotion", "Champion", "What became of the champion", report.promotion),
        Section("drift", "Drift", "How later sessions differ", report.drift),
        Section("retrain", "Retraining", "The new challenger", report.retrain),
        Section("made", "How it was made", "How it was made", report.provenance),
    )
