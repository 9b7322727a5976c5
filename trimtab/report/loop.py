"""What one turn of the loop found, as plain values: the view model of the page, the summary and the terminal table.

A section is either its values or the reason why there are none (`StageSkipped`). Nothing here knows how a stage works,
so that a page can be rendered, tested and looked at without running one.
"""

from dataclasses import dataclass, field
from datetime import datetime

from trimtab.experiments.verdict import Criterion
from trimtab.impact.agreement import Agreement
from trimtab.impact.study import ImpactStudy
from trimtab.models.evaluate import Evaluation
from trimtab.monitoring.drift import ColumnDrift
from trimtab.monitoring.policy import Action
from trimtab.sessions.validation.findings import Finding
from trimtab.types import Decision, Interval, StageSkipped


@dataclass(frozen=True, slots=True)
class DataSection:
    """The data and what was wrong with them.

    Attributes:
        snapshot_id: Id of the accepted rows.
        spec: Name of the dataset spec.
        source: Where the rows were read from.
        rows: Accepted rows.
        rejected: Rows in quarantine.
        quarantine: Path of the quarantine file; empty where nothing was rejected.
        simulated: Whether the sessions come from the simulator, so that the truth is known.
        positive_share: Share of accepted rows that converted, where known.
        findings: What validation found, worst first.
    """

    snapshot_id: str
    spec: str
    source: str
    rows: int
    rejected: int
    quarantine: str = ""
    simulated: bool = False
    positive_share: float | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class FeatureSection:
    """What the model is given.

    Attributes:
        request: Inputs that come with a request.
        history: Inputs about a user's earlier sessions, from the feature store.
        units: Units loaded into the online store, where that was done.
        materialize_seconds: How long loading took.
    """

    request: tuple[str, ...]
    history: tuple[str, ...]
    units: int | None = None
    materialize_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """The quality gate's answer; `version` is zero where nothing was registered."""

    passed: bool
    reasons: tuple[str, ...]
    version: int = 0


@dataclass(frozen=True, slots=True)
class ModelSection:
    """The challenger beside honest baselines.

    Attributes:
        evaluation: All metrics on held-out sessions, of the model, its baselines and by segment.
        bayes_auc: AUC that no model can exceed in expectation, where the simulator knows it.
        params: Parameters of the fit.
        trials: Tuning trials completed; zero where none were run.
        pruned: Tuning trials stopped early.
        gate: The quality gate's answer, where it was asked.
    """

    evaluation: Evaluation
    bayes_auc: float | None = None
    params: dict[str, str] = field(default_factory=dict)
    trials: int = 0
    pruned: int = 0
    gate: Gate | None = None

    @property
    def models(self) -> dict[str, dict[str, Interval]]:
        """Metrics by model, the main one first."""
        return {self.evaluation.model: self.evaluation.metrics, **self.evaluation.baselines}


@dataclass(frozen=True, slots=True)
class ImpactSection:
    """Which KPI is worth what, and how that compares with the truth where it is known."""

    study: ImpactStudy
    agreement: Agreement | None = None


@dataclass(frozen=True, slots=True)
class ArmRow:
    """One arm of the experiment.

    Attributes:
        arm: `control` or `treatment`.
        version: Model version that it served.
        users: Users exposed.
        conversions: Users that converted.
        weight: Share of users that the design gives it.
        acted_share: Share of its answers that told the app to act, where known.
        latency_p99_ms: 99th percentile of a request's time as the client saw it, where known.
    """

    arm: str
    version: int
    users: int
    conversions: int
    weight: float = 0.5
    acted_share: float | None = None
    latency_p99_ms: float | None = None

    @property
    def rate(self) -> float:
        """Share of exposed users that converted; zero without users."""
        return self.conversions / self.users if self.users else 0.0


@dataclass(frozen=True, slots=True)
class EffectRow:
    """Effect of the treatment on one metric.

    Attributes:
        metric: Name of the metric.
        absolute: Difference of the arms, in the metric's unit.
        relative: That difference as a share of the control; None where the control is zero.
        p_value: Two-sided p-value.
        as_share: Whether the metric is a proportion, so that the difference is shown in percentage points.
    """

    metric: str
    absolute: Interval
    relative: Interval | None
    p_value: float
    as_share: bool = True


@dataclass(frozen=True, slots=True)
class ExperimentSection:
    """Two versions in front of users, and the verdict.

    Attributes:
        name: Name of the experiment.
        arms: The arms, control first.
        effects: Effects, the primary metric first.
        srm_p_value: p-value of the sample-ratio test.
        alpha: Significance level.
        decision: The verdict.
        reasons: Its reasons.
        criteria: The decision matrix.
        notes: How outcomes came about and what the result rests on, one sentence each.
    """

    name: str
    arms: tuple[ArmRow, ...]
    effects: tuple[EffectRow, ...]
    srm_p_value: float
    alpha: float
    decision: Decision
    reasons: tuple[str, ...]
    criteria: tuple[Criterion, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PromotionSection:
    """What the verdict did to the champion alias."""

    champion_before: int
    champion_after: int
    words: str = ""


@dataclass(frozen=True, slots=True)
class DriftSection:
    """How later sessions differ from those trained on.

    Attributes:
        columns: Compared columns, most drifted first; empty where the data are too broken to compare.
        detected: Whether the policy calls it drift.
        action: What it asks for: `retrain`, `page` where the data are broken, or `none`.
        reasons: Why.
        reference_rows: Rows of the reference.
        current_rows: Rows compared with it.
        page: Link to the full page about it, relative to the report; empty where there is none.
    """

    columns: tuple[ColumnDrift, ...]
    detected: bool
    action: Action
    reasons: tuple[str, ...]
    reference_rows: int
    current_rows: int
    page: str = ""


@dataclass(frozen=True, slots=True)
class RetrainSection:
    """The new challenger.

    Attributes:
        snapshot_id: Data that it was trained on.
        gate: The quality gate's answer, with the registered version.
        auc: Its AUC on its own held-out sessions, where known.
    """

    snapshot_id: str
    gate: Gate
    auc: Interval | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """How the report was made.

    Attributes:
        versions: Package name to version.
        seeds: What a seed was for, to the seed.
        commands: Command lines that make it again.
        profile: Profile that it ran under.
    """

    versions: dict[str, str] = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    profile: str = ""


@dataclass(frozen=True, slots=True)
class LoopReport:
    """One turn of the loop.

    Attributes:
        run: Id of the run.
        made_at: Aware time of the report.
        data: Data checked, or why not; likewise for the other sections.
        features: What the model is given.
        model: The challenger beside baselines.
        impact: Which KPI is worth what.
        experiment: Two versions in front of users.
        promotion: What became of the champion.
        drift: How later sessions differ.
        retrain: The new challenger.
        timings_seconds: Seconds that each stage worked, in the order that they ran; without the start of its process.
        elapsed_seconds: Seconds from the start of the run to its report, where that is known.
        provenance: How it was made.
    """

    run: str
    made_at: datetime
    data: DataSection | StageSkipped
    features: FeatureSection | StageSkipped
    model: ModelSection | StageSkipped
    impact: ImpactSection | StageSkipped
    experiment: ExperimentSection | StageSkipped
    promotion: PromotionSection | StageSkipped
    drift: DriftSection | StageSkipped
    retrain: RetrainSection | StageSkipped
    timings_seconds: dict[str, float]
    elapsed_seconds: float | None
    provenance: Provenance
