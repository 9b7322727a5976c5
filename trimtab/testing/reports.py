"""A loop report of realistic values, made by the real statistics on made-up sessions.

For tests of the report and for looking at it; nothing of it is a result.
"""

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab.experiments.health import sample_ratio
from trimtab.experiments.proportions import Proportion, compare_proportions
from trimtab.experiments.verdict import Evidence, decide
from trimtab.impact.agreement import rank_agreement
from trimtab.impact.whatif import study_impact
from trimtab.models.evaluate import Evaluation, Scored, evaluate
from trimtab.monitoring.drift import ColumnDrift
from trimtab.report.loop import (
    ArmRow,
    DataSection,
    DriftSection,
    EffectRow,
    ExperimentSection,
    FeatureSection,
    Gate,
    ImpactSection,
    LoopReport,
    ModelSection,
    PromotionSection,
    Provenance,
    RetrainSection,
)
from trimtab.sessions.inputs import model_inputs
from trimtab.sessions.spec import DatasetSpec, load_spec
from trimtab.sessions.validation.findings import Finding
from trimtab.types import Interval, StageSkipped

Floats = NDArray[np.float64]
STAGES = ("data", "features", "model", "impact", "experiment", "promotion", "drift", "retrain")


@cache
def loop_report(*, rows: int = 4_000, conversions: tuple[int, int] = (1_676, 1_842), seed: int = 3) -> LoopReport:
    """A full report of a simulated run.

    Args:
        rows: Held-out sessions behind the model's metrics.
        conversions: Converted users of control and treatment, of 15,000 each.
        seed: Seed of everything made up.
    """
    rng = np.random.default_rng(seed)
    spec = load_spec("ux_sessions")
    frame, probability = _sessions(spec, rows, rng)
    model = ModelSection(
        evaluation=_evaluation(frame, probability, spec, rng),
        bayes_auc=0.8,
        params={"width": "192", "dropout": "0.12", "learning_rate": "0.0021"},
        trials=12,
        pruned=5,
        gate=Gate(True, ("Log loss is below every baseline's.", "Calibration error is below 0.02."), 2),
    )
    inputs = model_inputs(spec)
    return LoopReport(
        run="20261122-140653",
        made_at=datetime(2026, 11, 22, 14, 6, 53, tzinfo=UTC),
        data=_data(),
        features=FeatureSection(inputs.request, inputs.history, 21_408, 3.2),
        model=model,
        impact=_impact(frame, spec, rng),
        experiment=_experiment(*conversions),
        promotion=PromotionSection(1, 2, "Users are served by it from here on."),
        drift=_drift(spec, rng),
        retrain=RetrainSection(
            "5d1c77a0e4b2f913",
            Gate(True, ("Log loss is below every baseline's.",), 3),
            model.evaluation.metrics["auc"],
        ),
        timings_seconds={
            "simulate": 3.4, "validate": 6.1, "features": 5.2, "materialize": 3.2, "tune": 61.7, "train": 22.9,
            "register": 5.8, "impact": 1.9, "experiment": 31.2, "decide": 0.6, "promote": 0.2, "drift": 9.4,
            "retrain": 44.0,
        },
        elapsed_seconds=254.0,
        provenance=Provenance(
            versions={"trimtab": "0.1.0", "torch": "2.13.0", "optuna": "5.0.0"},
            seeds={"everything": 7},
            commands=("trimtab run --seed 7",),
            profile="local",
        ),
    )  # fmt: skip


def skipped_report(*stages: str, reason: str = "the data have no unit column.") -> LoopReport:
    """A report in which some stages were not run.

    Args:
        stages: Names of sections, e.g. `experiment`; all where none is named.
        reason: Why.
    """
    report = loop_report(rows=800)
    return replace(report, **{stage: StageSkipped(stage, reason) for stage in stages or STAGES})  # type: ignore[arg-type]


def _sessions(spec: DatasetSpec, rows: int, rng: np.random.Generator) -> tuple[pd.DataFrame, Floats]:
    """Sessions in which some KPIs matter and most do not, with their true probabilities."""
    frame = pd.DataFrame({name: rng.gamma(4, 250, rows) for name in spec.kpis})
    for name in spec.segments:
        frame[name] = rng.choice(spec.attributes[name].categories or ("a", "b"), rows)
    probability = _predict(frame)
    frame[spec.label] = (rng.random(rows) < probability).astype(int)
    return frame, probability


