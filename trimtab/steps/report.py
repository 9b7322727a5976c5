"""Gather what a run's stages left, and publish it as a page and a summary.

A stage that left nothing becomes a section that says so; a report is made of any run, however far it came.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from trimtab.errors import BadInput, NotFound
from trimtab.models.provenance import code_version, library_versions
from trimtab.ports import Ports
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
from trimtab.report.publish import publish
from trimtab.sessions.inputs import model_inputs
from trimtab.sessions.spec import load_spec
from trimtab.steps import (
    decide,
    drift,
    experiment,
    features,
    impact,
    materialize,
    promote,
    register,
    simulate,
    train,
    tune,
    validate,
)
from trimtab.steps.results import Recorded, recall
from trimtab.types import StageSkipped

DRIFT_PAGE = "drift.html"
RETRAIN = "retrain"
# Every stage that a run can have, in the order that they run.
STAGES = (
    "simulate", "validate", "features", "materialize", "tune", "first_champion", "train", "register", "impact",
    "experiment", "decide", "promote", "drift", RETRAIN,
)  # fmt: skip
_MODES: dict[experiment.Mode, str] = {
    "world": "Simulated users met the two versions through the router; each converted by the true effect of what "
    "the version that served them did.",
    "replay": "Logged sessions were sent to the two versions; a session counts where the version decided what had been "
    "done to it at random.",
    "no_action": "The two versions were served, but nothing that they answer changes an outcome.",
    "skipped": "",
}

ResultT = TypeVar("ResultT")
SectionT = TypeVar("SectionT")


@dataclass(frozen=True, slots=True)
class Config:
    """What to report.

    Attributes:
        run: Id of the run.
        out: Folder of the report; what was in it is replaced.
        retrain_run: Id of the run that retrained; by default the run's id with `-retrain`.
        seed: Seed that the run was given; the training's where absent.
        command: Command line that makes the run again.
        now: Aware time of the report; the present where absent.
        started: Aware time at which the run began, where that is known.
    """

    run: str
    out: str = "reports/latest"
    retrain_run: str = ""
    seed: int | None = None
    command: str = ""
    now: datetime | None = None
    started: datetime | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """Where the report is."""

    html: str
    summary: str


def run(config: Config, ports: Ports) -> Result:
    """Publish the report of a run.

    Args:
        config: The configuration.
        ports: Uses the results that the run's stages left, and `snapshots`.

    Raises:
        NotFound: The run has left nothing at all.
        BadInput: A result was left by another version of Trimtab.
    """
    if not any((ports.home / "runs" / config.run).glob("*.json")):
        raise NotFound(f"run '{config.run}' has left no result.", remedy="Name a run that was started here.")
    report = gather(config, ports)
    found = Stages(ports, config.run).recall(drift.Result, "drift")
    pages = {} if isinstance(found, StageSkipped) or not found.result.page else {DRIFT_PAGE: Path(found.result.page)}
    attachments = {name: path for name, path in pages.items() if path.is_file()}
    published = publish(report, Path(config.out), attachments=attachments)
    return Result(str(published.html), str(published.summary))


@dataclass(frozen=True, slots=True)
class Stages:
    """What the stages of one run left."""

    ports: Ports
    run: str

    def recall(self, kind: type[ResultT], stage: str) -> Recorded[ResultT] | StageSkipped:
        """A stage's result, or why there is none."""
        try:
            return recall(kind, self.ports, run=self.run, stage=stage)
        except NotFound as error:
            return StageSkipped(stage, error.message)
        except ValidationError as error:
            raise BadInput(
                f"the result of stage '{stage}' of run '{self.run}' was left by another version of Trimtab.",
                remedy="Run the loop again.",
            ) from error

    def section(self, kind: type[ResultT], stage: str, make: Callable[[ResultT], SectionT]) -> SectionT | StageSkipped:
        """A section made from a stage's result, or why there is none."""
        found = self.recall(kind, stage)
        return found if isinstance(found, StageSkipped) else make(found.result)

    def value(self, kind: type[ResultT], stage: str) -> ResultT | None:
        """A stage's result where there is one."""
        found = self.recall(kind, stage)
        return None if isinstance(found, StageSkipped) else found.result

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage that ran, in order; parallel tuning workers count as long as the slowest."""
        found = {}
        for stage in STAGES:
            names = [stage, *self._workers()] if stage == "tune" else [stage]
            took = [part.seconds for name in names if not isinstance(part := self.recall(object, name), StageSkipped)]
            if took:
                found[stage] = max(took)
        return found

    def tuned(self) -> tuple[int, int]:
        """Trials completed and pruned over all workers, as the worker that ended last saw the study."""
        studies = [study for name in ("tune", *self._workers()) if (study := self.value(tune.Result, name))]
        last = max(studies, key=lambda study: study.complete + study.pruned, default=None)
        return (last.complete, last.pruned) if last else (0, 0)

    def _workers(self) -> list[str]:
        folder = self.ports.home / "runs" / self.run
        return sorted(path.stem for path in folder.glob("tune-*.json"))


def gather(config: Config, ports: Ports) -> LoopReport:
    """The view model of a run."""
    stages = Stages(ports, config.run)
    again = Stages(ports, config.retrain_run or f"{config.run}-{RETRAIN}")
    asked = stages.value(impact.Result, "impact")
    best = asked.bayes_auc if asked else None
    world = stages.value(simulate.Result, "simulate")
    timings = stages.seconds()
    if (spent := sum(again.seconds().values())) > 0:
        timings[RETRAIN] = spent
    now = config.now or datetime.now(UTC)
    return LoopReport(
        run=config.run,
        made_at=now,
        data=stages.section(validate.Result, "validate", lambda result: _data(result, simulated=world is not None)),
        features=stages.section(features.Result, "features", lambda result: _features(result, stages)),
        model=stages.section(train.Result, "train", lambda result: _model(result, stages, best)),
        impact=stages.section(impact.Result, "impact", lambda result: ImpactSection(result.study, result.agreement)),
        experiment=_experiment(stages),
        promotion=_promotion(stages),
        drift=stages.section(drift.Result, "drift", _drift),
        retrain=_retrain(stages, again),
        timings_seconds=timings,
        elapsed_seconds=(now - config.started).total_seconds() if config.started else None,
        provenance=_provenance(config, stages),
    )


def _data(result: validate.Result, *, simulated: bool) -> DataSection:
    return DataSection(
        snapshot_id=result.snapshot_id,
        spec=result.spec,
        source=result.data,
        rows=result.rows,
        rejected=result.rejected,
        quarantine=result.quarantine,
        simulated=simulated,
        positive_share=result.conversion_rate,
        findings=result.findings,
    )


def _features(result: features.Result, stages: Stages) -> FeatureSection:
    spec = load_spec(str(stages.ports.snapshots.folder(result.snapshot_id) / "spec.yaml"))
    loaded = stages.value(materialize.Result, "materialize")
    if loaded is None or not loaded.units:
        return FeatureSection(model_inputs(spec).request, result.features)
    return FeatureSection(model_inputs(spec).request, result.features, loaded.units, loaded.seconds)


def _model(result: train.Result, stages: Stages, bayes_auc: float | None) -> ModelSection:
    complete, pruned = stages.tuned()
    registered = stages.value(register.Result, "register")
    shown = {
        "device": result.device,
        "epochs": f"{result.best_epoch} of {result.epochs}",
        "rows": ", ".join(f"{name} {count:,}" for name, count in result.rows.items()),
        "split by": result.split,
        "temperature": f"{result.temperature:.3f}",
    }
    return ModelSection(
        evaluation=result.evaluation,
        bayes_auc=bayes_auc,
        params={**shown, **{name: str(value) for name, value in result.params.items()}},
        trials=complete,
        pruned=pruned,
        gate=_gate(registered) if registered else None,
    )


def _gate(registered: register.Result) -> Gate:
    return Gate(registered.gate.passed, tuple(check.reason for check in registered.gate.checks), registered.version)


def _experiment(stages: Stages) -> ExperimentSection | StageSkipped:
    served = stages.recall(experiment.Result, "experiment")
    if isinstance(served, StageSkipped):
        return served
    if served.result.mode == "skipped":
        return StageSkipped("experiment", served.result.reason)
    return stages.section(decide.Result, "decide", lambda verdict: _verdict(served.result, verdict))


def _verdict(served: experiment.Result, verdict: decide.Result) -> ExperimentSection:
    traffic = {arm.arm: arm for arm in served.arms}
    notes = [_MODES[served.mode], served.reason, *served.assumptions]
    if served.repeat_users:
        notes.append(
            f"Of {served.repeat_users:,} users who came twice, {served.repeat_same_answer:,} met the same arm and got "
            "the same answer."
        )
    effects = []
    if verdict.absolute is not None and verdict.p_value is not None:
        effects.append(EffectRow("conversion", verdict.absolute, verdict.relative, verdict.p_value))
    return ExperimentSection(
        name=verdict.experiment,
        arms=tuple(
            ArmRow(
                arm=arm.arm,
                version=traffic[arm.arm].version,
                users=arm.users,
                conversions=arm.conversions,
                acted_share=traffic[arm.arm].acted_share,
                latency_p99_ms=traffic[arm.arm].latency_p99_ms,
            )
            for arm in verdict.arms
        ),
        effects=tuple(effects),
        srm_p_value=verdict.sample_ratio_p,
        alpha=verdict.alpha,
        decision=verdict.decision,
        reasons=verdict.reasons,
        criteria=verdict.criteria,
        notes=tuple(note for note in notes if note),
    )


def _promotion(stages: Stages) -> PromotionSection | StageSkipped:
    moved = stages.recall(promote.Result, "promote")
    if not isinstance(moved, StageSkipped):
        return PromotionSection(moved.result.champion_before, moved.result.champion_after)
    verdict = stages.value(decide.Result, "decide")
    served = stages.value(experiment.Result, "experiment")
    if verdict is None or served is None or not served.arms or verdict.decision == "ship":
        return moved
    champion = served.arms[0].version
    return PromotionSection(champion, champion, "The verdict was not to ship.")


def _drift(result: drift.Result) -> DriftSection:
    report = result.report
    return DriftSection(
        columns=report.columns if report else (),
        detected=result.detected,
        action=result.action,
        reasons=result.reasons,
        reference_rows=report.reference_rows if report else 0,
        current_rows=report.current_rows if report else 0,
        page=DRIFT_PAGE if result.page and Path(result.page).is_file() else "",
    )


def _retrain(stages: Stages, again: Stages) -> RetrainSection | StageSkipped:
    registered = again.recall(register.Result, "register")
    if isinstance(registered, StageSkipped):
        asked = stages.recall(object, RETRAIN)
        return asked if isinstance(asked, StageSkipped) else registered
    trained, data = again.value(train.Result, "train"), again.value(validate.Result, "validate")
    return RetrainSection(
        snapshot_id=data.snapshot_id if data else "",
        gate=_gate(registered.result),
        auc=trained.evaluation.metrics.get("auc") if trained else None,
    )


def _provenance(config: Config, stages: Stages) -> Provenance:
    trained = stages.value(train.Result, "train")
    seed = int(trained.notes["seed"]) if config.seed is None and trained else config.seed
    return Provenance(
        versions={"trimtab": code_version(), **library_versions()},
        seeds={} if seed is None else {"everything": seed},
        commands=(config.command,) if config.command else (),
        profile=stages.ports.profile_name,
    )
