"""How large an experiment must be, what it can find, and how long it takes; and locking its rules."""

from dataclasses import dataclass, field, replace

from trimtab.errors import BadInput
from trimtab.experiments.cells import Layout, Request, without_password
from trimtab.experiments.declaration import Flags, declare, lock
from trimtab.experiments.planning import MetricDesign, Scope, design_metric, look_bounds
from trimtab.experiments.power import MetricPlan, TestPlan
from trimtab.experiments.sequential import Look
from trimtab.experiments.spec import ExperimentSpec, load_experiment, spec_hash
from trimtab.experiments.spending import Spending
from trimtab.ports import Ports

_DIRECTIONS = {"higher": 1.0, "lower": -1.0}


@dataclass(frozen=True, slots=True)
class Config:
    """What is known, and what is asked.

    Attributes:
        history: Table of units from before, for baselines, variances and the covariates' savings.
        spec: Experiment spec.
        flags: What the command line declares of unit, metrics, covariates and weights.
        baseline: Control's expected value, instead of a history.
        variance: Variance of one unit's value; absent for a rate.
        saving: Share of the variance that a covariate removes, instead of a history.
        effect: Relative effect to be found; the spec's where absent.
        units: Units in all arms, instead of an effect.
        per_day: Units a day in all arms.
        looks: Number of equally spaced looks.
        alpha: Level; the spec's where absent.
        power: Probability of finding the effect; the spec's where absent.
        one_sided: Ask only whether the treatment is better.
        lock: Write the rules down beside the spec.
    """

    history: str = ""
    spec: str = ""
    flags: Flags = field(default_factory=Flags)
    baseline: float | None = None
    variance: float | None = None
    saving: float = 0.0
    effect: float | None = None
    units: int | None = None
    per_day: float | None = None
    looks: int | None = None
    alpha: float | None = None
    power: float | None = None
    one_sided: bool = False
    lock: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """The design.

    Attributes:
        metrics: One per metric, the primary one first.
        arms: Weight by arm, control first.
        alpha: Level over all treatments.
        power: Probability of finding the effect.
        looks: Bounds of the looks; empty for a fixed test.
        spec_hash: Hash of the rules.
        lock: Where they were locked; empty where they were not.
    """

    metrics: tuple[MetricDesign, ...]
    arms: dict[str, float]
    alpha: float
    power: float
    looks: tuple[Look, ...]
    spec_hash: str
    lock: str


def run(config: Config, ports: Ports) -> Result:
    """Design an experiment.

    Args:
        config: The configuration.
        ports: The ports.

    Raises:
        BadInput: Too little is known of a metric, or what is asked is impossible.
    """
    base = load_experiment(config.spec) if config.spec else None
    spec = declare(base, config.flags, name="design")
    plans = metric_plans(config, spec, ports)
    arms = arm_weights(spec)
    plan = plan_test(config, spec, arms)
    scope = Scope(
        relative=None if config.units else config.effect or spec.minimum_relative_effect or None,
        total=config.units,
        per_day=config.per_day,
        minimum_days=spec.minimum_days or 7,
    )
    designs = tuple(
        design_metric(name, metric, plan, scope, direction=direction(spec, name)) for name, metric in plans.items()
    )
    where = ""
    if config.lock:
        if base is None:
            raise BadInput("only a spec can be locked.", remedy="Write one, and give it as --spec.")
        where = str(lock(config.spec, base))
    return Result(designs, arms, plan.alpha, plan.power, look_bounds(plan), spec_hash(spec), where)


def plan_test(config: Config, spec: ExperimentSpec, arms: dict[str, float]) -> TestPlan:
    """The test that will be made."""
    spending = Spending(spec.sequential.spending) if spec.sequential else Spending()
    return TestPlan(
        alpha=spec.alpha if config.alpha is None else config.alpha,
        power=spec.power if config.power is None else config.power,
        alternative="greater" if config.one_sided or spec.alternative == "one-sided" else "two-sided",
        shares=tuple(arms.values()),
        looks=config.looks or 1,
        spending=spending,
    )


def metric_plans(config: Config, spec: ExperimentSpec, ports: Ports) -> dict[str, MetricPlan]:
    """What is known of every metric, from a history or from numbers."""
    if config.history:
        return _from_history(config.history, spec, ports)
    if config.baseline is None:
        raise BadInput("nothing is known of the metric.", remedy="Give --baseline, or --history with --metric.")
    name = spec.primary or "metric"
    if config.variance is None:
        return {name: MetricPlan.of_proportion(config.baseline, saving=config.saving)}
    return {name: MetricPlan(config.baseline, config.variance, False, config.saving)}


def _from_history(history: str, spec: ExperimentSpec, ports: Ports) -> dict[str, MetricPlan]:
    """Moments of all units together; the arms of an earlier experiment do not matter."""
    named = {name: metric for name, metric in spec.metrics.items() if metric.kind != "quantile"}
    if not named:
        raise BadInput("no metric is declared.", remedy="Give --metric NAME=binary:COLUMN, or metrics in the spec.")
    table = ports.warehouse.open(history, Layout(spec.unit, "", eligible=spec.eligible))
    requests = [
        Request(name, metric.outcome_columns, metric.covariate_columns, metric.kind == "binary", metric.missing)
        for name, metric in named.items()
    ]
    cells = table.cells(requests)
    if not cells:
        raise BadInput(f"'{without_password(history)}' has no units.")
    plans = {}
    for name, metric in named.items():
        moments = cells[0].moments[name]
        plan = MetricPlan.of_moments(moments, metric.measure, covariate=metric.before)
        plans[name] = (
            replace(MetricPlan.of_proportion(plan.baseline), saving=plan.saving) if metric.kind == "binary" else plan
        )
    order = sorted(plans, key=lambda name: name != spec.primary)
    return {name: plans[name] for name in order}


def arm_weights(spec: ExperimentSpec) -> dict[str, float]:
    """Weights with control first; one treatment of equal size where nothing is declared."""
    weights = {name: weight for name, weight in spec.arms.items() if weight > 0}
    if not weights:
        return {spec.control: 0.5, "treatment" if spec.control != "treatment" else "other": 0.5}
    if spec.control not in weights:
        raise BadInput(f"control '{spec.control}' has no weight.")
    return {name: weights[name] for name in sorted(weights, key=lambda name: name != spec.control)}


def direction(spec: ExperimentSpec, name: str) -> float:
    """1 where higher is better, -1 where lower is."""
    return _DIRECTIONS[spec.metrics[name].direction] if name in spec.metrics else 1.0
