"""The whole analysis of one experiment, from moments."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import NormalDist

from trimtab.errors import BadInput
from trimtab.experiments.analysis.by_segment import segmentation
from trimtab.experiments.analysis.checks import check, known_weights
from trimtab.experiments.analysis.compare import (
    comparable,
    compare_bayes,
    compare_cells,
    compare_summaries,
    watch,
)
from trimtab.experiments.analysis.evidence import Material
from trimtab.experiments.analysis.judge import judge
from trimtab.experiments.analysis.over_time import daily_effects, sequential_result
from trimtab.experiments.analysis.result import (
    Analysis,
    ArmComparison,
    ArmValue,
    MetricResult,
    Segmentation,
    Subject,
)
from trimtab.experiments.analysis.sensitivity import sensitivity
from trimtab.experiments.business import BusinessCase, BusinessInputs, business_case, effect_of
from trimtab.experiments.effects import Comparison
from trimtab.experiments.launch import launch_plan
from trimtab.experiments.multiplicity import adjust_family
from trimtab.experiments.noninferiority import NonInferiority, noninferior
from trimtab.experiments.segments import SegmentAnalysis
from trimtab.experiments.spec import ExperimentSpec, spec_hash
from trimtab.experiments.stability import power_at

Comparisons = dict[tuple[str, str], Comparison]


@dataclass(frozen=True, slots=True)
class Declared:
    """The rules as they were locked before the start.

    Attributes:
        hash: Hash of the locked rules; empty where nothing was locked.
        changes: What differs now.
    """

    hash: str = ""
    changes: tuple[str, ...] = field(default_factory=tuple)


def analyse(spec: ExperimentSpec, material: Material, *, declared: Declared | None = None) -> Analysis:
    """Judge an experiment.

    Args:
        spec: The rules.
        material: The data.
        declared: The rules as they were locked.

    Raises:
        BadInput: No metric is declared, an arm is not configured, or there is one arm only.
    """
    if spec.primary is None:
        raise BadInput("no metric is declared that could decide.", remedy="Give --metric NAME=binary:COLUMN or a spec.")
    weights = known_weights(spec, material.counts)
    treatments = tuple(arm for arm in weights if arm != spec.control)
    if not treatments:
        raise BadInput(
            f"'{material.data}' has one arm only ('{spec.control}'), so there is nothing to compare.",
            remedy="Check the column given as --arm.",
        )
    comparisons, treated = _compare_all(spec, material, treatments)
    comparisons = _adjust(spec, comparisons)
    days = daily_effects(spec, material, treatments)
    health = check(spec, material, weights, days)
    level = spec.alpha / len(treatments)
    metrics = {
        name: _metric(spec, material, name, comparisons=comparisons, treated=treated[name], level=level)
        for name in spec.metrics
    }
    business = _business(spec, comparisons, treatments)
    verdict = judge(spec, comparisons, metrics, treatments=treatments, problems=health.problems, business=business)
    segments, winner = _segments(spec, material, treatments, verdict.treatment)
    primary = {arm: comparisons[spec.primary, arm] for arm in treatments if (spec.primary, arm) in comparisons}
    return Analysis(
        experiment=_subject(spec, material, weights, declared or Declared()),
        health=health,
        metrics=metrics,
        verdict=verdict,
        segments=segments,
        days=days,
        sensitivity=sensitivity(spec, material, primary),
        business=business,
        launch=launch_plan(verdict.decision, winner, direction=spec.metrics[spec.primary].direction),
    )


def _compare_all(
    spec: ExperimentSpec, material: Material, treatments: tuple[str, ...]
) -> tuple[Comparisons, dict[str, list[str]]]:
    """Every metric against every treatment, and why where there is none."""
    found: Comparisons = {}
    treated: dict[str, list[str]] = {name: _treatment_of_data(spec, material, name) for name in spec.metrics}
    for name, metric in spec.metrics.items():
        for treatment in treatments:
            try:
                if metric.kind == "quantile":
                    _refuse_phases(spec)
                    arms = material.quantiles.get(name, {})
                    if spec.control in arms and treatment in arms:
                        found[name, treatment] = compare_summaries(spec, name, arms[spec.control], arms[treatment])
                    continue
                control, other = material.arms.get(spec.control), material.arms.get(treatment)
                if control is not None and other is not None and comparable(name, control, other):
                    found[name, treatment] = compare_cells(spec, name, control, other)
            except BadInput as error:
                treated[name].append(f"No comparison with {treatment}: {error.message}")
    return found, treated


def _refuse_phases(spec: ExperimentSpec) -> None:
    """A quantile has no moments that could be compared within phases, and over all of them it may be biased."""
    if len(spec.phases) > 1:
        raise BadInput("a quantile cannot be averaged over phases; judge the last one by its start as 'starts'.")


def _treatment_of_data(spec: ExperimentSpec, material: Material, name: str) -> list[str]:
    """How the metric's data were treated before it was computed."""
    metric, told = spec.metrics[name], []
    for column in metric.outcome_columns:
        missing = sum(cell.missing.get(column, 0) for cell in material.arms.values())
        if missing:
            how = "counted as 0" if metric.missing == "zero" else "left out of this metric"
            told.append(f"{missing:,} units without {column} were {how}.")
    for column in metric.covariate_columns:
        missing = sum(cell.missing.get(column, 0) for cell in material.arms.values())
        if missing:
            told.append(f"{missing:,} units without {column} have 0 as their covariate.")
    for column, limit in material.caps.get(name, {}).items():
        told.append(f"{column} was capped at {limit:g}.")
    return told


