"""The section on the launch that follows from the verdict."""

from trimtab.report import words
from trimtab.report.document import Paragraph, Part, Table, head, row
from trimtab.report.experiment import numbers
from trimtab.report.experiment.model import ExperimentReport


def launch(report: ExperimentReport) -> Part:
    """The phases; a sentence where the verdict has none."""
    phases, decision = report.analysis.launch, report.analysis.verdict.decision
    if not phases:
        text = f"There is nothing to launch: the verdict is to {words.VERDICTS[decision].lower()}."
        return Part("launch", "Launch", "Launch plan", (Paragraph(text),))
    rows = tuple(
        row(
            f"{place}. {words.capital(phase.name)}",
            numbers.joined(phase.segments) if phase.segments else "all units",
            " → ".join(words.percent(share, 0) for share in phase.shares),
            phase.reason,
            phase.gate,
        )
        for place, phase in enumerate(phases, start=1)
    )
    columns = head("Phase", "Who", "Share", "~Why", "~Before the next step")
    return Part("launch", "Launch", "Launch plan", (Table(columns, rows),))
