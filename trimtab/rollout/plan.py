"""The rollout plan: how a version meets its users, by which rules it ships, and what takes it back.

A person writes it as YAML before the start. Its statistics are those of an experiment with looks, so it holds an
experiment spec; whatever the rollout itself decides (arms, columns, phases, looks) may not be said there again.

A ramp enrols more units without moving any between arms: the arms' weights stay what they are at the end, and a step
says which share of the eligible units takes part. Growing a weight instead would move units from control to the
treatment, who then have met both; leaving them out would take control's most frequent visitors out of control alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trimtab.errors import BadInput
from trimtab.experiments.effects import Alternative
from trimtab.experiments.sequential import SequentialDesign
from trimtab.experiments.spec import ExperimentSpec
from trimtab.experiments.spending import Spending
from trimtab.sessions.explain import explain, read_spec

CONTROL, TREATMENT = "control", "treatment"
TIME = "time"  # Column of the event log.
LOOKS = 20  # Looks until the planned units, where the plan does not say after how many units.
_MOST_LOOKS = 200  # The exact bounds of many more take longer to compute than anyone waits.
LONGEST_NAME = 53  # With an arm's name behind it, a server's name has at most 63 characters.
_DECIDED = ("unit", "arm", "arms", "starts", "ends", "eligible", "phases", "sequential", "outcomes")
_REMEDY = "See docs/rollout.md."


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ShadowStage(_Strict):
    """Copies of requests to the treatment, whose answers nobody is given, before the first unit meets it.

    Attributes:
        requests: Copies that it must have been sent, at least.
        minutes: How long it lasts, at least.
        share: Share of requests that are copied.
    """

    requests: int = Field(default=500, ge=1)
    minutes: float = Field(default=0.0, ge=0)
    share: float = Field(default=1.0, gt=0, le=1)


class RampStep(_Strict):
    """A stretch of the ramp.

    Attributes:
        weight: Share of the eligible units that the treatment answers.
        units: Units that it must have enrolled in both arms, at least.
        minutes: How long it lasts, at least.
        eligible: Attribute to the values that take part; everyone where empty. Whoever takes part in a step takes part
            in the ones after it.
    """

    weight: float = Field(gt=0, lt=1)
    units: int = Field(default=0, ge=0)
    minutes: float = Field(default=0.0, ge=0)
    eligible: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class LookTiming(_Strict):
    """When a look is due: both have passed since the last one.

    Attributes:
        units: Units whose attribution window has closed since; a twentieth of the planned ones where absent.
        minutes: Time since.
    """

    units: int | None = Field(default=None, ge=1)
    minutes: float = Field(default=0.0, ge=0)


class RelativeMargin(_Strict):
    """A tolerated deterioration, relative to control: 0.1 is 10%."""

    margin: float = Field(gt=0)


class AbsoluteMargin(_Strict):
    """A tolerated share of requests, more than control's: 0.01 is one in a hundred."""

    margin: float = Field(gt=0, lt=1)


class CalibrationMargin(_Strict):
    """How far the mean prediction may lie from what happened.

    Attributes:
        margin: Tolerated absolute error of the mean predicted probability.
        metric: The binary metric that is predicted; the primary one where absent.
    """

    margin: float = Field(gt=0, lt=1)
    metric: str | None = None


class ServiceGuardrails(_Strict):
    """What the treatment's server must not do.

    Attributes:
        latency_p99: Tolerated growth of the 99th percentile of the wait, relative to control's.
        error_rate: Tolerated share of failed requests beyond control's.
        calibration: Tolerated error of the treatment's mean prediction.
    """

    latency_p99: RelativeMargin | None = None
    error_rate: AbsoluteMargin | None = None
    calibration: CalibrationMargin | None = None


