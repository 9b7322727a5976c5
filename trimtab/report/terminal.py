"""The report in a terminal: one table at the end of a run."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trimtab.report import words
from trimtab.report.loop import (
    DataSection,
    DriftSection,
    ExperimentSection,
    ImpactSection,
    LoopReport,
    ModelSection,
    PromotionSection,
    RetrainSection,
)
from trimtab.types import StageSkipped

Part = (
    StageSkipped
    | DataSection
    | ModelSection
    | ImpactSection
    | ExperimentSection
    | PromotionSection
    | DriftSection
    | RetrainSection
)
_STYLES: dict[words.Tone, str] = {"good": "bold green", "bad": "bold red", "neutral": "bold"}
_TOP_KPIS = 3
_TOP_FINDINGS = 3
_SLOWEST = 3


def terminal_table(report: LoopReport) -> RenderableType:
    """What a person wants to know when a run ends.

    Args:
        report: What to show.
    """
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    parts: dict[str, Part] = {
        "data": report.data,
        "model": report.model,
        "KPIs": report.impact,
        "experiment": report.experiment,
        "champion": report.promotion,
        "drift": report.drift,
        "retraining": report.retrain,
    }
    for label, part in parts.items():
        skipped = isinstance(part, StageSkipped)
        table.add_row(label, Text("\n".join(_lines(part)), style="dim" if skipped else ""))
    table.add_row("time", _time(report.timings_seconds, report.elapsed_seconds))
    tone = words.TONES[report.experiment.decision] if isinstance(report.experiment, ExperimentSection) else "neutral"
    return Group(Text(words.lead(report), style=_STYLES[tone]), "", table)


def _lines(part: Part) -> list[str]:
    """One part of the report in a line or a few."""
    match part:
        case StageSkipped():
            lines = [f"not run: {part.reason}"]
        case DataSection():
            lines = [f"{words.integer(part.rows)} sessions, {words.integer(part.rejected)} in quarantine"]
            lines += [
                f"{finding.column or 'rows'}: {finding.message}"
                for finding in part.findings
                if finding.severity == "warning"
            ][:_TOP_FINDINGS]
        case ModelSection():
            lines = [*_model_lines(part), words.winner_sentence(part)]
        case ImpactSection():
            lines = _impact_lines(part)
        case ExperimentSection():
            lines = [_arms_line(part), *map(words.capital, part.reasons)]
        case PromotionSection():
            lines = [words.promotion_sentence(part)]
        case DriftSection():
            lines = [words.drift_sentence(part), *part.reasons[:1]]
        case RetrainSection():
            gate = "passed the quality gate" if part.gate.passed else "did not pass the quality gate"
            lines = [f"version {part.gate.version}, {gate}"]
    return lines


def _arms_line(experiment: ExperimentSection) -> str:
    arms = (
        f"{arm.arm} (version {arm.version}) {words.percent(arm.rate, 2)} of {words.integer(arm.users)} users"
        for arm in experiment.arms
    )
    return "; ".join(arms)


def _model_lines(model: ModelSection) -> list[str]:
    best = f" (best possible {words.decimal(model.bayes_auc, 4)})" if model.bayes_auc is not None else ""
    lines = []
    for name, metrics in model.models.items():
        scores = [
            f"{words.metric_name(key)} {words.decimal(metrics[key].estimate, 4)}"
            for key in ("auc", "log_loss")
            if key in metrics
        ]
        lines.append(f"{name}: {', '.join(scores)}{best if name == model.evaluation.model else ''}")
    return lines


def _impact_lines(impact: ImpactSection) -> list[str]:
    lines = [
        f"{kpi.rank}. {kpi.kpi}: {words.percent(kpi.largest.population.relative.estimate, 2, signed=True)} predicted "
        f"conversions when {words.percent(kpi.largest.level, 0)} better"
        for kpi in impact.study.kpis[:_TOP_KPIS]
    ]
    return [*lines, *([impact.agreement.words] if impact.agreement else [])] or ["no KPI that can be changed"]


def _time(seconds: dict[str, float], elapsed: float | None) -> str:
    slowest = sorted(seconds.items(), key=lambda item: -item[1])[:_SLOWEST]
    parts = ", ".join(f"{stage} {words.duration(value)}" for stage, value in slowest)
    total = words.duration(sum(seconds.values()) if elapsed is None else elapsed)
    return f"{total} (longest at work: {parts})" if parts else total
