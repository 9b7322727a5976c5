"""The decision matrix, line by line, and whether it hangs on a choice."""

from trimtab.experiments.analysis.result import ArmVerdict, SensitivityRow
from trimtab.experiments.criteria import Criterion, Status
from trimtab.report import words
from trimtab.report.document import Block, Cell, Heading, Paragraph, Part, Table, head, row
from trimtab.report.experiment import numbers
from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.words import Tone

STATUS_TONES: dict[Status, Tone] = {"pass": "good", "fail": "bad", "open": "neutral"}


def decision_matrix(report: ExperimentReport) -> Part:
    """What was asked, what was found, and what follows, for each treatment."""
    blocks: list[Block] = [
        Paragraph(
            "Shipping asks for every line to pass. A primary metric shown to be worse, or a guardrail shown to be "
            "outside its margin, rolls back. Anything else holds; so do bad data and no data."
        )
    ]
    for arm in report.analysis.verdict.arms:
        blocks += [Heading(f"{arm.treatment}: {words.VERDICTS[arm.decision].lower()}")] if report.several else []
        blocks.append(_matrix(arm, healthy=report.healthy))
    return Part("decision", "Decision", "Decision matrix", tuple(blocks))


def _matrix(arm: ArmVerdict, *, healthy: bool) -> Table:
    """All lines; of faulty data only the one on health is judged."""
    return Table(
        head("Criterion", "Asked", "Found", "Status", "~Reason"),
        tuple(
            row(words.capital(line.name), line.threshold, line.actual, _mark(line), words.capital(line.reason))
            if healthy or line.name == "health"
            else row(words.capital(line.name), line.threshold, "", "not judged", "")
            for line in arm.criteria
        ),
    )


def _mark(line: Criterion) -> Cell:
    return Cell(line.status, tone=STATUS_TONES[line.status])


def sensitivity(report: ExperimentReport) -> Part:
    """Whether another analyst's choices would have moved the verdict."""
    anchor, short, title = "sensitivity", "Sensitivity", "Would another choice have changed the verdict?"
    rows = report.analysis.sensitivity
    if not report.healthy:
        text = "Not judged: no choice of method makes faulty data speak."
        return Part(anchor, short, title, (Paragraph(text),))
    if not rows:
        return Part(anchor, short, title, (Paragraph("There is no comparison on the primary metric to vary."),))
    columns = head("Choice", *(["Treatment"] if report.several else []), "#Effect", "#p", "Would say", "Moves?")
    table = Table(columns, tuple(_choice(report, line) for line in rows), caption=_caption(report))
    return Part(anchor, short, title, (Paragraph(moved_sentence(report)), table))


def moved_sentence(report: ExperimentReport) -> str:
    """Whether the verdict on the primary metric moves, and where."""
    rows = [line for line in report.analysis.sensitivity if line.variation != "as declared"]
    moved = [line for line in rows if line.moves]
    if not rows:
        return "No other choice could be tried on these data."
    if not moved:
        return f"No: each of {numbers.count(len(rows), 'other choice')} gives the same answer on the primary metric."
    named = "; ".join(
        f"{line.variation}{f' ({line.treatment})' if report.several else ''}: {words.VERDICTS[line.decision].lower()}"
        for line in moved
    )
    return f"Yes, {len(moved)} of {numbers.count(len(rows), 'other choice')} would: {named}."


def _caption(report: ExperimentReport) -> str:
    looks = " as if looked at once," if report.spec.sequential else ""
    return (
        f"Each row judges {report.analysis.experiment.primary} alone,{looks} uncorrected, without guardrails or money; "
        "for the Bayesian row, p is the probability not to be better"
    )


def _choice(report: ExperimentReport, line: SensitivityRow) -> tuple[Cell, ...]:
    def form(number: float) -> str:
        return numbers.relative(number) if line.relative else numbers.absolute(report.primary.kind, number)

    low = float("-inf") if line.low is None else line.low
    high = float("inf") if line.high is None else line.high
    return row(
        words.capital(line.variation),
        *([line.treatment] if report.several else []),
        Cell(form(line.estimate), numbers.bounds(low, high, form)),
        numbers.plain_p(line.p_value),
        words.VERDICTS[line.decision],
        Cell("yes", tone="bad") if line.moves else "no",
    )
