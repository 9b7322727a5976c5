"""One metric's comparison, by the estimator that its kind asks for."""

from dataclasses import dataclass

from trimtab.experiments.always_valid import AlwaysValid, confidence_sequence
from trimtab.experiments.bayes import (
    BayesianComparison,
    BetaPrior,
    NormalPrior,
    compare_means_bayes,
    compare_proportions_bayes,
)
from trimtab.experiments.cells import Cell
from trimtab.experiments.effects import ArmEstimate, Comparison
from trimtab.experiments.means import adjusted, compare_means, plain, theta
from trimtab.experiments.moments import Moments
from trimtab.experiments.proportions import Proportion, compare_proportions
from trimtab.experiments.quantiles import QuantileSummary, compare_quantiles
from trimtab.experiments.spec import ExperimentSpec, Metric

LEAST_UNITS = 2  # A variance needs two.


@dataclass(frozen=True, slots=True)
class Choices:
    """What the sensitivity table varies.

    Attributes:
        alpha: Significance level; the spec's where None.
        covariates: Whether covariates adjust.
    """

    alpha: float | None = None
    covariates: bool = True


def compare_cells(
    spec: ExperimentSpec, name: str, control: Cell, treatment: Cell, choices: Choices | None = None
) -> Comparison:
    """Compare a binary, mean or ratio metric between two arms."""
    choices = choices or Choices()
    metric = spec.metrics[name]
    alpha = spec.alpha if choices.alpha is None else choices.alpha
    alternative = spec.alternative_of(name)
    before = metric.before if choices.covariates else None
    arms = control.moments[name], treatment.moments[name]
    if metric.kind == "binary" and before is None:
        return compare_proportions(
            *(proportion(metric, moments) for moments in arms),
            alpha=alpha,
            alternative=alternative,
            relative=spec.relative_scale,
        )
    return compare_means(
        *arms, metric.measure, covariate=before, alpha=alpha, alternative=alternative, relative=spec.relative_scale
    )


def compare_summaries(
    spec: ExperimentSpec, name: str, control: QuantileSummary, treatment: QuantileSummary
) -> Comparison:
    """Compare a quantile metric between two arms."""
    return compare_quantiles(
        control,
        treatment,
        alpha=spec.alpha,
        alternative=spec.alternative_of(name),
        relative=spec.relative_scale,
    )


def compare_bayes(spec: ExperimentSpec, name: str, control: Cell, treatment: Cell) -> BayesianComparison:
    """The posterior comparison with the declared priors."""
    metric, prior = spec.metrics[name], spec.bayes
    arms = control.moments[name], treatment.moments[name]
    if metric.kind == "binary" and metric.before is None:
        return compare_proportions_bayes(
            *(proportion(metric, moments) for moments in arms),
            prior=BetaPrior(prior.a, prior.b),
            alpha=spec.alpha,
            direction=metric.direction,
        )
    normal = NormalPrior(prior.mean) if prior.deviation is None else NormalPrior(prior.mean, prior.deviation)
    return compare_means_bayes(*_estimates(metric, *arms), prior=normal, alpha=spec.alpha, direction=metric.direction)


def watch(spec: ExperimentSpec, name: str, comparison: Comparison) -> AlwaysValid | None:
    """The confidence sequence, where always-valid watching was declared."""
    plan = spec.sequential
    if plan is None or plan.method != "always_valid" or spec.role(name) != "primary":
        return None
    return confidence_sequence(
        comparison.absolute,
        comparison.n_control + comparison.n_treatment,
        optimised_for=plan.planned_units,
        alpha=spec.alpha,
        alternative=comparison.alternative,
    )


def proportion(metric: Metric, moments: Moments) -> Proportion:
    """Successes and units of a binary metric."""
    column = metric.outcome_columns[0]
    return Proportion(round(float(moments.mean[moments.place(column)]) * moments.n), moments.n)


def comparable(name: str, control: Cell, treatment: Cell) -> bool:
    """Whether both arms have enough units for a variance."""
    return min(control.moments[name].n, treatment.moments[name].n) >= LEAST_UNITS


def _estimates(metric: Metric, control: Moments, treatment: Moments) -> tuple[ArmEstimate, ArmEstimate]:
    before, measure = metric.before, metric.measure
    if before is None:
        return plain(control, measure), plain(treatment, measure)
    pooled = control.merge(treatment)
    coefficient, centre = theta(pooled, measure, before), before.value(pooled)
    first, second = (adjusted(arm, measure, before, coefficient, centre) for arm in (control, treatment))
    return first, second