def _adjust(spec: ExperimentSpec, comparisons: Comparisons) -> Comparisons:
    """P-values corrected within the declared families; a guardrail is a condition of its own and is not corrected."""
    families: dict[str, dict[tuple[str, str], Comparison]] = {}
    for key, comparison in comparisons.items():
        role = spec.role(key[0])
        group: str = role if spec.family == "roles" or role == "guardrail" else "all"
        families.setdefault(group, {})[key] = comparison
    adjusted: Comparisons = {}
    for group, members in families.items():
        named = {"\0".join(key): comparison for key, comparison in members.items()}
        corrected = adjust_family(named, method="none" if group == "guardrail" else spec.correction)
        adjusted |= {key: corrected["\0".join(key)] for key in members}
    return {key: adjusted[key] for key in comparisons}


def _metric(
    spec: ExperimentSpec,
    material: Material,
    name: str,
    *,
    comparisons: Comparisons,
    treated: list[str],
    level: float,
) -> MetricResult:
    metric = spec.metrics[name]
    own = {treatment: comparison for (key, treatment), comparison in comparisons.items() if key == name}
    return MetricResult(
        kind=metric.kind,
        role=spec.role(name),
        direction=metric.direction,
        margin=metric.margin,
        arms=_arm_values(spec, material, name),
        comparisons=tuple(
            _comparison(spec, material, name, treatment, comparison, level=level)
            for treatment, comparison in own.items()
        ),
        treated=tuple(treated),
    )


def _arm_values(spec: ExperimentSpec, material: Material, name: str) -> dict[str, ArmValue]:
    metric = spec.metrics[name]
    if metric.kind == "quantile":
        return {arm: ArmValue(summary.n, summary.value) for arm, summary in material.quantiles.get(name, {}).items()}
    found = {}
    for arm, cell in material.arms.items():
        moments = cell.moments[name]
        if moments.n == 0:
            continue
        try:
            found[arm] = ArmValue(moments.n, metric.measure.value(moments))
        except BadInput:  # A ratio whose denominator is zero has no value; `treated` says so.
            continue
    return found


def _comparison(
    spec: ExperimentSpec, material: Material, name: str, treatment: str, comparison: Comparison, *, level: float
) -> ArmComparison:
    primary, quantile = spec.role(name) == "primary", spec.metrics[name].kind == "quantile"
    adjusted = comparison.p_value if comparison.p_value_adjusted is None else comparison.p_value_adjusted
    looked = sequential_result(spec, material, treatment, comparison, level=level) if primary and not quantile else None
    return ArmComparison(
        treatment=treatment,
        control=spec.control,
        absolute=comparison.absolute,
        relative=comparison.relative,
        p_value=comparison.p_value,
        p_value_adjusted=adjusted,
        statistic=comparison.statistic,
        method=comparison.method,
        note=comparison.note,
        bayesian=None if quantile else compare_bayes(spec, name, material.arms[spec.control], material.arms[treatment]),
        sequential=looked,
        always_valid=watch(spec, name, comparison, level=level),
        noninferiority=_noninferiority(spec, name, comparison),
        power=_power(spec, comparison) if primary else None,
    )


