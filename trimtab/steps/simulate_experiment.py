"""Does a design keep its promises? Type I error, power and expected duration by simulated experiments."""

from dataclasses import dataclass, field, replace

import numpy as np

from trimtab.errors import BadInput
from trimtab.experiments.declaration import declare
from trimtab.experiments.planning import Scope, design_metric
from trimtab.experiments.power import MetricPlan
from trimtab.experiments.simulation import Outcome, Rules, simulate
from trimtab.experiments.spec import ExperimentSpec, load_experiment
from trimtab.ports import Ports
from trimtab.steps import design as designing
from trimtab.types import Interval


@dataclass(frozen=True, slots=True)
class Config:
    """What to simulate.

    Attributes:
        design: What is known and asked, as for a design.
        runs: Experiments without an effect, and as many with it.
        seed: Equal seeds give equal results.
    """

    design: designing.Config = field(default_factory=designing.Config)
    runs: int = 10_000
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Result:
    """What the design does.

    Attributes:
        metric: The metric that decides.
        total: Planned units of control and one treatment.
        effect: Absolute effect that the power is for.
        alpha: Level of one treatment's test.
        type_one_error: Share of experiments without an effect that found one.
        power: Share of experiments with the effect that found it.
        peeking_error: What the type I error would be with a fixed test at every look; None for a single look.
        expected_units: Mean units at the stop, with the effect.
        expected_units_without_effect: The same without one.
        expected_days: Mean days at the stop, with the effect; None where the traffic is not known.
        without_effect: Details without an effect.
        with_effect: Details with it.
    """

    metric: str
    total: int
    effect: float
    alpha: float
    type_one_error: Interval
    power: Interval
    peeking_error: Interval | None
    expected_units: float
    expected_units_without_effect: float
    expected_days: float | None
    without_effect: Outcome
    with_effect: Outcome


def run(config: Config, ports: Ports) -> Result:
    """Simulate the primary metric's test of the first treatment.

    Args:
        config: The configuration.
        ports: The ports.

    Raises:
        BadInput: Too little is known of the metric, or what is asked is impossible.
    """
    asked = config.design
    spec = declare(load_experiment(asked.spec) if asked.spec else None, asked.flags, name="design")
    name, metric = next(iter(designing.metric_plans(asked, spec, ports).items()))
    rules, effect = _rules(asked, spec, name, metric)
    rng = np.random.default_rng(config.seed)
    outcomes = []
    for place, (true, how) in enumerate(
        ((0.0, rules), (effect, rules), *(((0.0, replace(rules, peeking=True)),) if rules.looks > 1 else ()))
    ):
        ports.progress("simulate", place, 3, "with the effect" if true else "without an effect")
        outcomes.append(simulate(metric, true, how, runs=config.runs, rng=rng))
    ports.progress("simulate", 3, 3)
    null, alternative = outcomes[:2]
    per_day = asked.per_day * rules.total / _whole(rules, spec) if asked.per_day else None
    return Result(
        metric=name,
        total=rules.total,
        effect=effect,
        alpha=rules.alpha,
        type_one_error=null.rejected,
        power=alternative.rejected,
        peeking_error=outcomes[2].rejected if len(outcomes) > 2 else None,
        expected_units=alternative.expected_units,
        expected_units_without_effect=null.expected_units,
        expected_days=alternative.expected_units / per_day if per_day else None,
        without_effect=null,
        with_effect=alternative,
    )


def _rules(asked: designing.Config, spec: ExperimentSpec, name: str, metric: MetricPlan) -> tuple[Rules, float]:
    arms = designing.arm_weights(spec)
    plan = designing.plan_test(asked, spec, arms)
    scope = Scope(
        relative=None if asked.units else asked.effect or spec.minimum_relative_effect or None, total=asked.units
    )
    if scope.relative is None and scope.total is None:
        raise BadInput("a simulation needs the effect or the number of units.", remedy="Give --effect or --units.")
    found = design_metric(name, metric, plan, scope, direction=designing.direction(spec, name))
    alternative = plan.alternative
    if alternative != "two-sided" and found.effect < 0:
        alternative = "less"
    rules = Rules(
        total=found.per_arm[0] + found.per_arm[1],
        share=found.per_arm[1] / (found.per_arm[0] + found.per_arm[1]),
        looks=plan.looks,
        alpha=plan.level,
        alternative=alternative,
        spending=plan.spending,
        always_valid=spec.sequential is not None and spec.sequential.method == "always_valid",
    )
    return rules, found.effect


def _whole(rules: Rules, spec: ExperimentSpec) -> float:
    """Units of all arms while control and one treatment have `rules.total`."""
    weights = list(designing.arm_weights(spec).values())
    return rules.total * sum(weights) / (weights[0] + weights[1])
