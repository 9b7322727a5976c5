"""Health first: what forbids a winner, and what a reader should know besides."""

from collections.abc import Mapping, Sequence
from datetime import UTC

from scipy import stats

from trimtab.experiments.analysis.calibrate import calibrate
from trimtab.experiments.analysis.compare import arm_moments, comparable
from trimtab.experiments.analysis.evidence import Material
from trimtab.experiments.analysis.result import DailyEffect, Health, PhaseRatio
from trimtab.experiments.balance import CovariateBalance, covariate_balance
from trimtab.experiments.cells import Cell, UnitCheck, marginal
from trimtab.experiments.health import SampleRatio, sample_ratio
from trimtab.experiments.spec import ExperimentSpec, check_arm
from trimtab.experiments.stability import Novelty, novelty
from trimtab.experiments.strata import LEAST_UNITS

NOVELTY_ALPHA = 0.01  # A trend stops the verdict, so one in a hundred steady effects may be stopped, not one in twenty.
_TRACE = 0.001  # Share of units in several arms that a join of exposures may leave out without comment.


def check(
    spec: ExperimentSpec, material: Material, weights: Mapping[str, float], days: Sequence[DailyEffect]
) -> Health:
    """Judge the data.

    Args:
        spec: The rules.
        material: The data.
        weights: Configured weight by arm.
        days: The primary effect by day.
    """
    counts = {arm: material.counts.get(arm, 0) for arm in weights}
    phases = _phases(spec, material)
    srm = _combined(phases) if phases else sample_ratio(counts, weights, threshold=spec.sample_ratio_alpha)
    balance = _balance(spec, material)
    trends = _novelty(days)
    calibrated, skipped = calibrate(spec, material)
    problems = [
        *_arms(counts, weights),
        *_srm(srm, counts, phases),
        *(_units(material.units, joined=spec.outcomes is not None) if material.units else ()),
        *_balance_problems(balance),
        *(f"The effect of {arm} is not stable. {trend.statement}" for arm, trend in trends.items() if trend.present),
        *([calibrated.statement] if calibrated and calibrated.excessive else []),
        *_length(spec, material),
    ]
    return Health(
        srm=srm,
        counts=counts,
        phases=phases,
        balance=balance,
        novelty=trends,
        problems=tuple(problems),
        notes=(*_notes(spec, material), *([f"No A/A calibration: {skipped}."] if skipped else [])),
        calibration=calibrated,
    )


def _arms(counts: Mapping[str, int], weights: Mapping[str, float]) -> list[str]:
    few = {arm: n for arm, n in counts.items() if weights[arm] > 0 and n < LEAST_UNITS}
    return [f"Arm {arm} has {n or 'no'} unit{'' if n == 1 else 's'}; a comparison needs two." for arm, n in few.items()]


def _srm(srm: SampleRatio, counts: Mapping[str, int], phases: Sequence[PhaseRatio]) -> list[str]:
    found = [f"Arm {arm} has a weight of 0 and {counts[arm]:,} units." for arm in srm.unexpected]
    if not srm.mismatch or srm.unexpected:
        return found
    total, expected = sum(counts.values()), sum(srm.expected.values())
    shown = ", ".join(
        f"{arm} {counts[arm]:,} ({counts[arm] / total:.2%} instead of {share / expected:.2%})"
        for arm, share in srm.expected.items()
    )
    wrong = [phase.starts for phase in phases if phase.srm.mismatch]
    where = f" in the phase from {wrong[0]}" if len(phases) > 1 and wrong else ""
    return [*found, f"Sample-ratio mismatch{where}: {shown}; p = {srm.p_value:.2g}. Find the cause before reading on."]


def _phases(spec: ExperimentSpec, material: Material) -> tuple[PhaseRatio, ...]:
    """The sample-ratio test of each declared phase; what came before the first belongs to it."""
    found = []
    for place, phase in enumerate(spec.phases):
        counts = {arm: _units_in(material.arms.get(arm), str(place)) for arm in phase.weights}
        if sum(counts.values()):
            threshold = spec.sample_ratio_alpha / len(spec.phases)
            starts = phase.starts.astimezone(UTC).date().isoformat()
            found.append(PhaseRatio(starts, sample_ratio(counts, phase.weights, threshold=threshold), counts))
    return tuple(found)


def _units_in(cell: Cell | None, stratum: str) -> int:
    part = cell.strata.get(stratum) if cell else None
    return part.units if part else 0


def _combined(phases: Sequence[PhaseRatio]) -> SampleRatio:
    """One test over all phases: chi-squares of separate units add up, and so do their degrees of freedom."""
    statistic = sum(phase.srm.statistic for phase in phases)
    freedom = sum(phase.srm.degrees_of_freedom for phase in phases)
    arms = dict.fromkeys(arm for phase in phases for arm in phase.srm.expected)
    return SampleRatio(
        p_value=float(stats.chi2.sf(statistic, freedom)),
        statistic=statistic,
        degrees_of_freedom=freedom,
        expected={arm: sum(phase.srm.expected.get(arm, 0.0) for phase in phases) for arm in arms},
        unexpected=tuple(dict.fromkeys(arm for phase in phases for arm in phase.srm.unexpected)),
        mismatch=any(phase.srm.mismatch for phase in phases),
    )


