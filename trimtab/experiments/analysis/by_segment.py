"""The primary effect by the values of an attribute."""

from collections.abc import Sequence

from trimtab.experiments.analysis.compare import compare_part
from trimtab.experiments.analysis.result import Segmentation, SegmentComparison
from trimtab.experiments.cells import Cell, merged
from trimtab.experiments.effects import Comparison
from trimtab.experiments.segments import SegmentAnalysis, SegmentEffect, analyse_segments
from trimtab.experiments.spec import ExperimentSpec


def segmentation(
    spec: ExperimentSpec, attribute: str, cells: Sequence[Cell], treatment: str
) -> tuple[Segmentation, SegmentAnalysis] | None:
    """One treatment in all segments of one attribute; None where no segment has two units in each arm.

    Args:
        spec: The rules.
        attribute: The column.
        cells: Its cells.
        treatment: The treatment.
    """
    primary = spec.primary or ""
    comparisons: dict[str, Comparison] = {}
    left_out = []
    for segment, arms in merged(cells, lambda cell: cell.key).items():
        comparison = compare_part(spec, primary, arms, treatment)
        if comparison is None:
            left_out.append(segment)
        else:
            comparisons[segment] = comparison
    if not comparisons:
        return None
    found = analyse_segments(
        comparisons, alpha=spec.alpha, correction=spec.correction, direction=spec.metrics[primary].direction
    )
    shown = tuple(_shown(effect) for effect in found.effects)
    return (
        Segmentation(attribute, treatment, shown, found.heterogeneity, found.differs, found.statement, tuple(left_out)),
        found,
    )


def _shown(effect: SegmentEffect) -> SegmentComparison:
    comparison = effect.comparison
    adjusted = comparison.p_value if comparison.p_value_adjusted is None else comparison.p_value_adjusted
    return SegmentComparison(
        effect.segment,
        comparison.n_control + comparison.n_treatment,
        comparison.absolute,
        comparison.relative,
        comparison.p_value,
        adjusted,
        effect.claim,
    )
