"""What an analysis says. The dataclasses are the documented JSON: their fields are its keys."""

from dataclasses import dataclass, field
from typing import Literal

from trimtab.experiments.always_valid import AlwaysValid
from trimtab.experiments.balance import CovariateBalance
from trimtab.experiments.bayes import BayesianComparison
from trimtab.experiments.business import BusinessCase
from trimtab.experiments.calibration import Calibration
from trimtab.experiments.criteria import Criterion
from trimtab.experiments.effects import Direction, Effect
from trimtab.experiments.health import SampleRatio
from trimtab.experiments.launch import LaunchPhase
from trimtab.experiments.noninferiority import NonInferiority
from trimtab.experiments.segments import Claim, Heterogeneity
from trimtab.experiments.sequential import SequentialResult
from trimtab.experiments.spec import MetricKind, Role
from trimtab.experiments.stability import Novelty
from trimtab.types import Decision


@dataclass(frozen=True, slots=True)
class ArmValue:
    """One metric in one arm: units that count for it, and its plain value (a rate, a mean, a ratio, a quantile)."""

    units: int
    value: float


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """One treatment against control on one metric.

    Attributes:
        treatment: Name of the treatment.
        control: Name of control.
        absolute: Treatment minus control, in the metric's unit.
        relative: That over control; None where control's value is zero.
        p_value: P-value of the absolute effect.
        p_value_adjusted: After correction over the declared family; equal to `p_value` where nothing is corrected.
        statistic: Statistic of the absolute effect.
        method: The estimator, in words.
        note: How degenerate data were treated.
        bayesian: Posterior comparison; None for quantiles.
        sequential: What the newest look says, for the primary metric of a group-sequential test.
        always_valid: The confidence sequence, for the primary metric where that was declared.
        noninferiority: Guardrails: the test against the margin; None where control's value is zero.
        power: Power that the comparison had for the effect that was declared to matter; None where none was.
    """

    treatment: str
    control: str
    absolute: Effect
    relative: Effect | None
    p_value: float
    p_value_adjusted: float
    statistic: float
    method: str
    note: str = ""
    bayesian: BayesianComparison | None = None
    sequential: SequentialResult | None = None
    always_valid: AlwaysValid | None = None
    noninferiority: NonInferiority | None = None
    power: float | None = None


@dataclass(frozen=True, slots=True)
class SegmentComparison:
    """The effect of one treatment in one segment; the adjusted p-value counts all segments of the attribute."""

    segment: str
    units: int
    absolute: Effect
    relative: Effect | None
    p_value: float
    p_value_adjusted: float
    claim: Claim


@dataclass(frozen=True, slots=True)
class Segmentation:
    """One treatment's effect on the primary metric by the values of one attribute.

    Attributes:
        attribute: The column.
        treatment: The treatment.
        segments: One per value that has two units in each arm.
        heterogeneity: The interaction test; None where too few segments carry information.
        differs: Whether effects are shown to differ.
        statement: In words.
        left_out: Values with too few units.
    """

    attribute: str
    treatment: str
    segments: tuple[SegmentComparison, ...]
    heterogeneity: Heterogeneity | None
    differs: bool
    statement: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DailyEffect:
    """The primary metric's effect over the units first exposed on one day, and over all until then."""

    day: str
    treatment: str
    units: int
    effect: Effect
    cumulative: Effect


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric.

    Attributes:
        kind: `binary`, `mean`, `ratio` or `quantile`.
        role: `primary`, `secondary` or `guardrail`.
        direction: Whether higher or lower is better.
        margin: Guardrails: tolerated relative deterioration.
        arms: Value by arm.
        comparisons: One per treatment; empty where the data allow none.
        treated: How missing, capped or degenerate data were treated, one sentence each.
    """

    kind: MetricKind
    role: Role
    direction: Direction
    margin: float
    arms: dict[str, ArmValue]
    comparisons: tuple[ArmComparison, ...]
    treated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PhaseRatio:
    """The sample-ratio test of one phase."""

    starts: str
    srm: SampleRatio
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the data may be believed.

    Attributes:
        srm: Sample-ratio test over everything; the phase with the smallest p-value where there are several.
        counts: Units by arm.
        phases: The test by phase, where phases were declared.
        balance: Standardised mean difference by covariate and treatment.
        novelty: Trend of the primary effect by treatment, where there is a time column.
        problems: What forbids a winner, one sentence each.
        notes: What a reader should know besides.
        calibration: A/A calibration of the primary metric's test; None where it was skipped, and a note says why.
    """

    srm: SampleRatio
    counts: dict[str, int]
    phases: tuple[PhaseRatio, ...] = ()
    balance: dict[str, tuple[CovariateBalance, ...]] = field(default_factory=dict)
    novelty: dict[str, Novelty] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """The verdict under one other choice.

    Attributes:
        variation: What was done otherwise, in words.
        treatment: The treatment.
        estimate: Effect on the primary metric, relative where `relative`.
        relative: Whether the estimate is relative.
        low: Lower bound.
        high: Upper bound.
        p_value: P-value; for the Bayesian row, probability not to be better.
        decision: What the verdict would be, other things equal.
        moves: Whether that differs from the verdict without regard to health.
    """

    variation: str
    treatment: str
    estimate: float
    relative: bool
    low: float | None
    high: float | None
    p_value: float
    decision: Decision
    moves: bool


@dataclass(frozen=True, slots=True)
class ArmVerdict:
    """The verdict on one treatment, with the whole decision matrix."""

    treatment: str
    decision: Decision
    reasons: tuple[str, ...]
    criteria: tuple[Criterion, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on the experiment.

    Attributes:
        decision: `ship` where a treatment ships, `roll_back` where every one does harm, else `hold`.
        treatment: The treatment that the decision is about; the best of several.
        reasons: Why, the weightiest first.
        arms: The verdict on each treatment.
    """

    decision: Decision
    treatment: str
    reasons: tuple[str, ...]
    arms: tuple[ArmVerdict, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """What was analysed.

    Attributes:
        name: Name of the experiment.
        hypothesis: What was expected.
        data: Where the units were read from.
        spec_hash: Hash of the rules that were applied.
        declared_hash: Hash of the rules as they were locked before the start; empty where they were not.
        changes: What was changed since, one sentence each.
        control: Name of control.
        weights: Configured weight by arm.
        alpha: Significance level.
        primary: Name of the metric that decides.
        method: The rules in words, for the reader who wants to repeat it.
    """

    name: str
    hypothesis: str
    data: str
    spec_hash: str
    declared_hash: str
    changes: tuple[str, ...]
    control: str
    weights: dict[str, float]
    alpha: float
    primary: str
    method: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that is said about one experiment.

    Attributes:
        schema_version: Changes only when a key is removed or changes its meaning.
        experiment: What was analysed.
        health: Whether the data may be believed.
        metrics: Results by metric.
        segments: The primary metric by attribute and treatment.
        days: The primary effect over time, where there is a time column.
        sensitivity: Whether the verdict depends on choices.
        business: What a year with each treatment is worth.
        launch: The launch that follows from the verdict.
        verdict: The decision and why.
    """

    experiment: Subject
    health: Health
    metrics: dict[str, MetricResult]
    verdict: Verdict
    segments: tuple[Segmentation, ...] = ()
    days: tuple[DailyEffect, ...] = ()
    sensitivity: tuple[SensitivityRow, ...] = ()
    business: dict[str, BusinessCase] = field(default_factory=dict)
    launch: tuple[LaunchPhase, ...] = ()
    schema_version: Literal[1] = 1
