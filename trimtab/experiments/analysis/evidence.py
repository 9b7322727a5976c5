"""The data of an analysis as its estimators want them, whatever they were read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trimtab.experiments.cells import Cell, Quantiles, UnitCheck, merged


@dataclass(frozen=True, slots=True)
class Material:
    """What left the engine.

    Attributes:
        data: Where it was read from.
        arms: All units by arm.
        segments: Cells by attribute; the cells of one attribute add up to `arms`.
        days: Cells by date of first exposure; empty without a time column.
        quantiles: Quantiles by metric and arm.
        capped: Cells with the primary metric's outliers removed, for the sensitivity table; empty where not done.
        caps: Limits that values were capped at, by metric.
        units: Check of the units; None where only aggregates were given.
        buckets: Control's units by a hash, for the A/A calibration; empty where it is not done.
    """

    data: str
    arms: Mapping[str, Cell]
    segments: Mapping[str, Sequence[Cell]] = field(default_factory=dict)
    days: Sequence[Cell] = ()
    quantiles: Quantiles = field(default_factory=dict)
    capped: Mapping[str, Cell] = field(default_factory=dict)
    caps: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    units: UnitCheck | None = None
    buckets: Sequence[Cell] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Units by arm."""
        return {arm: cell.units for arm, cell in self.arms.items()}


def whole(cells: Sequence[Cell]) -> dict[str, Cell]:
    """Cells added up by arm."""
    return merged(cells, lambda _: "").get("", {})
