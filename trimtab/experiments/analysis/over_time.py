"""The primary effect day by day and look by look."""

from collections.abc import Mapping
from datetime import UTC
from itertools import accumulate

from trimtab.errors import BadInput
from trimtab.experiments.analysis.compare import compare_part
from trimtab.experiments.analysis.evidence import Material, whole
from trimtab.experiments.analysis.result import DailyEffect
from trimtab.experiments.cells import Cell, merged
from trimtab.experiments.effects import Comparison
from trimtab.experiments.futility import with_futility
from trimtab.experiments.sequential import SequentialDesign, SequentialResult, analyse
from trimtab.experiments.spec import ExperimentSpec
from trimtab.experiments.spending import Spending
from trimtab.experiments.strata import equivalent_units


def daily_effects(spec: ExperimentSpec, material: Material, treatments: tuple[str, ...]) -> tuple[DailyEffect, ...]:
    """The primary effect over the units of each day, and over all until then; without days too thin for it."""
    primary = spec.primary
    if primary is None or spec.metrics[primary].kind == "quantile" or not material.days:
        return ()
    by_day = dict(sorted(merged(material.days, lambda cell: cell.key).items()))
    found = []
    for treatment in treatments:
        so_far = accumulate(
            ([arms[arm] for arm in (spec.control, treatment) if arm in arms] for arms in by_day.values()),
            lambda seen, new: [*seen, *new],
        )
        for (day, arms), cells in zip(by_day.items(), so_far, strict=True):
            own, all_until = (
                compare_part(spec, primary, arms, treatment),
                compare_part(spec, primary, whole(cells), treatment),
            )
            if own is not None and all_until is not None:
                units = own.n_control + own.n_treatment
                found.append(DailyEffect(day, treatment, units, own.absolute, all_until.absolute))
    return tuple(found)


def sequential_result(
    spec: ExperimentSpec, material: Material, treatment: str, comparison: Comparison, *, level: float
) -> SequentialResult | None:
    """What the newest look says; None where no group-sequential test was declared.

    Information is the number of units; over phases, of equally informative ones. Earlier looks are recomputed from the
    units exposed until then, a day being the finest step; a look counts from the day after it was taken.

    Args:
        spec: The rules.
        material: The data.
        treatment: The treatment.
        comparison: Its comparison on the primary metric.
        level: Alpha of this treatment's test.

    Raises:
        BadInput: An earlier look had no units, or all of alpha was spent before.
    """
    plan, primary = spec.sequential, spec.primary
    if plan is None or plan.method != "group_sequential" or primary is None:
        return None
    information, statistics = [], []
    for look in plan.looks:
        until = [cell for cell in material.days if cell.key < look.astimezone(UTC).date().isoformat()]
        earlier = compare_part(spec, primary, whole(until), treatment)
        if earlier is None:
            raise BadInput(
                f"the look of {look.date()} has too few units before it.", remedy="Mend 'looks' in the spec."
            )
        information.append(look_information(spec, whole(until), treatment, earlier))
        statistics.append(earlier.statistic)
    now = look_information(spec, material.arms, treatment, comparison)
    if not information or now > information[-1]:
        information.append(now)
        statistics.append(comparison.statistic)
    share = _share(spec, material, treatment)
    design = SequentialDesign(
        plan.planned_units * share, level, Spending(plan.spending), alternative=comparison.alternative
    )
    error = comparison.absolute.standard_error
    found = analyse(design, information, statistics, standard_error=error, final=plan.final)
    if plan.futility is None:
        return found
    direction = spec.metrics[primary].direction
    spending = Spending(plan.futility)
    return with_futility(found, design, information, power=spec.power, spending=spending, direction=direction)


def look_information(spec: ExperimentSpec, arms: Mapping[str, Cell], treatment: str, comparison: Comparison) -> float:
    """Units of both arms; over phases, the units that would be as informative at the last phase's weights.

    Args:
        spec: The rules.
        arms: Cells by arm.
        treatment: The treatment.
        comparison: Its comparison on the primary metric.
    """
    primary, control, other = spec.primary or "", arms[spec.control], arms[treatment]
    if not control.strata:
        return float(comparison.n_control + comparison.n_treatment)
    last = spec.phases[-1].weights
    treated = last[treatment] / (last[spec.control] + last[treatment])
    if not 0 < treated < 1:
        return float(comparison.n_control + comparison.n_treatment)
    return equivalent_units(control.stratified(primary), other.stratified(primary), treated_share=treated)


def _share(spec: ExperimentSpec, material: Material, treatment: str) -> float:
    """Share of the planned units that control and this treatment make up."""
    if not spec.arms:
        return 2 / len(material.arms)
    return (spec.arms[spec.control] + spec.arms[treatment]) / sum(spec.arms.values())
