"""The summary: the report's numbers for machines, under keys that stay. `docs/summary.md` documents them."""

from dataclasses import asdict

from trimtab.report.loop import (
    DataSection,
    DriftSection,
    ExperimentSection,
    FeatureSection,
    Gate,
    ImpactSection,
    LoopReport,
    ModelSection,
)
from trimtab.types import Interval, StageSkipped

Summary = dict[str, object]
SCHEMA_VERSION = 1


def summarise(report: LoopReport) -> Summary:
    """The report as one JSON-serialisable document.

    A stage that did not run leaves nulls under its keys and its reason under `skipped.<stage>`.

    Args:
        report: What to summarise.
    """
    parts = {
        "data": report.data,
        "features": report.features,
        "model": report.model,
        "impact": report.impact,
        "experiment": report.experiment,
        "promotion": report.promotion,
        "drift": report.drift,
        "retrain": report.retrain,
    }
    retrain = None if isinstance(report.retrain, StageSkipped) else report.retrain
    promotion = None if isinstance(report.promotion, StageSkipped) else report.promotion
    return {
        "schema_version": SCHEMA_VERSION,
        "run": report.run,
        "made_at": report.made_at.isoformat(),
        "data": _data(report.data),
        "features": _features(report.features),
        "model": _model(report.model),
        "baselines": {} if isinstance(report.model, StageSkipped) else _baselines(report.model),
        "impact": _impact(report.impact),
        "experiment": _experiment(report.experiment),
        "promotion": {
            "champion_before": promotion.champion_before if promotion else None,
            "champion_after": promotion.champion_after if promotion else None,
        },
        "drift": _drift(report.drift),
        "retrain": {
            **_gate(retrain.gate if retrain else None),
            "snapshot_id": retrain.snapshot_id if retrain else None,
            "auc": retrain.auc.estimate if retrain and retrain.auc else None,
        },
        "timings_seconds": dict(report.timings_seconds),
        "elapsed_seconds": report.elapsed_seconds,
        "versions": dict(report.provenance.versions),
        "seeds": dict(report.provenance.seeds),
        "skipped": {name: part.reason for name, part in parts.items() if isinstance(part, StageSkipped)},
    }


def _data(data: DataSection | StageSkipped) -> Summary:
    if isinstance(data, StageSkipped):
        return dict.fromkeys(("rows", "rejected", "snapshot_id", "spec", "source", "findings"))
    return {
        "rows": data.rows,
        "rejected": data.rejected,
        "snapshot_id": data.snapshot_id,
        "spec": data.spec,
        "source": data.source,
        "findings": [asdict(finding) for finding in data.findings],
    }


def _features(features: FeatureSection | StageSkipped) -> Summary:
    if isinstance(features, StageSkipped):
        return dict.fromkeys(("request", "history", "units"))
    return {"request": list(features.request), "history": list(features.history), "units": features.units}


def _model(model: ModelSection | StageSkipped) -> Summary:
    if isinstance(model, StageSkipped):
        keys = ("kind", "auc", "log_loss", "calibration_error", "bayes_auc", "threshold", "winner", "intervals")
        return {**dict.fromkeys(keys), **_gate(None)}
    evaluation = model.evaluation
    return {
        "kind": evaluation.model,
        **_estimates(evaluation.metrics),
        "bayes_auc": model.bayes_auc,
        "threshold": evaluation.threshold,
        "winner": evaluation.winner,
        "intervals": _bounds(evaluation.metrics),
        **_gate(model.gate),
    }


def _baselines(model: ModelSection) -> Summary:
    evaluation = model.evaluation
    return {
        name: {
            **_estimates(metrics),
            "intervals": _bounds(metrics),
            "log_loss_gap": _interval(evaluation.log_loss_gap.get(name)),
        }
        for name, metrics in evaluation.baselines.items()
    }


def _impact(impact: ImpactSection | StageSkipped) -> Summary:
    if isinstance(impact, StageSkipped):
        return dict.fromkeys(("sessions", "converted", "level", "ranking", "rank_correlation"))
    study, agreement = impact.study, impact.agreement
    return {
        "sessions": study.sessions,
        "converted": study.converted,
        "level": study.kpis[0].largest.level if study.kpis else None,
        "ranking": [
            {
                "kpi": kpi.kpi,
                "rank": kpi.rank,
                "rank_low": kpi.rank_low,
                "rank_high": kpi.rank_high,
                "relative": _interval(kpi.largest.population.relative),
                "flips_gained": kpi.largest.gained,
                "flips_lost": kpi.largest.lost,
                "conversions_in_sample": _interval(kpi.largest.sample.conversions),
            }
            for kpi in study.kpis
        ],
        "rank_correlation": _interval(agreement.spearman) if agreement else None,
    }


def _experiment(experiment: ExperimentSection | StageSkipped) -> Summary:
    if isinstance(experiment, StageSkipped):
        return dict.fromkeys(("name", "verdict", "reasons", "srm_p_value", "arms", "effects"))
    return {
        "name": experiment.name,
        "verdict": experiment.decision,
        "reasons": list(experiment.reasons),
        "srm_p_value": experiment.srm_p_value,
        "arms": [{**asdict(arm), "rate": arm.rate} for arm in experiment.arms],
        "effects": {
            effect.metric: {
                "absolute": _interval(effect.absolute),
                "relative": _interval(effect.relative),
                "p_value": effect.p_value,
            }
            for effect in experiment.effects
        },
    }


def _drift(drift: DriftSection | StageSkipped) -> Summary:
    if isinstance(drift, StageSkipped):
        return dict.fromkeys(("detected", "action", "reasons", "columns"))
    return {
        "detected": drift.detected,
        "action": drift.action,
        "reasons": list(drift.reasons),
        "columns": [column.column for column in drift.columns if column.drifted],
    }


def _gate(gate: Gate | None) -> Summary:
    return {
        "version": (gate.version or None) if gate else None,
        "gate_passed": gate.passed if gate else None,
        "gate_reasons": list(gate.reasons) if gate else [],
    }


def _estimates(metrics: dict[str, Interval]) -> Summary:
    return {name: interval.estimate for name, interval in metrics.items()}


def _bounds(metrics: dict[str, Interval]) -> Summary:
    return {name: [interval.low, interval.high] for name, interval in metrics.items()}


def _interval(interval: Interval | None) -> Summary | None:
    return None if interval is None else asdict(interval)
