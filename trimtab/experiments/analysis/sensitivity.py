"""Does the verdict hang on a choice? One row per choice that another analyst might have made."""

from collections.abc import Mapping
from dataclasses import replace

from trimtab.errors import BadInput
from trimtab.experiments.analysis.compare import Choices, comparable, compare_bayes, compare_cells
from trimtab.experiments.analysis.evidence import Material, whole
from trimtab.experiments.analysis.judge import evidence, policy
from trimtab.experiments.analysis.result import SensitivityRow
from trimtab.experiments.cells import Cell
from trimtab.experiments.effects import Comparison
from trimtab.experiments.spec import ExperimentSpec
from trimtab.experiments.verdict import decide
from trimtab.types import Decision

_ALPHAS = (0.01, 0.1)


def sensitivity(
    spec: ExperimentSpec, material: Material, comparisons: Mapping[str, Comparison]
) -> tuple[SensitivityRow, ...]:
    """The primary metric under other choices: other levels, without CUPED, outliers and first days removed, Bayesian.

    Every row is judged by the primary metric alone, without correction, and compared with the declared analysis judged
    the same way, so that a row that moves, moves for its own reason.

    Args:
        spec: The rules.
        material: The data.
        comparisons: The declared comparison on the primary metric by treatment.
    """
    rows = []
    for treatment, corrected in comparisons.items():
        declared = replace(corrected, p_value_adjusted=None)
        base = _decision(spec, declared)
        rows.append(_row("as declared", treatment, declared, base, base))
        for name, comparison, alpha in _variations(spec, material, treatment, declared):
            rows.append(_row(name, treatment, comparison, _decision(spec, comparison, alpha=alpha), base))
        rows += _bayesian(spec, material.arms, treatment, base)
    return tuple(rows)


def _variations(
    spec: ExperimentSpec, material: Material, treatment: str, declared: Comparison
) -> list[tuple[str, Comparison, float]]:
    primary, found = spec.primary or "", []
    metric = spec.metrics[primary]
    if metric.kind == "quantile":
        return [(f"alpha {alpha:g}", declared, alpha) for alpha in _ALPHAS if alpha != spec.alpha]
    for alpha in _ALPHAS:
        if alpha != spec.alpha:
            again = _compare(spec, material.arms, treatment, Choices(alpha=alpha))
            found += [(f"alpha {alpha:g}", again, alpha)] if again else []
    if metric.before is not None:
        without = _compare(spec, material.arms, treatment, Choices(covariates=False))
        found += [("without the covariate", without, spec.alpha)] if without else []
    if material.capped:
        capped = _compare(spec, material.capped, treatment)
        found += [("outliers capped at the 99th percentile", capped, spec.alpha)] if capped else []
    settled = _without_first_days(material)
    if settled:
        later = _compare(spec, settled, treatment)
        found += [("first quarter of the days removed", later, spec.alpha)] if later else []
    return found


def _without_first_days(material: Material) -> dict[str, Cell]:
    days = sorted({cell.key for cell in material.days})
    if len(days) < 4:
        return {}
    first = days[len(days) // 4]
    return whole([cell for cell in material.days if cell.key >= first])


def _compare(
    spec: ExperimentSpec, arms: Mapping[str, Cell], treatment: str, choices: Choices | None = None
) -> Comparison | None:
    primary, control, other = spec.primary or "", arms.get(spec.control), arms.get(treatment)
    if control is None or other is None or not comparable(primary, control, other):
        return None
    try:
        return compare_cells(spec, primary, control, other, choices)
    except BadInput:
        return None


def _decision(spec: ExperimentSpec, comparison: Comparison, *, alpha: float | None = None) -> Decision:
    return decide(evidence(spec, spec.primary or "", comparison), policy=policy(spec, alpha=alpha)).decision


def _row(name: str, treatment: str, comparison: Comparison, decision: Decision, base: Decision) -> SensitivityRow:
    effect = comparison.relative or comparison.absolute
    return SensitivityRow(
        variation=name,
        treatment=treatment,
        estimate=effect.estimate,
        relative=comparison.relative is not None,
        low=effect.low,
        high=effect.high,
        p_value=comparison.p_value,
        decision=decision,
        moves=decision != base,
    )


def _bayesian(spec: ExperimentSpec, arms: Mapping[str, Cell], treatment: str, base: Decision) -> list[SensitivityRow]:
    primary = spec.primary or ""
    if spec.metrics[primary].kind == "quantile":
        return []
    result = compare_bayes(spec, primary, arms[spec.control], arms[treatment])
    better, asked = result.probability_better, spec.bayes.minimum_probability
    decision: Decision = "ship" if better >= asked else "roll_back" if better <= 1 - asked else "hold"
    effect = result.relative or result.difference
    row = SensitivityRow(
        variation=f"Bayesian, prior {result.prior}",
        treatment=treatment,
        estimate=effect.estimate,
        relative=result.relative is not None,
        low=effect.low,
        high=effect.high,
        p_value=1 - better,
        decision=decision,
        moves=decision != base,
    )
    return [row]
