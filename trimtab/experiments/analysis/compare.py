"""One metric's comparison, by the estimator that its kind asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trimtab.errors import BadInput
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
from trimtab.experiments.strata import LEAST_UNITS, standardise, stratum_weights

_ROUNDING = 1e-6  # Relative error of a count that was computed from a mean.


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
    arms = arm_moments(metric, name, control, treatment)
    if metric.kind == "binary" and before is None:
        found = compare_proportions(
            *(proportion(metric, moments) for moments in arms),
            alpha=alpha,
            alternative=alternative,
            relative=spec.relative_scale,
        )
    else:
        found = compare_means(
            *arms, metric.measure, covariate=before, alpha=alpha, alternative=alternative, relative=spec.relative_scale
        )
    return _of_strata(found, name, control, treatment) if control.strata else found


def arm_moments(metric: Metric, name: str, control: Cell, treatment: Cell) -> tuple[Moments, Moments]:
    """Both arms' moments, standardised to the same strata where there are any.

    Raises:
        BadInput: No stratum has two units of each arm.
    """
    if not control.strata:
        return control.moments[name], treatment.moments[name]
    first, second = control.stratified(name), treatment.stratified(name)
    weights = stratum_weights(first, second)
    if not weights:
        raise BadInput("no phase has two units in each arm.")
    rate = metric.kind == "binary" and metric.before is None
    return standardise(first, weights, rate=rate), standardise(second, weights, rate=rate)


def _of_strata(found: Comparison, name: str, control: Cell, treatment: Cell) -> Comparison:
    """A comparison over phases, with the units that it was made of."""
    first, second = control.stratified(name), treatment.stratified(name)
    used = stratum_weights(first, second)
    alone = [one for one in {**first, **second} if one not in used]
    left = f"{len(alone)} of {len(alone) + len(used)} phases lack two units in each arm and count for nothing."
    return replace(
        found,
        n_control=sum(first[one].n for one in used),
        n_treatment=sum(second[one].n for one in used),
        method=f"{found.method}, within phases" if len(used) > 1 else found.method,
        note=" ".join(part for part in (found.note, left if alone else "") if part),
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
    arms = arm_moments(metric, name, control, treatment)
    if metric.kind == "binary" and metric.before is None:
        return compare_proportions_bayes(
            *(proportion(metric, moments) for moments in arms),
            prior=BetaPrior(prior.a, prior.b),
            alpha=spec.alpha,
            direction=metric.direction,
        )
    normal = NormalPrior(prior.mean) if prior.deviation is None else NormalPrior(prior.mean, prior.deviation)
    return compare_means_bayes(*_estimates(metric, *arms), prior=normal, alpha=spec.alpha, direction=metric.direction)


def compare_part(spec: ExperimentSpec, name: str, arms: Mapping[str, Cell], treatment: str) -> Comparison | None:
    """Treatment against control within a segment or a day; None where too little is there to compare."""
    control, other = arms.get(spec.control), arms.get(treatment)
    if control is None or other is None or not comparable(name, control, other):
        return None
    try:
        return compare_cells(spec, name, control, other)
    except BadInput:  # A ratio whose denominator is zero there.
        return None


def watch(spec: ExperimentSpec, name: str, comparison: Comparison, *, level: float) -> AlwaysValid | None:
    """The confidence sequence at 1 - level, where always-valid watching was declared."""
    plan = spec.sequential
    if plan is None or plan.method != "always_valid" or spec.role(name) != "primary":
        return None
    return confidence_sequence(
        comparison.absolute,
        comparison.n_control + comparison.n_treatment,
        optimised_for=plan.planned_units,
        alpha=level,
        alternative=comparison.alternative,
    )


def proportion(metric: Metric, moments: Moments) -> Proportion:
    """Successes and units of a binary metric; of standardised moments, the effective ones, which need not be whole."""
    column = metric.outcome_columns[0]
    successes = float(moments.mean[moments.place(column)]) * moments.n
    whole = round(successes)
    counted = abs(successes - whole) <= _ROUNDING * max(1, whole)
    return Proportion(whole if counted else min(successes, moments.n), moments.n)


def comparable(name: str, control: Cell, treatment: Cell) -> bool:
    """Whether both arms have enough units for a variance, in some stratum where there are strata."""
    if control.strata and treatment.strata:
        return bool(stratum_weights(control.stratified(name), treatment.stratified(name)))
    return min(control.moments[name].n, treatment.moments[name].n) >= LEAST_UNITS


def _estimates(metric: Metric, control: Moments, treatment: Moments) -> tuple[ArmEstimate, ArmEstimate]:
    before, measure = metric.before, metric.measure
    if before is None:
        return plain(control, measure), plain(treatment, measure)
    pooled = control.merge(treatment)
    coefficient, centre = theta(pooled, measure, before), before.value(pooled)
    first, second = (adjusted(arm, measure, before, coefficient, centre) for arm in (control, treatment))
    return first, second
