"""The effect on every metric, and whether guardrails hold."""

from trimtab.experiments.analysis.result import ArmComparison, MetricResult
from trimtab.experiments.criteria import Criterion
from trimtab.report import words
from trimtab.report.document import Block, Cell, Chart, Folded, Note, Paragraph, Part, Table, head, row
from trimtab.report.experiment import charts, numbers
from trimtab.report.experiment.matrix import STATUS_TONES
from trimtab.report.experiment.model import ExperimentReport

WITHHELD = Paragraph("Not to be read while the data fail their checks.")
DOUBT = Note(
    "Do not act on these numbers.",
    ("The data do not pass their checks, so the effects may be nothing but the fault. They help to find it.",),
    "bad",
)


def effects(report: ExperimentReport) -> Part:
    """Forest plot and table of all metrics."""
    level = words.percent(1 - report.analysis.experiment.alpha, 0)
    blocks: list[Block] = []
    drawn = charts.effect_forest(report)
    if drawn:
        caption = f"Change relative to {report.analysis.experiment.control}. Lines: {level} intervals, each for itself."
        if report.named("guardrail"):
            caption += " Upright bars: the margins of guardrails, which their intervals must not reach."
        blocks.append(Chart(drawn, caption))
    blocks.append(_table(report))
    blocks += [Paragraph(line, muted=True) for line in _treated(report)]
    if not report.healthy:
        blocks = [DOUBT, Folded("The effects as measured, for finding the fault", tuple(blocks))]
    return Part("effects", "Effects", "Effects", tuple(blocks))


def _table(report: ExperimentReport) -> Table:
    corrected = any(
        one.p_value != one.p_value_adjusted for metric in report.analysis.metrics.values() for one in metric.comparisons
    )
    pairs = [(name, metric, one) for name, metric in report.analysis.metrics.items() for one in metric.comparisons]
    rows = [_row(report, name, metric, one, corrected=corrected) for name, metric, one in pairs]
    names = [name for name, _, _ in pairs]
    columns = head(
        "Metric", *(["Treatment"] if report.several else []), f"#In {report.analysis.experiment.control}",
        "#In treatment" if report.several else f"#In {report.treatment or 'treatment'}", "#Relative change",
        "#Absolute change", "#p", *(["#p, corrected"] if corrected else []),
    )  # fmt: skip
    primary = report.analysis.experiment.primary
    return Table(columns, tuple(rows), main=names.index(primary) if primary in names else None)


def _row(
    report: ExperimentReport, name: str, metric: MetricResult, one: ArmComparison, *, corrected: bool
) -> tuple[Cell, ...]:
    values = [numbers.value(metric.kind, metric.arms[arm].value) for arm in (one.control, one.treatment)]
    units = [f"{metric.arms[arm].units:,} units" for arm in (one.control, one.treatment)]
    change = Cell("undefined") if one.relative is None else Cell(*numbers.shown(metric, one))
    return row(
        Cell(name, f"{metric.role}, {metric.direction} is better"),
        *([one.treatment] if report.several else []),
        *(Cell(text, note) for text, note in zip(values, units, strict=True)),
        change,
        Cell(*numbers.absolute_text(metric, one.absolute)),
        numbers.plain_p(one.p_value),
        *([numbers.plain_p(one.p_value_adjusted)] if corrected else []),
    )


def _treated(report: ExperimentReport) -> list[str]:
    """What was done to the data of each metric, and what could not be compared."""
    lines = []
    for name, metric in report.analysis.metrics.items():
        told = [*metric.treated, *(one.note for one in metric.comparisons if one.note)]
        if not metric.comparisons and not told:
            told = ["The data allow no comparison."]
        lines += [f"{name}: {' '.join(dict.fromkeys(told))}"] if told else []
    return lines


def _status(report: ExperimentReport, line: Criterion | None) -> Cell:
    if line is None:
        return Cell("no data")
    return Cell(line.status, tone=STATUS_TONES[line.status]) if report.healthy else Cell("not judged")


def guardrails(report: ExperimentReport) -> Part:
    """Each guardrail against its margin: safety has to be shown, not only harm be absent."""
    named = report.named("guardrail")
    if not named:
        text = "No guardrail was declared, so nothing is known about side effects on other metrics."
        return Part("guardrails", "Guardrails", "Guardrails", (Paragraph(text),))
    alpha = report.analysis.experiment.alpha / 2
    rows = []
    for arm in report.analysis.verdict.arms:
        status = {line.name: line for line in arm.criteria}
        for name, metric in named.items():
            line = status.get(f"guardrail {name}")
            found = next((one for one in metric.comparisons if one.treatment == arm.treatment), None)
            test = found.noninferiority if found else None
            rows.append(
                row(
                    Cell(name, f"{metric.direction} is better"),
                    *([arm.treatment] if report.several else []),
                    words.percent(metric.margin, 1),
                    Cell(*numbers.shown(metric, found)) if found else "no data",
                    words.percent(test.worst, 1, signed=True) if test else "unknown",
                    numbers.plain_p(test.p_value) if test else "",
                    _status(report, line),
                )
            )
    columns = head(
        "Guardrail", *(["Treatment"] if report.several else []), "#May worsen by", "#Change",
        "#At worst, worse by", "#p", "Status",
    )  # fmt: skip
    blocks: list[Block] = [
        Paragraph(
            "A guardrail passes only if a deterioration as large as its margin is refuted "
            f"(one-sided test at {alpha:g}); few data therefore do not pass for safety."
        ),
        Table(columns, tuple(rows)),
    ]
    if not report.healthy:
        blocks = [WITHHELD, Folded("The guardrails as measured", tuple(blocks))]
    return Part("guardrails", "Guardrails", "Guardrails", tuple(blocks))