def _units(units: UnitCheck, *, joined: bool) -> list[str]:
    about = "" if units.checked_share == 1 else "about "
    shown = f" (e.g. {', '.join(units.examples[:3])})" if units.examples else ""
    found = []
    if units.mixed and not joined:
        found.append(
            f"{about}{units.mixed:,} units are in several arms{shown}; whatever moved them may bias the effect."
        )
    elif joined and units.mixed > _TRACE * max(units.rows, 1):
        found.append(f"{units.mixed:,} units were exposed in several arms{shown}, too many to leave out.")
    alone = units.repeated - units.mixed
    if alone > 0 and not joined:
        found.append(
            f"{about}{alone:,} units have several rows in one arm{shown if not units.mixed else ''}; "
            "rows that depend on each other make intervals too narrow. Add them up to one row per unit."
        )
    if units.without_arm:
        found.append(f"{units.without_arm:,} rows name no arm and were left out.")
    if units.without_unit:
        found.append(f"{units.without_unit:,} rows name no unit and were left out.")
    return [line[0].upper() + line[1:] for line in found]


def _balance(spec: ExperimentSpec, material: Material) -> dict[str, tuple[CovariateBalance, ...]]:
    control = material.arms.get(spec.control)
    found: dict[str, tuple[CovariateBalance, ...]] = {}
    for arm, cell in material.arms.items():
        if control is None or arm == spec.control:
            continue
        lines: dict[str, CovariateBalance] = {}
        for name, metric in spec.metrics.items():
            columns = metric.covariate_columns
            if not columns or name not in cell.moments or not comparable(name, control, cell):
                continue
            pair = (marginal(moments, columns) for moments in arm_moments(metric, name, control, cell))
            lines |= {line.covariate: line for line in covariate_balance(*pair)}
        if lines:
            found[arm] = tuple(lines.values())
    return found


def _balance_problems(balance: Mapping[str, Sequence[CovariateBalance]]) -> list[str]:
    return [
        f"Before the exposure, {line.covariate} of {arm} already differed from control's by {line.difference:+.2f} "
        f"standard deviations (p = {line.p_value:.2g})."
        for arm, lines in balance.items()
        for line in lines
        if not line.balanced
    ]


def _novelty(days: Sequence[DailyEffect]) -> dict[str, Novelty]:
    found = {}
    for treatment in dict.fromkeys(day.treatment for day in days):
        own = [(place, day.effect) for place, day in enumerate(one for one in days if one.treatment == treatment)]
        if sum(effect.standard_error > 0 for _, effect in own) >= 3:
            places, effects = zip(*own, strict=True)
            trend = novelty([float(place) for place in places], effects, alpha=NOVELTY_ALPHA)
            found[treatment] = trend
    return found


def _length(spec: ExperimentSpec, material: Material) -> list[str]:
    days = len({cell.key for cell in material.days})
    if not spec.minimum_days or days >= spec.minimum_days:
        return []
    return [f"There are data of {days} days; at least {spec.minimum_days} were declared."]


def _notes(spec: ExperimentSpec, material: Material) -> list[str]:
    units = material.units
    if units is None:
        return ["Only aggregates were given, so repeated units and units in several arms could not be looked for."]
    notes = []
    if units.checked_share < 1:
        notes.append(f"Repeated units were looked for among {units.checked_share:.0%} of the units.")
    if spec.outcomes is not None and units.mixed:
        notes.append(f"{units.mixed:,} units that were exposed in several arms were left out.")
    if units.unexposed_outcomes:
        notes.append(f"{units.unexposed_outcomes:,} outcomes have no exposure before them and count for no arm.")
    if units.late_outcomes:
        notes.append(f"{units.late_outcomes:,} outcomes came after the attribution window and do not count.")
    if units.open_windows:
        notes.append(
            f"{units.open_windows:,} units were left out because their attribution window was still open when the data "
            "end: they may convert yet."
        )
    if len(spec.phases) > 1:
        notes.append(
            "Weights changed between phases, so arms are compared within each phase and the effects averaged, a phase "
            "counting by n0 n1 / (n0 + n1) of its units; the arms' plain values mix the phases."
        )
    return notes


def known_weights(spec: ExperimentSpec, counts: Mapping[str, int]) -> dict[str, float]:
    """Configured weights, or equal ones over the arms in the data.

    Raises:
        BadInput: An arm in the data is not configured, or control is not in the data.
    """
    if not spec.arms:
        check_arm(spec.control, counts, what="control is")
        return dict.fromkeys(counts, 1.0 / len(counts))
    for arm, units in counts.items():
        check_arm(arm, spec.arms, what=f"the data have {units:,} units in")
    return dict(spec.arms)
