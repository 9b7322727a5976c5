"""The section on the effect over time."""

from trimtab.experiments.analysis.checks import NOVELTY_ALPHA
from trimtab.report import words
from trimtab.report.document import Block, Cell, Chart, Folded, Heading, Note, Paragraph, Part, Table, head, row
from trimtab.report.experiment import charts, numbers
from trimtab.report.experiment.effects import WITHHELD
from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.experiment.timeline import Timeline, timeline

_ANCHOR, _SHORT, _TITLE = "time", "Over time", "Effect over time"


def over_time(report: ExperimentReport) -> Part:
    """The effect so far with its bounds, the looks, and the effect of each day."""
    line = timeline(report)
    if line is None:
        return Part(_ANCHOR, _SHORT, _TITLE, (Paragraph(_nothing(report)),))
    blocks: list[Block] = [Chart(charts.timeline(report, line), _caption(report, line))]
    blocks += _rule(report, line)
    blocks += [Heading("Does the effect last?"), Paragraph(trend_sentence(report))]
    blocks.append(Chart(charts.daily(report, report.days), "Units by the day of their first exposure. Lines: 95%."))
    blocks.append(Folded("Day by day", (_days(report, line),)))
    if not report.healthy:
        blocks = [WITHHELD, Folded("The effect over time as measured", tuple(blocks))]
    return Part(_ANCHOR, _SHORT, _TITLE, tuple(blocks))


def trend_sentence(report: ExperimentReport) -> str:
    """Whether the effect changes from day to day."""
    trend = report.analysis.health.novelty.get(report.treatment)
    if trend is None:
        return "Too few days to say whether the effect changes."
    slope = numbers.absolute(report.primary.kind, trend.slope)
    measured = f"it changes by {slope} a day ({numbers.p_value(trend.p_value)}, judged at {NOVELTY_ALPHA:g})"
    return f"The effect is not steady: {measured}." if trend.present else f"No trend is shown: {measured}."


def _nothing(report: ExperimentReport) -> str:
    if report.spec.time is None:
        return "No time column was given, so whether the effect is steady, wears off or grows is not known."
    return "There are too few days with units in both arms to show the effect over time."


def _caption(report: ExperimentReport, line: Timeline) -> str:
    level = words.percent(1 - report.analysis.experiment.alpha, 0)
    name = report.analysis.experiment.primary
    name += f", {report.treatment} against {report.analysis.experiment.control}," if report.several else ""
    return {
        "sequential": f"{name} over all units so far. Dots are looks; one beyond the dashed bounds may stop the test. "
        f"The band is the nominal {level} interval, for orientation only.",
        "always": f"{name} over all units so far, with its {level} confidence sequence, which holds on all days "
        "together: it may be looked at, and stopped on, at any time.",
        "fixed": f"{name} over all units so far, with the nominal {level} interval. The test was planned for one look "
        "at the end, so only the right edge counts; stopping where the band first leaves zero would not keep "
        "the error rate.",
    }[line.kind]


def _rule(report: ExperimentReport, line: Timeline) -> list[Block]:
    """What the newest look says, and all of them."""
    found = report.comparison
    if found is None:
        return []
    if found.always_valid is not None:
        return [Note(found.always_valid.reason)]
    if found.sequential is None:
        return []
    rows = tuple(
        row(
            f"{place} of {len(line.looks)} so far",
            look.day,
            words.percent(look.fraction, 0),
            numbers.absolute(report.primary.kind, look.estimate),
            words.decimal(look.statistic, 2),
            words.decimal(look.bound, 2) if look.bound < 100 else "none",
            Cell("yes", tone="good") if abs(look.statistic) >= look.bound else "no",
        )
        for place, look in enumerate(line.looks, start=1)
    )
    columns = head("Look", "Until", "#Of the plan", "#Effect", "#Z", "#Bound", "Crossed")
    return [Note(found.sequential.reason), Table(columns, rows)]


def _days(report: ExperimentReport, line: Timeline) -> Table:
    kind = report.primary.kind
    rows = tuple(
        row(
            day.day,
            f"{day.units:,}",
            numbers.absolute(kind, day.effect.estimate),
            f"{point.units:,}",
            Cell(numbers.absolute(kind, point.estimate), _bounds(report, point.low, point.high)),
        )
        for day, point in zip(report.days, line.days, strict=True)
    )
    return Table(head("Day", "#Units", "#Effect", "#Units so far", "#Effect so far"), rows)


def _bounds(report: ExperimentReport, low: float, high: float) -> str:
    text = numbers.bounds(low, high, lambda number: numbers.absolute(report.primary.kind, number))
    return text.replace(" points to ", " to ")