def _noninferiority(spec: ExperimentSpec, name: str, comparison: Comparison) -> NonInferiority | None:
    metric = spec.metrics[name]
    if spec.role(name) != "guardrail" or comparison.relative is None or metric.margin <= 0:
        return None
    return noninferior(comparison, margin=metric.margin, alpha=spec.alpha / 2, direction=metric.direction)


def _power(spec: ExperimentSpec, comparison: Comparison) -> float | None:
    if spec.minimum_relative_effect <= 0 or comparison.control == 0:
        return None
    sign = -1.0 if spec.metrics[spec.primary or ""].direction == "lower" else 1.0
    return power_at(comparison, sign * spec.minimum_relative_effect * abs(comparison.control))


def _business(
    spec: ExperimentSpec, comparisons: Mapping[tuple[str, str], Comparison], treatments: tuple[str, ...]
) -> dict[str, BusinessCase]:
    figures = spec.business
    if figures is None:
        return {}
    inputs = BusinessInputs(
        figures.units_per_year, figures.value_per_conversion, figures.one_off_cost, figures.yearly_cost
    )
    primary = spec.primary or ""
    return {
        arm: business_case(effect_of(_two_sided(comparisons[primary, arm], alpha=spec.alpha)), inputs)
        for arm in treatments
        if (primary, arm) in comparisons
    }


def _two_sided(comparison: Comparison, *, alpha: float) -> Comparison:
    """A comparison whose interval is closed and holds 1 - alpha, as money needs it.

    A one-sided bound lies at the quantile of alpha; two of them would hold 1 - 2 alpha, so it moves out to alpha / 2.
    """
    if comparison.alternative == "two-sided":
        return comparison
    effect = comparison.absolute
    reach = max(abs(bound - effect.estimate) for bound in (effect.low, effect.high) if abs(bound) != float("inf"))
    reach *= NormalDist().inv_cdf(1 - alpha / 2) / NormalDist().inv_cdf(1 - alpha)
    closed = replace(effect, low=effect.estimate - reach, high=effect.estimate + reach)
    return replace(comparison, absolute=closed)


def _segments(
    spec: ExperimentSpec, material: Material, treatments: tuple[str, ...], winner: str
) -> tuple[tuple[Segmentation, ...], SegmentAnalysis | None]:
    """Every attribute and treatment, and the first attribute for the treatment that the verdict names."""
    shown, chosen = [], None
    if spec.metrics[spec.primary or ""].kind == "quantile":
        return (), None
    for attribute, cells in material.segments.items():
        for treatment in treatments:
            found = segmentation(spec, attribute, cells, treatment)
            if found is None:
                continue
            shown.append(found[0])
            if treatment == winner and chosen is None:
                chosen = found[1]
    return tuple(shown), chosen


def _subject(spec: ExperimentSpec, material: Material, weights: dict[str, float], declared: Declared) -> Subject:
    return Subject(
        name=spec.name,
        hypothesis=spec.hypothesis,
        data=material.data,
        spec_hash=spec_hash(spec),
        declared_hash=declared.hash,
        changes=declared.changes,
        control=spec.control,
        weights=weights,
        alpha=spec.alpha,
        primary=spec.primary or "",
        method=_rules(spec),
    )


def _rules(spec: ExperimentSpec) -> tuple[str, ...]:
    family = "all questions together" if spec.family == "all" else "the primary metric apart from the secondary ones"
    sides = "Two-sided" if spec.alternative == "two-sided" else "One-sided"
    rules = [
        f"{sides} tests at alpha = {spec.alpha:g}; intervals have {1 - spec.alpha:.0%} confidence, uncorrected.",
        f"P-values corrected by {spec.correction.replace('_', '-')} over {family}."
        if spec.correction != "none"
        else "P-values are not corrected.",
        f"Sample-ratio mismatch below p = {spec.sample_ratio_alpha:g} stops the verdict.",
    ]
    if spec.minimum_relative_effect:
        rules.append(f"Shipping asks for an improvement of {spec.minimum_relative_effect:.1%}.")
    if spec.sequential:
        rules.append(f"Looks: {spec.sequential.method.replace('_', '-')}, {spec.sequential.planned_units:,.0f} units.")
    if spec.sequential and spec.sequential.method == "group_sequential":
        rules.append(
            "Overrun: the first look at or beyond the planned size, or the one declared final, gets all of alpha that "
            "is left, at the information really seen; nothing may be tested after it."
        )
        if spec.sequential.futility:
            rules.append(f"A non-binding futility bound spends the type II error of {1 - spec.power:.0%}.")
    return tuple(rules)
