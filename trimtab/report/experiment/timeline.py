"""The effect so far, day by day, with the bounds that the declared method puts on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from itertools import accumulate
from typing import Literal

from trimtab.experiments.always_valid import confidence_sequence
from trimtab.experiments.analysis.result import ArmComparison, DailyEffect
from trimtab.experiments.effects import Effect
from trimtab.experiments.sequential import SequentialDesign
from trimtab.experiments.spending import Spending
from trimtab.report.experiment.model import ExperimentReport

Kind = Literal["fixed", "sequential", "always"]


@dataclass(frozen=True, slots=True)
class Point:
    """The absolute effect over all units until the end of a day, with an interval."""

    day: str
    units: int
    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LookPoint:
    """One look of a group-sequential test.

    Attributes:
        day: Last day that it saw.
        place: Index of that day.
        fraction: Share of the planned units.
        estimate: Absolute effect.
        statistic: Z.
        bound: It rejects where the size of Z exceeds this.
        reach: The bound in the effect's unit: the estimate lies beyond it exactly where Z lies beyond the bound.
    """

    day: str
    place: int
    fraction: float
    estimate: float
    statistic: float
    bound: float
    reach: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The effect over time.

    Attributes:
        kind: `fixed` intervals are nominal and hold for one look; the others hold for the looks they are made for.
        days: The effect so far by day.
        looks: Looks of a group-sequential test so far.
    """

    kind: Kind
    days: tuple[Point, ...]
    looks: tuple[LookPoint, ...] = ()


def timeline(report: ExperimentReport) -> Timeline | None:
    """The primary effect of the judged treatment over time; None without at least two days.

    Days too thin for a comparison are not among the days of an analysis, so their units count with none.
    """
    days, found = report.days, report.comparison
    if len(days) < 2 or found is None:
        return None
    units = tuple(accumulate(day.units for day in days))
    if report.spec.sequential is not None and found.always_valid is not None:
        return Timeline("always", _sequence(report, days, units))
    points = tuple(
        Point(day.day, seen, day.cumulative.estimate, day.cumulative.low, day.cumulative.high)
        for day, seen in zip(days, units, strict=True)
    )
    looks = _looks(report, found, days, units)
    return Timeline("sequential" if looks else "fixed", points, looks)


def _sequence(report: ExperimentReport, days: Sequence[DailyEffect], units: Sequence[int]) -> tuple[Point, ...]:
    plan, primary = report.spec.sequential, report.analysis.experiment.primary
    assert plan is not None
    found = []
    for day, seen in zip(days, units, strict=True):
        band = confidence_sequence(
            day.cumulative,
            seen,
            optimised_for=plan.planned_units,
            alpha=report.spec.alpha,
            alternative=report.spec.alternative_of(primary),
        )
        found.append(Point(day.day, seen, band.estimate, band.low, band.high))
    return tuple(found)


def _looks(
    report: ExperimentReport, comparison: ArmComparison, days: Sequence[DailyEffect], units: Sequence[int]
) -> tuple[LookPoint, ...]:
    """Each look with its bound, from the same design as the newest one.

    A look sees the days before its date; the newest sees all. The plan follows from the newest look's share of it.
    """
    plan, newest = report.spec.sequential, comparison.sequential
    if plan is None or newest is None:
        return ()
    places = [
        max((place for place, day in enumerate(days) if day.day < look.astimezone(UTC).date().isoformat()), default=-1)
        for look in plan.looks
    ]
    places = [place for place in places if place >= 0]
    if not places or places[-1] < len(days) - 1:
        places.append(len(days) - 1)
    total = sum(report.primary.arms[arm].units for arm in (comparison.control, comparison.treatment))
    information = [float(total if place == len(days) - 1 else units[place]) for place in places]
    design = SequentialDesign(
        total / newest.look.fraction,
        report.spec.alpha / len(report.analysis.verdict.arms),
        Spending(plan.spending),
        alternative=report.spec.alternative_of(report.analysis.experiment.primary),
    )
    looks = design.looks(information, final=plan.final)
    return tuple(
        LookPoint(
            day=days[place].day,
            place=place,
            fraction=look.fraction,
            estimate=days[place].cumulative.estimate,
            statistic=days[place].cumulative.statistic,
            bound=look.bound,
            reach=look.bound * _per_z(days[place].cumulative),
        )
        for place, look in zip(places, looks, strict=True)
    )


def _per_z(effect: Effect) -> float:
    """The effect that makes up one unit of Z: a score test's standard error is not the interval's."""
    return effect.estimate / effect.statistic if effect.statistic else effect.standard_error
