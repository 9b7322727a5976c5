"""What a what-if study found, as plain values."""

from dataclasses import dataclass

from trimtab.sessions.spec import Direction, Layer
from trimtab.types import Interval


@dataclass(frozen=True, slots=True)
class Effect:
    """What one improvement does to a number of sessions.

    Attributes:
        sessions: Number of sessions that `flips` and `conversions` are counted over.
        flips: Sessions whose decision changes at the threshold, in either direction.
        conversions: Change in expected conversions.
        relative: That change as a share of the expected conversions without it.
    """

    sessions: int
    flips: Interval
    conversions: Interval
    relative: Interval


@dataclass(frozen=True, slots=True)
class Improvement:
    """One KPI improved by one level.

    Attributes:
        level: Size of the improvement as a share of the value, e.g. 0.05.
        gained: Sampled sessions that newly reach the threshold.
        lost: Sampled sessions that no longer reach it.
        sample: Effect in the sample by design (half converted).
        population: Effect per 1,000 sessions of the natural class mix.
    """

    level: float
    gained: int
    lost: int
    sample: Effect
    population: Effect


@dataclass(frozen=True, slots=True)
class KpiImpact:
    """What improving one KPI alone goes with, according to the model.

    Attributes:
        kpi: Name of the KPI.
        unit: Unit of its values.
        layer: Where it is measured.
        direction: Whether lower or higher is better.
        rank: 1 for the KPI with the largest relative effect in the population at the largest level.
        rank_low: Best rank within the confidence interval.
        rank_high: Worst rank within the confidence interval.
        improvable: Sampled sessions in which the value can move (it is measured, not zero and not at its bound).
        improvements: One entry per level, smallest first.
    """

    kpi: str
    unit: str
    layer: Layer
    direction: Direction
    rank: int
    rank_low: int
    rank_high: int
    improvable: int
    improvements: tuple[Improvement, ...]

    @property
    def largest(self) -> Improvement:
        """The improvement by the largest level, which ranks the KPI."""
        return self.improvements[-1]


@dataclass(frozen=True, slots=True)
class ImpactStudy:
    """A what-if over all controllable request-time KPIs; association, not cause.

    Attributes:
        sessions: Sessions in the sample.
        converted: How many of them converted.
        base_rate: Share of held-out sessions that converted.
        threshold: Probability from which a session counts as predicted to convert.
        expected_conversions: Expected conversions among the sampled sessions as they are.
        confidence: Confidence level of every interval.
        resamples: Bootstrap resamples.
        kpis: Ranked, best first; empty where the spec has no controllable request-time KPI.
        left_out: Controllable KPIs that are no model input, because they are known only at session end.
    """

    sessions: int
    converted: int
    base_rate: float
    threshold: float
    expected_conversions: float
    confidence: float
    resamples: int
    kpis: tuple[KpiImpact, ...]
    left_out: tuple[str, ...]