def _predict(frame: pd.DataFrame) -> Floats:
    score = -1.6 - 0.0012 * (frame["lcp_ms"] - 1_000) - 0.0009 * (frame["inp_ms"] - 1_000)
    for weight, name in enumerate(("api_search_ms", "ttfb_ms", "api_cart_ms", "third_party_ms", "js_kb"), start=1):
        score -= 0.0008 / weight * (frame[name] - 1_000)
    return np.asarray(1 / (1 + np.exp(-score)), dtype=np.float64)


def _evaluation(frame: pd.DataFrame, probability: Floats, spec: DatasetSpec, rng: np.random.Generator) -> Evaluation:
    def blurred(noise: float) -> Floats:
        odds = np.log(probability / (1 - probability)) + rng.normal(0, noise, len(frame))
        return np.asarray(1 / (1 + np.exp(-odds)))

    label = frame[spec.label].to_numpy(dtype=np.float64)
    baselines = {
        "constant": Scored(np.full(len(frame), label.mean()), 0.2),
        "logistic": Scored(blurred(0.6), 0.2),
        "lightgbm": Scored(blurred(0.3), 0.2),
    }
    return evaluate(
        "plr_mlp",
        Scored(blurred(0.15), 0.2),
        label,
        baselines=baselines,
        segments=frame[list(spec.segments)],
        units=None,
        rng=rng,
        resamples=60,
    )


def _data() -> DataSection:
    return DataSection(
        snapshot_id="9f2c41d07ab35e68",
        spec="ux_sessions",
        source="data/sessions.parquet",
        rows=80_000,
        rejected=312,
        quarantine="runs/20261122-140653/quarantine.csv",
        simulated=True,
        positive_share=0.1143,
        findings=(
            Finding("error", "range", "lcp_ms", "207 values are below the minimum of 0.", "", 207),
            Finding("error", "duplicate", "session_id", "105 ids occur more than once.", "", 105),
            Finding("warning", "leak", "pages_viewed", "Known only at session end; it is not given to the model."),
            Finding("info", "personal", "user_id", "Replaced by a keyed hash."),
        ),
    )


def _impact(frame: pd.DataFrame, spec: DatasetSpec, rng: np.random.Generator) -> ImpactSection:
    study = study_impact(frame, spec, _predict, threshold=0.2, rng=rng, resamples=200)
    predicted = {kpi.kpi: kpi.largest.population.relative.estimate for kpi in study.kpis}
    truth = {name: value * rng.uniform(0.6, 1.2) + rng.normal(0, 0.001) for name, value in predicted.items()}
    return ImpactSection(study, rank_agreement(predicted, truth))


def _experiment(control: int, treatment: int) -> ExperimentSection:
    users = (15_102, 14_898)
    result = compare_proportions(Proportion(control, users[0]), Proportion(treatment, users[1]))
    verdict = decide(Evidence("conversion", result))
    absolute, relative = result.absolute, result.relative
    assert relative is not None
    return ExperimentSection(
        name="ux_sessions-v1-v2",
        arms=(
            ArmRow("control", 1, users[0], control, 0.5, 0.31, 18.2),
            ArmRow("treatment", 2, users[1], treatment, 0.5, 0.44, 21.7),
        ),
        effects=(
            EffectRow(
                "conversion",
                Interval(absolute.estimate, absolute.low, absolute.high),
                Interval(relative.estimate, relative.low, relative.high),
                result.p_value,
            ),
        ),
        srm_p_value=sample_ratio(dict(zip("ab", users, strict=True)), {"a": 0.5, "b": 0.5}).p_value,
        alpha=0.05,
        decision=verdict.decision,
        reasons=verdict.reasons,
        criteria=verdict.criteria,
        notes=("Users of the simulated shop convert by the true effect of what each version did.",),
    )


def _drift(spec: DatasetSpec, rng: np.random.Generator) -> DriftSection:
    scores = np.sort(rng.gamma(1, 0.06, len(spec.kpis)))[::-1] * np.linspace(2, 0.6, len(spec.kpis))
    columns = tuple(
        ColumnDrift(name, "wasserstein_normed", float(score), 0.1, bool(score >= 0.1))
        for name, score in zip(spec.kpis, scores, strict=True)
    )
    reason = f"'{columns[0].column}' drifted far: wasserstein_normed {columns[0].score:.3f}, threshold 0.1."
    return DriftSection(columns, True, "retrain", (reason,), 56_000, 20_000, "drift.html")
