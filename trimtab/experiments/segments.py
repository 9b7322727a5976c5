"""Does the effect differ between segments? A claim is made only where there is evidence for it.

Slicing an experiment ten ways finds a "winning segment" by chance. So the first question is the interaction: do the
segments differ at all? A segment's own effect is claimed after correction for the number of segments, and never as
being different from the whole unless the interaction test says that segments differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log1p
from typing import Literal

import numpy as np
from scipy import stats

from trimtab.errors import BadInput
from trimtab.experiments.effects import Comparison, Direction, check_alpha
from trimtab.experiments.multiplicity import Correction, adjust_family

Claim = Literal["better", "worse", "none"]


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """Whether effects differ between segments.

    Attributes:
        statistic: Cochran's Q: squared distances from the precision-weighted mean effect, in variances.
        degrees_of_freedom: Segments with information, less one.
        p_value: Of equal effects.
        i_squared: Share of the spread that chance does not explain, 0 to 1 (Higgins and Thompson 2002).
        scale: Whether absolute effects or logarithms of ratios were compared.
        pooled: Precision-weighted mean effect, absolute or relative.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float
    i_squared: float
    scale: Literal["absolute", "relative"]
    pooled: float


@dataclass(frozen=True, slots=True)
class SegmentEffect:
    """The effect in one segment.

    Attributes:
        segment: Value of the segment.
        comparison: With the p-value adjusted over the segments.
        claim: `better` or `worse` where the adjusted p-value is below alpha.
    """

    segment: str
    comparison: Comparison
    claim: Claim


@dataclass(frozen=True, slots=True)
class SegmentAnalysis:
    """All segments of one attribute.

    Attributes:
        effects: One per segment, in the order given.
        heterogeneity: The interaction test; None where fewer than two segments carry information.
        differs: Whether the segments' effects are shown to differ.
        statement: In words.
    """

    effects: tuple[SegmentEffect, ...]
    heterogeneity: Heterogeneity | None
    differs: bool
    statement: str


def analyse_segments(
    comparisons: Mapping[str, Comparison],
    *,
    alpha: float = 0.05,
    correction: Correction = "holm",
    direction: Direction = "higher",
) -> SegmentAnalysis:
    """Judge the effects of one treatment in all segments of one attribute.

    Segments differ only where neither equal relative nor equal absolute effects explain them, so the test shown is the
    one with the greater p-value. Equal relative effects alone would refute too much: with a heavy tail and few
    purchases in a segment, the logarithm's variance is small where its value is far off.

    Args:
        comparisons: Treatment against control by segment; the segments share no unit.
        alpha: Level of the interaction test and of the family of segment tests.
        correction: Correction over the segments.
        direction: Whether higher or lower is better.

    Raises:
        BadInput: There is no segment.
    """
    check_alpha(alpha)
    if not comparisons:
        raise BadInput("there is no segment to analyse.")
    effects = tuple(
        SegmentEffect(name, comparison, _claim(comparison, alpha, direction))
        for name, comparison in adjust_family(comparisons, method=correction).items()
    )
    tests = (heterogeneity(comparisons, scale="relative"), heterogeneity(comparisons, scale="absolute"))
    test = max((test for test in tests if test is not None), key=lambda test: test.p_value, default=None)
    differs = test is not None and test.p_value < alpha
    return SegmentAnalysis(effects, test, differs, _statement(effects, test, differs))


def heterogeneity(
    comparisons: Mapping[str, Comparison], *, scale: Literal["absolute", "relative"] = "relative"
) -> Heterogeneity | None:
    """Cochran's Q test of equal effects over independent segments (W. G. Cochran 1954).

    Segments whose effect has no standard error, or no logarithm on the relative scale, carry no information and are
    left out.
    """
    values, variances = [], []
    for comparison in comparisons.values():
        point = _point(comparison, scale)
        if point is not None:
            values.append(point[0])
            variances.append(point[1])
    if len(values) < 2:
        return None
    weights = 1 / np.array(variances)
    pooled = float(np.average(values, weights=weights))
    statistic = float(weights @ (np.array(values) - pooled) ** 2)
    freedom = len(values) - 1
    spread = max(0.0, 1 - freedom / statistic) if statistic > 0 else 0.0
    shown = float(np.expm1(pooled)) if scale == "relative" else pooled
    return Heterogeneity(statistic, freedom, float(stats.chi2.sf(statistic, freedom)), spread, scale, shown)


def _point(comparison: Comparison, scale: str) -> tuple[float, float] | None:
    if scale == "absolute":
        error = comparison.absolute.standard_error
        return (comparison.absolute.estimate, error * error) if error > 0 else None
    effect = comparison.relative
    if effect is None or effect.estimate <= -1 or effect.standard_error <= 0:
        return None
    error = effect.standard_error / (1 + effect.estimate)
    return log1p(effect.estimate), error * error


def _claim(comparison: Comparison, alpha: float, direction: Direction) -> Claim:
    adjusted = comparison.p_value if comparison.p_value_adjusted is None else comparison.p_value_adjusted
    if adjusted >= alpha or comparison.absolute.estimate == 0:
        return "none"
    return "better" if (comparison.absolute.estimate > 0) == (direction == "higher") else "worse"


def _statement(effects: tuple[SegmentEffect, ...], test: Heterogeneity | None, differs: bool) -> str:
    claims = {claim: [effect.segment for effect in effects if effect.claim == claim] for claim in ("better", "worse")}
    shown = [f"{claim} in {', '.join(names)}" for claim, names in claims.items() if names]
    effect = f"The treatment is shown to be {' and '.join(shown)}." if shown else "No segment's own effect is shown."
    if test is None:
        return f"{effect} Too few segments carry information for an interaction test."
    if differs:
        return f"Effects differ between segments (p = {test.p_value:.3g}). {effect}"
    return f"Effects are not shown to differ between segments (p = {test.p_value:.3g}). {effect}"
