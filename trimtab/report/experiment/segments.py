"""The section on segments: first whether they differ at all, then each, and no claim without evidence."""

from trimtab.experiments.analysis.result import Segmentation, SegmentComparison
from trimtab.report.document import Block, Cell, Chart, Folded, Heading, Note, Paragraph, Part, Table, head, row
from trimtab.report.experiment import charts, numbers
from trimtab.report.experiment.effects import WITHHELD
from trimtab.report.experiment.model import ExperimentReport

_NO_CLAIM = "no claim"


def segments(report: ExperimentReport) -> Part:
    """Every attribute: the interaction test in words, a forest plot and a table."""
    parts = report.segments
    if not parts:
        text = "No segment was analysed; the effect is known for all units together only."
        return Part("segments", "Segments", "Segments", (Paragraph(text),))
    blocks: list[Block] = []
    if report.several:
        blocks.append(Paragraph(f"{report.treatment} against {report.analysis.experiment.control}."))
    if len(parts) > 1:
        blocks.append(
            Paragraph(
                f"{len(parts)} attributes were tested for a difference between their segments. Each test has its own "
                f"error rate of {report.analysis.experiment.alpha:g}, so of so many, a single one that seems to matter "
                "is a question for a next experiment rather than an answer."
            )
        )
    for part in parts:
        blocks += _attribute(report, part)
    if not report.healthy:
        blocks = [WITHHELD, Folded("The segments as measured", tuple(blocks))]
    return Part("segments", "Segments", "Segments", tuple(blocks))


def interaction(report: ExperimentReport, part: Segmentation) -> tuple[str, tuple[str, ...]]:
    """Whether the segments of an attribute differ, in words, and what follows."""
    test = part.heterogeneity
    if test is None:
        return f"Too few values of {part.attribute} carry information to test whether effects differ.", ()
    measured = f"interaction test {numbers.p_value(test.p_value)}"
    if not report.healthy:
        return f"By {part.attribute}: {measured}.", ()
    harmed = [segment.segment for segment in part.segments if segment.claim == "worse"]
    worse = (f"The treatment is shown to be worse for {numbers.joined(harmed)}.",) if harmed else ()
    if not part.differs:
        advice = (
            "The effect overall is the best estimate for every segment; what one segment shows alone is no reason to "
            "treat it apart."
        )
        return f"Effects are not shown to differ by {part.attribute} ({measured}).", worse or (advice,)
    helped = [segment.segment for segment in part.segments if segment.claim == "better"]
    better = (f"The treatment is shown to be better for {numbers.joined(helped)}.",) if helped else ()
    alone = (*better, *worse) or ("Yet in no segment is an effect of its own shown.",)
    return f"Effects differ by {part.attribute} ({measured}).", alone


def claim(part: Segmentation, segment: SegmentComparison) -> Cell:
    """What may be said of one segment: harm whenever it is shown, a benefit of its own only where segments differ."""
    if segment.claim == "worse":
        return Cell("worse", tone="bad")
    if segment.claim == "better" and part.differs:
        return Cell("better", tone="good")
    return Cell("none shown" if part.differs else _NO_CLAIM)


def _attribute(report: ExperimentReport, part: Segmentation) -> list[Block]:
    overall = report.comparison.relative if report.comparison else None
    said, rest = interaction(report, part)
    blocks: list[Block] = [Heading(part.attribute)]
    blocks.append(Note(said, rest) if report.healthy else Paragraph(said))
    drawn = charts.segment_forest(part, overall.estimate if overall else None)
    if drawn:
        shown = min(len(part.segments), charts.MOST_SEGMENTS)
        more = f" The first {shown} of {len(part.segments)}." if shown < len(part.segments) else ""
        blocks.append(
            Chart(
                drawn,
                f"Relative effect in each segment. Solid line: no effect; dashed: the effect overall.{more}",
            )
        )
    blocks.append(_table(report, part))
    if part.left_out:
        blocks.append(Paragraph(f"Too few units to compare: {numbers.joined(part.left_out)}.", muted=True))
    return blocks


def _table(report: ExperimentReport, part: Segmentation) -> Table:
    columns = head("Segment", "#Units", "#Effect", "#p", f"#p over {len(part.segments)}", "Claim")
    rows = tuple(
        row(
            segment.segment or "missing",
            f"{segment.units:,}",
            _effect(report, segment),
            numbers.plain_p(segment.p_value),
            numbers.plain_p(segment.p_value_adjusted),
            claim(part, segment) if report.healthy else _NO_CLAIM,
        )
        for segment in part.segments
    )
    method = report.spec.correction.replace("_", "-").capitalize()
    return Table(columns, rows, caption=f"p over {len(part.segments)}: corrected for the number of segments ({method})")


def _effect(report: ExperimentReport, segment: SegmentComparison) -> Cell:
    if segment.relative is None:
        return Cell(*numbers.absolute_text(report.primary, segment.absolute))
    effect = segment.relative
    return Cell(numbers.relative(effect.estimate), numbers.bounds(effect.low, effect.high, numbers.relative))