class RolloutPlan(_Strict):
    """One rollout, declared.

    Attributes:
        name: Name of the rollout, of its experiment in the event log, and the salt of its randomisation.
        model: Registered model.
        control: Alias or version that answers control.
        treatment: Alias or version that answers the treatment.
        experiment: Metrics, alpha and the other rules of the verdict. Columns are names of outcomes, such as
            `conversion`; covariates and segments are attributes of the exposure.
        planned_units: Units in both arms whose outcome is known at the planned end.
        window_hours: An outcome counts if it comes within this time of the unit's first exposure.
        reporting_minutes: Outcomes are in the log at most so long after they happened; a unit counts that much later.
        ramp: Steps of growing weight.
        treated_share: Share of the treatment among the units that take part, in every step; the last step's weight
            where absent, so that everyone eligible takes part in the last step.
        shadow: Stage before the ramp; none where absent.
        looks: When looks are due.
        maximum_days: From then on nobody is enrolled any more, and what is known then decides.
        service: Guardrails of the service.
        allow_same_version: Both arms may be one version, for an A/A test.
        lead_seconds: How far in the future a step starts, at least; until all routers have heard of it where that
            takes longer.
        timeout_ms: An arm that takes longer is given up, and control answers.
        unit_field: Field of a request that holds the unit, where no header does.
    """

    name: str = Field(min_length=1, max_length=LONGEST_NAME, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    model: str = Field(min_length=1)
    control: str = "champion"
    treatment: str = "challenger"
    experiment: ExperimentSpec
    planned_units: int = Field(ge=10)
    window_hours: float = Field(gt=0)
    reporting_minutes: float = Field(default=1.0, ge=0)
    ramp: tuple[RampStep, ...] = Field(min_length=1)
    treated_share: float | None = Field(default=None, gt=0, lt=1)
    shadow: ShadowStage | None = None
    looks: LookTiming = LookTiming()
    maximum_days: float = Field(default=28.0, gt=0)
    service: ServiceGuardrails = ServiceGuardrails()
    allow_same_version: bool = False
    lead_seconds: float = Field(default=5.0, ge=0)
    timeout_ms: float = Field(default=1_000.0, gt=0)
    unit_field: str = ""

    @model_validator(mode="before")
    @classmethod
    def _named_after_the_rollout(cls, raw: Any) -> Any:
        """The experiment has the rollout's name unless it has its own, and the event log's column of the time."""
        if isinstance(raw, dict) and isinstance(raw.get("experiment"), dict):
            return {**raw, "experiment": {"name": raw.get("name", ""), "time": TIME, **raw["experiment"]}}
        return raw

    @field_validator("experiment")
    @classmethod
    def _leaves_the_rest_to_the_rollout(cls, spec: ExperimentSpec) -> ExperimentSpec:
        said = sorted(set(_DECIDED) & spec.model_fields_set)
        if said:
            raise ValueError(f"'{said[0]}' is decided by the rollout; leave it out of the experiment")
        if spec.time != TIME:
            raise ValueError(f"the time of an exposure is in the column '{TIME}' of the event log, not '{spec.time}'")
        if spec.control != CONTROL:
            raise ValueError(f"control is called '{CONTROL}' in a rollout, not '{spec.control}'")
        if spec.primary is None:
            raise ValueError("no metric is declared that could decide")
        if spec.metrics[spec.primary].kind == "quantile":
            raise ValueError(f"the primary metric '{spec.primary}' is a quantile, which looks cannot be taken at")
        return spec

    @model_validator(mode="after")
    def _consistent(self) -> "RolloutPlan":
        if self.experiment.name != self.name:
            raise ValueError(f"the experiment is called '{self.experiment.name}', not '{self.name}' as the rollout")
        for before, after in zip(self.ramp, self.ramp[1:], strict=False):
            if after.weight < before.weight:
                raise ValueError(f"a step of weight {after.weight} follows one of {before.weight}; a ramp grows")
            lost = _left_out(before, after)
            if lost:
                raise ValueError(
                    f"a step's '{lost}' in 'eligible' leaves out units of the step before; a ramp keeps whom it has"
                )
        if self.ramp[-1].weight > self.split:
            raise ValueError(
                f"'treated_share' is {self.split}, so no more than that can be treated, not {self.ramp[-1].weight}"
            )
        if sum(step.units for step in self.ramp) > self.planned_units:
            raise ValueError("the steps ask for more units than 'planned_units'")
        if self.look_units * _MOST_LOOKS < self.planned_units:
            raise ValueError(f"'looks.units' is {self.look_units}; that is more than {_MOST_LOOKS} looks until the end")
        self._predicts_a_rate()
        return self

    def _predicts_a_rate(self) -> None:
        name = self.predicted
        if name is None:
            return
        if name not in self.experiment.metrics or self.experiment.metrics[name].kind != "binary":
            raise ValueError(f"the calibration guardrail needs a binary metric; '{name}' is none")

    @property
    def split(self) -> float:
        """Share of the treatment among the units that take part."""
        return self.ramp[-1].weight if self.treated_share is None else self.treated_share

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each arm among the units that take part."""
        return {CONTROL: 1.0 - self.split, TREATMENT: self.split}

    def enrolled_share(self, step: int) -> float:
        """Share of the eligible units that take part in a step."""
        return min(1.0, self.ramp[step].weight / self.split)

    @property
    def look_units(self) -> int:
        """Units between looks."""
        return self.looks.units or max(1, self.planned_units // LOOKS)

    @property
    def predicted(self) -> str | None:
        """The metric that predictions are held against; None where that is no guardrail."""
        guard = self.service.calibration
        return None if guard is None else guard.metric or self.experiment.primary

    @property
    def attributes(self) -> tuple[str, ...]:
        """Fields of a request that the analysis or the ramp needs."""
        eligible = [name for step in self.ramp for name in step.eligible]
        covariates = [name for metric in self.experiment.metrics.values() for name in metric.covariate_columns]
        return tuple(dict.fromkeys([*eligible, *self.experiment.segments, *covariates]))

    @property
    def metric_guardrails(self) -> tuple[str, ...]:
        """Metrics that must not deteriorate."""
        return tuple(name for name in self.experiment.metrics if self.experiment.role(name) == "guardrail")

    @property
    def guardrails(self) -> int:
        """Number of guardrails of every kind; they share one error rate."""
        service = (self.service.latency_p99, self.service.error_rate, self.service.calibration)
        return len(self.metric_guardrails) + sum(one is not None for one in service)

    @property
    def better(self) -> Literal["higher", "lower"]:
        """Whether a higher or a lower primary metric is better."""
        return self.experiment.metrics[self.experiment.primary or ""].direction

    @property
    def alpha(self) -> float:
        """Level of each side: shipping what is not better, and taking back what is not worse."""
        return self.experiment.alpha / 2

    @property
    def good_news(self) -> SequentialDesign:
        """The test that ships: its bounds hardly give before the planned end."""
        side: Alternative = "greater" if self.better == "higher" else "less"
        return SequentialDesign(float(self.planned_units), self.alpha, Spending("obrien_fleming"), side)

    def bad_news(self, *, questions: int = 1) -> SequentialDesign:
        """The test that takes back: it spends its error evenly, so that harm is seen early.

        Args:
            questions: Number of tests that share the error, by Bonferroni.
        """
        side: Alternative = "less" if self.better == "higher" else "greater"
        return SequentialDesign(float(self.planned_units), self.alpha / max(questions, 1), Spending("pocock"), side)


def _left_out(before: RampStep, after: RampStep) -> str:
    """The attribute by which a step leaves out units of the step before; empty where it keeps all of them."""
    for name, values in after.eligible.items():
        earlier = before.eligible.get(name)
        if earlier is None or not set(earlier) <= set(values):
            return name
    return ""


def load_plan(path: str) -> RolloutPlan:
    """Read a rollout plan.

    Raises:
        BadInput: The file is absent, not YAML, or not a valid plan; the message names each wrong field.
    """
    file = Path(path)
    if not file.is_file():
        raise BadInput(f"there is no rollout plan '{path}'.", remedy="Check the path.")
    return build_plan(read_spec(file, remedy=_REMEDY), where=f"plan '{path}'")


def build_plan(raw: Mapping[str, Any], *, where: str) -> RolloutPlan:
    """Validate a plan's content.

    Args:
        raw: The content.
        where: What the message says is wrong, e.g. `plan 'checkout.yaml'`.

    Raises:
        BadInput: It is not a valid plan.
    """
    try:
        return RolloutPlan.model_validate(dict(raw))
    except ValidationError as error:
        raise BadInput(f"{where} is not valid: {explain(error, RolloutPlan)}", remedy=_REMEDY) from error


def dump_plan(plan: RolloutPlan) -> str:
    """The plan as YAML, equal for equal plans."""
    return yaml.safe_dump(plan.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
