"""The experiment spec: what is asked, of whom, and by which rules, written down before the first unit is exposed.

A person writes it as YAML. It is hashed, so that an analysis can say whether the rules are still the ones that the
experiment was started with.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import orjson
import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trimtab.errors import BadInput
from trimtab.experiments.assignment import Arm, Experiment, Holdout, Layer
from trimtab.experiments.effects import Alternative, Direction, RelativeScale
from trimtab.experiments.means import Measure
from trimtab.experiments.multiplicity import Correction
from trimtab.experiments.spending import SpendingFamily
from trimtab.sessions.explain import explain, read_spec, suggestion

MetricKind = Literal["binary", "mean", "ratio", "quantile"]
Role = Literal["primary", "secondary", "guardrail"]
Missing = Literal["refuse", "zero", "drop"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metric(_Strict):
    """What is measured on each unit.

    Attributes:
        kind: `binary` (a column of 0 and 1), `mean`, `ratio` (of two columns' means), or `quantile` (of a column).
        column: Column of a binary, mean or quantile metric.
        numerator: Upper column of a ratio.
        denominator: Lower column of a ratio.
        covariate: Column measured before the exposure (or `NUMERATOR/DENOMINATOR`), for CUPED.
        quantile: Which quantile, e.g. 0.95.
        role: The primary metric decides; a guardrail must not deteriorate by its margin; the others inform.
        direction: Whether higher or lower is better.
        margin: Guardrails: relative deterioration that is tolerated; 0.1 is 10%.
        cap: Values above this quantile of all arms together are set to it.
        cap_at: Values above this number are set to it.
        missing: What a missing value means: `refuse` the data, count it as `zero`, or `drop` the unit from this metric.
    """

    kind: MetricKind
    column: str | None = None
    numerator: str | None = None
    denominator: str | None = None
    covariate: str | None = None
    quantile: float | None = Field(default=None, gt=0, lt=1)
    role: Role | None = None
    direction: Direction = "higher"
    margin: float = Field(default=0.0, ge=0)
    cap: float | None = Field(default=None, gt=0, le=1)
    cap_at: float | None = None
    missing: Missing = "refuse"

    @model_validator(mode="after")
    def _names_its_columns(self) -> "Metric":
        wanted = {"numerator", "denominator"} if self.kind == "ratio" else {"column"}
        wanted |= {"quantile"} if self.kind == "quantile" else set()
        given = {name for name in ("column", "numerator", "denominator", "quantile") if getattr(self, name) is not None}
        if given != wanted:
            fields = " and ".join(f"'{name}'" for name in sorted(wanted))
            raise ValueError(f"a metric of kind '{self.kind}' is given by {fields}, and nothing else of that sort")
        if self.covariate is not None and self.kind == "quantile":
            raise ValueError("a covariate adjusts means and ratios, not quantiles")
        if self.kind == "binary" and (self.cap is not None or self.cap_at is not None):
            raise ValueError("a binary metric has nothing to cap")
        if self.role == "guardrail" and self.margin == 0:
            raise ValueError("a guardrail needs a 'margin' above 0: the relative deterioration that is tolerated")
        return self

    @property
    def measure(self) -> Measure:
        """What the estimators are asked to compare."""
        return Measure(self.numerator or self.column or "", self.denominator)

    @property
    def before(self) -> Measure | None:
        """The covariate."""
        if self.covariate is None:
            return None
        above, _, below = self.covariate.partition("/")
        return Measure(above.strip(), below.strip() or None)

    @property
    def outcome_columns(self) -> tuple[str, ...]:
        """Columns of the metric itself."""
        return tuple(name for name in (self.column, self.numerator, self.denominator) if name is not None)

    @property
    def covariate_columns(self) -> tuple[str, ...]:
        """Columns of the covariate."""
        measure = self.before
        return () if measure is None else tuple(name for name in (measure.numerator, measure.denominator) if name)


class Phase(_Strict):
    """A stretch of time with weights of its own, e.g. a ramp.

    Attributes:
        starts: When it began.
        weights: Share of units by arm.
    """

    starts: AwareDatetime
    weights: dict[str, float]


class Sequential(_Strict):
    """Looks at a running experiment.

    Attributes:
        method: `group_sequential` where a size is planned, `always_valid` for watching without an end.
        planned_units: Units in all arms at the planned end; for `always_valid`, where the interval is to be tightest.
        spending: How alpha is spent.
        looks: Ends of the looks before this one; needs a `time` column.
        final: This look is the last, whatever was planned.
        futility: How 1 - `power` is spent on a non-binding futility bound; none where absent.
    """

    method: Literal["group_sequential", "always_valid"] = "group_sequential"
    planned_units: float = Field(gt=0)
    spending: SpendingFamily = "obrien_fleming"
    looks: tuple[AwareDatetime, ...] = ()
    final: bool = False
    futility: SpendingFamily | None = None

    @model_validator(mode="after")
    def _ends(self) -> "Sequential":
        if self.futility is not None and self.method != "group_sequential":
            raise ValueError("a 'futility' bound belongs to a planned end, so to 'group_sequential'")
        return self

    @field_validator("looks")
    @classmethod
    def _in_order(cls, looks: tuple[datetime, ...]) -> tuple[datetime, ...]:
        if list(looks) != sorted(set(looks)):
            raise ValueError("looks must be in order of time, each once")
        return looks


class Bayes(_Strict):
    """Declared priors. A prior of a rate is Beta(a, b); one of a mean is Normal(mean, deviation), flat without.

    Attributes:
        a: Prior successes.
        b: Prior failures.
        mean: Prior mean.
        deviation: Prior standard deviation; absent for a flat prior.
        decides: Whether the posterior is a line of the decision matrix.
        minimum_probability: Posterior probability to be better that shipping then asks for.
        maximum_relative_loss: Expected loss, relative to control, that shipping then tolerates.
    """

    a: float = Field(default=1.0, gt=0)
    b: float = Field(default=1.0, gt=0)
    mean: float = 0.0
    deviation: float | None = Field(default=None, gt=0)
    decides: bool = False
    minimum_probability: float = Field(default=0.95, gt=0, lt=1)
    maximum_relative_loss: float = Field(default=0.01, gt=0)


class Business(_Strict):
    """Figures that turn the primary metric's effect into money a year.

    Attributes:
        units_per_year: Units that would meet the treatment in a year.
        value_per_conversion: Money per conversion; 1 where the metric is money already.
        one_off_cost: Cost to build and launch.
        yearly_cost: Cost to run for a year.
        minimum_net_benefit: Net benefit of the first year that shipping asks for.
    """

    units_per_year: float = Field(ge=0)
    value_per_conversion: float = Field(default=1.0, ge=0)
    one_off_cost: float = Field(default=0.0, ge=0)
    yearly_cost: float = Field(default=0.0, ge=0)
    minimum_net_benefit: float = 0.0


class Outcomes(_Strict):
    """A table of outcomes that is joined to the exposures.

    Attributes:
        file: The table, a file or a glob; a relative path is meant from the spec's folder.
        unit: Column of the unit.
        time: Column of when it happened.
        metric: Column that says what happened; a metric's `column` names one of its values.
        value: Column of the amount; each row counts 1 where absent.
        id: Column of the outcome's id, where the table may repeat itself: each id counts once, at its earliest time.
        window_hours: An outcome counts if it comes within this time of the unit's first exposure.
        until: Outcomes are known until then; until the last exposure or outcome where absent. Units whose window is
            still open then are left out.
    """

    file: str
    unit: str = "unit"
    time: str = "time"
    metric: str = "metric"
    value: str | None = None
    id: str | None = None
    window_hours: float = Field(gt=0)
    until: AwareDatetime | None = None


class LayerRange(_Strict):
    """Buckets of a layer, so that experiments of one layer never share a unit."""

    name: str
    start: int = Field(default=0, ge=0, le=9_999)
    stop: int = Field(default=10_000, ge=1, le=10_000)


class HoldoutShare(_Strict):
    """Units that no experiment touches."""

    name: str
    share: float = Field(ge=0, le=1)


class ExperimentSpec(_Strict):
    """One experiment, declared.

    Attributes:
        name: Name of the experiment; also what the randomisation is salted with.
        hypothesis: What is expected and why, for the report.
        unit: Column of what was randomised.
        arm: Column of the arm.
        control: The arm that the others are compared with.
        arms: Weight of each arm; arms that are in the data with equal weights where empty.
        time: Column of the unit's first exposure; needed by phases, looks and the tests over time.
        starts: Exposures before it do not count.
        ends: Exposures from then on do not count.
        minimum_days: Shipping asks for at least so many days; needs a `time` column.
        eligible: Attribute to the values that take part.
        share: Share of eligible units that are enrolled.
        layer: Range of a layer.
        holdout: Units left out of everything.
        metrics: The metrics by name; one of them is the primary one (the first, where none says so).
        segments: Columns by whose values results are also given.
        phases: Stretches of time with weights of their own.
        alpha: Significance level; intervals have confidence 1 - alpha.
        alternative: `one-sided` asks only whether the treatment is better.
        correction: Correction for the number of questions.
        family: What is corrected together: `roles` (primary metric over all treatments; secondary ones) or `all`.
        relative_scale: Scale of relative intervals.
        minimum_relative_effect: Relative improvement that matters; the design finds it with `power`.
        power: Probability of finding it.
        sample_ratio_alpha: A sample-ratio p-value below it stops the verdict.
        sequential: Looks at the running experiment.
        bayes: Priors.
        business: What the effect is worth.
        outcomes: A table of outcomes to join; the data are then one row per exposure.
    """

    name: str
    hypothesis: str = ""
    unit: str = "unit"
    arm: str = "arm"
    control: str = "control"
    arms: dict[str, float] = Field(default_factory=dict)
    time: str | None = None
    starts: AwareDatetime | None = None
    ends: AwareDatetime | None = None
    minimum_days: int = Field(default=0, ge=0)
    eligible: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    share: float = Field(default=1.0, gt=0, le=1)
    layer: LayerRange | None = None
    holdout: HoldoutShare | None = None
    metrics: dict[str, Metric] = Field(default_factory=dict)
    segments: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    alpha: float = Field(default=0.05, gt=0, lt=1)
    alternative: Literal["two-sided", "one-sided"] = "two-sided"
    correction: Correction = "holm"
    family: Literal["roles", "all"] = "roles"
    relative_scale: RelativeScale = "log"
    minimum_relative_effect: float = Field(default=0.0, ge=0)
    power: float = Field(default=0.8, gt=0, lt=1)
    sample_ratio_alpha: float = Field(default=0.01, gt=0, lt=1)
    sequential: Sequential | None = None
    bayes: Bayes = Field(default_factory=Bayes)
    business: Business | None = None
    outcomes: Outcomes | None = None

    @field_validator("arms")
    @classmethod
    def _weighed(cls, arms: dict[str, float]) -> dict[str, float]:
        check_weights(arms)
        return arms

    @field_validator("metrics")
    @classmethod
    def _one_primary(cls, metrics: dict[str, Metric]) -> dict[str, Metric]:
        primary = [name for name, metric in metrics.items() if metric.role == "primary"]
        if len(primary) > 1:
            raise ValueError(f"metrics {', '.join(primary)} are all primary; one metric decides")
        return metrics

    @model_validator(mode="after")
    def _consistent(self) -> "ExperimentSpec":
        if self.arms and self.control not in self.arms:
            raise ValueError(f"control '{self.control}' is not among the arms {', '.join(self.arms)}")
        if self.starts and self.ends and self.ends <= self.starts:
            raise ValueError(f"'ends' ({self.ends}) is not after 'starts' ({self.starts})")
        starts = [phase.starts for phase in self.phases]
        if starts != sorted(set(starts)):
            raise ValueError("phases must be in order of time, each with a start of its own")
        for phase in self.phases:
            check_weights(phase.weights)
            if self.arms and set(phase.weights) != set(self.arms):
                raise ValueError(f"the phase from {phase.starts} has weights of other arms than {', '.join(self.arms)}")
        taken = {self.unit, self.arm} & set(self.segments)
        if taken:
            raise ValueError(f"'{taken.pop()}' cannot be a segment: it is the column of the unit or of the arm")
        dated = self.phases or self.minimum_days or self.outcomes or (self.sequential and self.sequential.looks)
        if dated and self.time is None:
            raise ValueError(
                "phases, looks, outcomes and 'minimum_days' need 'time', the column of the exposure's time"
            )
        return self

    @property
    def primary(self) -> str | None:
        """Name of the metric that decides; None where there is no metric but guardrails."""
        named = [name for name, metric in self.metrics.items() if metric.role == "primary"]
        unsaid = [name for name, metric in self.metrics.items() if metric.role is None]
        return next(iter([*named, *unsaid]), None)

    def role(self, name: str) -> Role:
        """Role of a metric."""
        return "primary" if name == self.primary else self.metrics[name].role or "secondary"

    def alternative_of(self, name: str) -> Alternative:
        """What the test of a metric asks; a guardrail's interval always has two sides."""
        if self.alternative == "two-sided" or self.role(name) == "guardrail":
            return "two-sided"
        return "greater" if self.metrics[name].direction == "higher" else "less"

    @property
    def experiment(self) -> Experiment:
        """The assignment of units to arms.

        Raises:
            BadInput: The arms and their weights are not declared.
        """
        phases = [phase.weights for phase in self.phases] or [self.arms]
        return Experiment(
            name=self.name,
            arms=tuple(Arm(name, phases[-1].get(name, weight)) for name, weight in self.arms.items()),
            control=self.control,
            share=self.share,
            layer=Layer(self.layer.name, self.layer.start, self.layer.stop) if self.layer else None,
            holdout=Holdout(self.holdout.name, self.holdout.share) if self.holdout else None,
            segments=self.eligible,
            earlier=tuple(tuple(weights[name] for name in self.arms) for weights in phases[:-1]),
        )


def check_weights(weights: Mapping[str, float]) -> None:
    """Refuse weights that are negative, infinite, or of fewer than two arms (ValueError, for pydantic to report)."""
    wrong = {name: weight for name, weight in weights.items() if not 0 <= weight < float("inf")}
    if wrong:
        raise ValueError(f"weight {next(iter(wrong.values()))} of arm '{next(iter(wrong))}' is not a share of units")
    if weights and sum(weight > 0 for weight in weights.values()) < 2:
        raise ValueError("at least two arms need a weight above 0")


def load_experiment(path: str) -> ExperimentSpec:
    """Read an experiment spec.

    Raises:
        BadInput: The file is absent, not YAML, or not a valid spec; the message names each wrong field.
    """
    file = Path(path)
    if not file.is_file():
        raise BadInput(f"there is no experiment spec '{path}'.", remedy="Check the path given as --spec.")
    return build_experiment(read_spec(file, remedy="See docs/experiments.md."), where=f"spec '{path}'")


def build_experiment(raw: Mapping[str, Any], *, where: str) -> ExperimentSpec:
    """Validate a spec's content.

    Args:
        raw: The content.
        where: What the message says is wrong, e.g. `spec 'checkout.yaml'`.

    Raises:
        BadInput: It is not a valid spec.
    """
    try:
        return ExperimentSpec.model_validate(raw)
    except ValidationError as error:
        raise BadInput(
            f"{where} is not valid: {explain(error, ExperimentSpec)}", remedy="See docs/experiments.md."
        ) from error


def spec_hash(spec: ExperimentSpec) -> str:
    """First 16 hex digits of the SHA-256 of the spec's content; comments and the order of keys do not matter."""
    return hashlib.sha256(orjson.dumps(spec.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def dump_experiment(spec: ExperimentSpec) -> str:
    """The spec as YAML, equal for equal specs."""
    return yaml.safe_dump(spec.model_dump(mode="json", exclude_defaults=True), sort_keys=False)


def changes(before: ExperimentSpec, after: ExperimentSpec) -> tuple[str, ...]:
    """What differs between two specs, one sentence per field: `alpha: 0.05 became 0.1`."""
    old, new = (_flat(spec.model_dump(mode="json")) for spec in (before, after))
    return tuple(
        f"{name}: {old.get(name, 'absent')} became {new.get(name, 'absent')}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    )


def check_arm(name: str, known: Mapping[str, object], *, what: str) -> None:
    """Refuse an arm that is not known, naming the one that was probably meant.

    Raises:
        BadInput: The arm is not known.
    """
    if name not in known:
        near = suggestion(name, known) or "."
        raise BadInput(f"{what} '{name}', which is not an arm{near}", remedy=f"Arms: {', '.join(map(str, known))}.")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    return {
        path: leaf
        for key, item in value.items()
        for path, leaf in _flat(item, f"{prefix}.{key}" if prefix else str(key)).items()
    }
