"""Numbers as people write them, and the story of the loop in a few sentences.

Every sentence is derived from the values beside it, so that words and numbers cannot part.
"""

from dataclasses import dataclass
from typing import Literal

from trimtab.experiments.health import SRM_ALPHA
from trimtab.impact.study import ImpactStudy
from trimtab.monitoring.policy import Action
from trimtab.report.loop import (
    DriftSection,
    ExperimentSection,
    ImpactSection,
    LoopReport,
    ModelSection,
    PromotionSection,
    RetrainSection,
)
from trimtab.types import Decision, Interval, StageSkipped

Tone = Literal["good", "bad", "neutral"]

VERDICTS: dict[Decision, str] = {"ship": "Ship", "roll_back": "Roll back", "hold": "Hold"}
TONES: dict[Decision, Tone] = {"ship": "good", "roll_back": "bad", "hold": "neutral"}
DRIFT: dict[Action, str] = {"none": "None", "retrain": "Detected", "page": "Data broken"}
METRICS: dict[str, str] = {
    "auc": "AUC",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "calibration_error": "Calibration error",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
}
MOST_KPIS = 15
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "calibration_error"})


@dataclass(frozen=True, slots=True)
class Card:
    """One headline: a label, a large figure and a sentence."""

    label: str
    figure: str
    sentence: str
    tone: Tone = "neutral"
    anchor: str = ""


def integer(value: float) -> str:
    """A count with thousands separated.

    >>> integer(80000)
    '80,000'
    """
    return f"{value:,.0f}"


def decimal(value: float, digits: int = 3, *, signed: bool = False) -> str:
    """A number with fixed digits and a true minus sign.

    >>> decimal(-0.25, 2)
    '−0.25'
    """
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def percent(value: float, digits: int = 1, *, signed: bool = False) -> str:
    """A share as a percentage.

    >>> percent(0.0423, signed=True), percent(-0.5, 0)
    ('+4.2%', '−50%')
    """
    sign = "+" if signed else ""
    text = f"{100 * value:{sign}.{digits}f}%"
    # A rounded zero has no sign.
    return text.lstrip("+-").replace("-", "−") if float(text[:-1]) == 0 else text.replace("-", "−")


def percent_interval(interval: Interval, digits: int = 1) -> str:
    """The bounds of an interval of shares.

    >>> percent_interval(Interval(0.042, 0.011, 0.074))
    '+1.1% to +7.4%'
    """
    return f"{percent(interval.low, digits, signed=True)} to {percent(interval.high, digits, signed=True)}"


def decimal_interval(interval: Interval, digits: int = 3) -> str:
    """The bounds of an interval of plain numbers.

    >>> decimal_interval(Interval(0.88, 0.871, 0.889))
    '0.871 to 0.889'
    """
    return f"{decimal(interval.low, digits)} to {decimal(interval.high, digits)}"


