"""A/A calibration of the primary metric's test on control's own units."""

from trimtab.errors import BadInput
from trimtab.experiments.analysis.compare import comparable, compare_cells
from trimtab.experiments.analysis.evidence import Material, whole
from trimtab.experiments.calibration import BUCKETS, Calibration, balanced_splits, calibration
from trimtab.experiments.spec import ExperimentSpec

LEAST_CONTROL = 20 * BUCKETS  # Fewer units than 20 a bucket leave buckets that are no samples of control.


def why_not(spec: ExperimentSpec, control_units: int) -> str:
    """Why an experiment cannot be calibrated; empty where it can."""
    primary = spec.primary
    if primary is None or spec.metrics[primary].kind == "quantile":
        return "the primary metric is a quantile, which cannot be added up over buckets of units"
    if control_units < LEAST_CONTROL:
        return f"control has {control_units:,} units, and it takes {LEAST_CONTROL:,}"
    return ""


def calibrate(spec: ExperimentSpec, material: Material) -> tuple[Calibration | None, str]:
    """The calibration, or why there is none.

    Args:
        spec: The rules.
        material: The data; its buckets are control's units.
    """
    if material.units is None:
        return None, "only aggregates were given"
    control = material.arms.get(spec.control)
    reason = why_not(spec, control.units if control else 0)
    if not reason and len(material.buckets) != BUCKETS:
        reason = "the engine that holds the units cannot divide them by a hash"
    if reason:
        return None, reason
    buckets, primary, p_values = sorted(material.buckets, key=lambda cell: int(cell.key)), spec.primary or "", []
    for split in balanced_splits():
        first, second = (
            whole([bucket for bucket, inside in zip(buckets, split, strict=True) if inside == side])[spec.control]
            for side in (False, True)
        )
        if not comparable(primary, first, second):
            return None, "too few units have a value of the primary metric"
        try:
            p_values.append(compare_cells(spec, primary, first, second).p_value)
        except BadInput as error:  # A ratio whose denominator is zero in one half.
            return None, error.message
    return calibration(p_values, alpha=spec.alpha), ""