def p_value(value: float) -> str:
    """A p-value, with a floor where digits stop meaning anything.

    >>> p_value(0.0314), p_value(1e-9)
    ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def capital(text: str) -> str:
    """A sentence as it begins, with a capital; a name that is no word stays as it is written.

    >>> capital("conversion is better."), capital("page_load is worse.")
    ('Conversion is better.', 'page_load is worse.')
    """
    return text if "_" in text.partition(" ")[0] else text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """Seconds, or minutes and seconds.

    >>> duration(4.26), duration(187)
    ('4.3 s', '3 min 07 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def metric_name(metric: str) -> str:
    """The name of a metric as people write it."""
    return METRICS.get(metric, metric.replace("_", " ").capitalize())


def lead(report: LoopReport) -> str:
    """The one sentence to read."""
    experiment = report.experiment
    if isinstance(experiment, StageSkipped):
        if isinstance(report.model, StageSkipped):
            return "The loop stopped before a model was trained."
        return f"A model was trained and checked; there is no verdict, because {_clause(experiment.reason)}"
    return f"{_verdict_sentence(experiment)} {_effect_sentence(experiment)}".strip()


def cards(report: LoopReport) -> tuple[Card, ...]:
    """The headlines: verdict, model, most valuable KPI, data, drift."""
    found = [_verdict_card(report.experiment), _model_card(report.model), _impact_card(report.impact)]
    if not isinstance(report.data, StageSkipped):
        data = report.data
        aside = f"{integer(data.rejected)} set aside with reasons" if data.rejected else "none had to be set aside"
        found.append(Card("Data checked", integer(data.rows), f"sessions accepted, {aside}.", "neutral", "data"))
    found.append(_drift_card(report))
    return tuple(card for card in found if card is not None)


def model_sentence(model: ModelSection) -> str:
    """The quality of the main model in words."""
    auc = model.evaluation.metrics["auc"]
    words = (
        "Of two sessions, one that converted and one that did not, the model rates the right one higher "
        f"{100 * auc.estimate:.0f} times in 100"
    )
    if model.bayes_auc is not None:
        gap = model.bayes_auc - auc.estimate
        place = f"{decimal(gap, 4)} below" if gap > 0 else "level with"
        words += (
            f"; its AUC is {place} the best that any model could reach on these data ({decimal(model.bayes_auc, 4)})"
        )
    return words + "."


def winner_sentence(model: ModelSection) -> str:
    """Which model is best by log loss, the main one or not, and how sure that is."""
    evaluation = model.evaluation
    if not evaluation.baselines:
        return "No baseline was fitted."
    loss = decimal(model.models[evaluation.winner]["log_loss"].estimate, 4)
    sentence = f"{evaluation.winner} has the lowest log loss ({loss})"
    rival = (
        max(evaluation.log_loss_gap, key=lambda name: evaluation.log_loss_gap[name].estimate)
        if evaluation.winner == evaluation.model
        else evaluation.winner
    )
    gap = evaluation.log_loss_gap[rival]
    sure = gap.high < 0 or gap.low > 0
    measured = f"{decimal(abs(gap.estimate), 4)} between {evaluation.model} and {rival}"
    if sure:
        return f"{sentence}; the difference of {measured} is more than chance explains."
    return f"{sentence}; the difference of {measured} is within what chance explains."


def srm_sentence(experiment: ExperimentSection) -> str:
    """Whether users were split as planned."""
    measured = p_value(experiment.srm_p_value)
    if experiment.srm_p_value < SRM_ALPHA:
        return f"Users were not split as planned ({measured} for the sample ratio): do not read the effects."
    return f"Users were split as planned ({measured} for the sample ratio)."


def promotion_sentence(promotion: PromotionSection) -> str:
    """What became of the champion."""
    before, after = promotion.champion_before, promotion.champion_after
    moved = f"Version {after} is the champion now; before, it was version {before}."
    stayed = f"Version {after} stays champion."
    return f"{stayed if before == after else moved} {promotion.words}".strip()


def retrain_sentence(retrain: RetrainSection) -> str:
    """The new challenger."""
    score = ""
    if retrain.auc is not None:
        interval = decimal_interval(retrain.auc)
        score = f" Its AUC on its own held-out sessions is {decimal(retrain.auc.estimate)} ({interval})."
    return (
        f"The retraining pipeline trained version {retrain.gate.version} on snapshot {retrain.snapshot_id}.{score} "
        "It is registered beside the champion and serves nobody until an experiment says so."
    )


def coverage_sentence(impact: ImpactSection) -> str:
    """How often the intervals hold the truth, and what they leave out; nothing where there is no truth."""
    if impact.agreement is None:
        return ""
    pairs = [
        (kpi.largest.population.relative, impact.agreement.truth[kpi.kpi])
        for kpi in impact.study.kpis
        if kpi.kpi in impact.agreement.truth
    ]
    held = sum(interval.low <= true <= interval.high for interval, true in pairs)
    return f"The intervals hold the true effect for {held} of {len(pairs)} KPIs: what they leave out is not small."


def impact_caption(study: ImpactStudy) -> str:
    """What the KPI chart shows, and on how many sessions."""
    shown = min(len(study.kpis), MOST_KPIS)
    which = f"the first {shown} of {len(study.kpis)} KPIs" if shown < len(study.kpis) else f"all {shown} KPIs"
    return (
        f"{integer(study.sessions)} held-out sessions, {integer(study.converted)} of which converted, weighted back to "
        f"the natural mix ({percent(study.base_rate)} convert); {which}. Lines: {percent(study.confidence, 0)} "
        "bootstrap intervals over sessions; they leave out how unsure the model itself is."
    )


def _verdict_sentence(experiment: ExperimentSection) -> str:
    treatment = experiment.arms[-1].version
    return {
        "ship": f"Ship version {treatment}.",
        "roll_back": f"Roll back version {treatment}.",
        "hold": f"Hold: version {treatment} has not earned a decision yet.",
    }[experiment.decision]


def _effect_sentence(experiment: ExperimentSection) -> str:
    if not experiment.effects:
        return ""
    effect = experiment.effects[0]
    if effect.relative is None:
        return f"No {effect.metric} was seen in control, so there is no relative effect."
    relative, level = effect.relative, percent(1 - experiment.alpha, 0)
    interval = f"{level} interval {percent_interval(relative)}"
    if relative.estimate == 0:
        return f"{capital(effect.metric)} was the same as with the champion ({interval})."
    side = "higher" if relative.estimate > 0 else "lower"
    return f"{capital(effect.metric)} was {percent(abs(relative.estimate))} {side} than with the champion ({interval})."


def _verdict_card(experiment: ExperimentSection | StageSkipped) -> Card:
    if isinstance(experiment, StageSkipped):
        return Card("Verdict", "None", f"There was no experiment: {experiment.reason}", "neutral", "experiment")
    sentence = capital(experiment.reasons[0]) if experiment.reasons else ""
    return Card("Verdict", VERDICTS[experiment.decision], sentence, TONES[experiment.decision], "experiment")


def _model_card(model: ModelSection | StageSkipped) -> Card:
    if isinstance(model, StageSkipped):
        return Card("Model", "None", model.reason, "neutral", "model")
    auc = model.evaluation.metrics["auc"]
    failed = model.gate is not None and not model.gate.passed
    gate = " The quality gate did not let it pass." if failed else ""
    best = f"; {decimal(model.bayes_auc)} is the best possible" if model.bayes_auc is not None else ""
    sentence = f"AUC on held-out sessions ({decimal_interval(auc)}){best}.{gate}"
    return Card("Model quality", decimal(auc.estimate), sentence, "bad" if failed else "neutral", "model")


def _impact_card(impact: ImpactSection | StageSkipped) -> Card | None:
    if isinstance(impact, StageSkipped) or not impact.study.kpis:
        return None
    best = impact.study.kpis[0]
    relative = best.largest.population.relative
    sentence = (
        f"more predicted conversions go with {best.kpi} being {percent(best.largest.level, 0)} better "
        f"({percent_interval(relative)}); an association."
    )
    return Card("Most valuable KPI", percent(relative.estimate, signed=True), sentence, "neutral", "impact")


def _drift_card(report: LoopReport) -> Card | None:
    drift = report.drift
    if isinstance(drift, StageSkipped):
        return None
    sentence = drift_sentence(drift)
    if not isinstance(report.retrain, StageSkipped):
        sentence += f" Version {report.retrain.gate.version} was trained in answer."
    return Card("Drift", DRIFT[drift.action], sentence, "neutral" if drift.action == "none" else "bad", "drift")


def drift_sentence(drift: DriftSection) -> str:
    """How many columns drifted."""
    if not drift.columns:
        return "The sessions could not be compared column by column."
    drifted = sum(column.drifted for column in drift.columns)
    return f"{drifted} of {len(drift.columns)} columns moved past their threshold."


def _clause(reason: str) -> str:
    text = reason[:1].lower() + reason[1:]
    return text if text.endswith(".") else text + "."
