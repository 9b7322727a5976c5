"""Experiments that come as aggregates: a table with the columns arm, metric, n, mean, variance, and maybe segment.

A row with a segment, written `attribute=value`, describes a part of its arm; one without describes the whole.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np

from trimtab.errors import BadInput
from trimtab.experiments.analysis.evidence import Material
from trimtab.experiments.cells import Cell
from trimtab.experiments.moments import Moments
from trimtab.experiments.spec import ExperimentSpec, build_experiment
from trimtab.sessions.explain import suggestion
from trimtab.sessions.load import read_table

COLUMNS = ("arm", "metric", "n", "mean", "variance")
SEGMENT = "segment"
_SHARE_OF_VARIANCE = 2e-3  # A variance this near to p (1 - p) is that of a rate, written with four digits.

Key = tuple[str, str]  # segment, arm


def read_aggregates(path: str, spec: ExperimentSpec) -> tuple[ExperimentSpec, Material]:
    """Read aggregates, and complete the rules by the metrics that they hold.

    Args:
        path: CSV or Parquet file.
        spec: The rules; metrics of the file that they do not name are added.

    Returns:
        The rules with every metric of the file, and the data.

    Raises:
        BadInput: The file cannot be read, lacks a column, or holds impossible numbers.
    """
    cells = _cells(path)
    whole = {arm: metrics for (segment, arm), metrics in cells.items() if not segment}
    if not whole:
        raise BadInput(f"'{path}' has segments only.", remedy="Add a row without a segment for each arm and metric.")
    names = list(dict.fromkeys(name for metrics in whole.values() for name in metrics))
    for arm, metrics in whole.items():
        absent = [name for name in names if name not in metrics]
        if absent:
            raise BadInput(f"'{path}' has no row of metric '{absent[0]}' for arm '{arm}'.")
    spec = _completed(spec, names, whole, path)
    built = [_cell(arm, segment, metrics, spec) for (segment, arm), metrics in cells.items()]
    segments: dict[str, list[Cell]] = {}
    for cell in built:
        attribute, _, value = cell.key.partition("=")
        if cell.key:
            segments.setdefault(attribute, []).append(Cell(cell.arm, value or cell.key, cell.units, cell.moments))
    order = [*spec.arms, spec.control, *whole]
    arms = {cell.arm: cell for cell in built if not cell.key}
    return spec, Material(
        data=path, arms={arm: arms[arm] for arm in dict.fromkeys(order) if arm in arms}, segments=segments
    )


def _cells(path: str) -> dict[Key, dict[str, tuple[int, float, float]]]:
    table = read_table(path)
    for name in COLUMNS:
        if name not in table.columns:
            near = suggestion(name, table.columns)
            raise BadInput(
                f"'{path}' has no column '{name}'{near or '.'}",
                remedy=f"Aggregates have the columns {', '.join(COLUMNS)}.",
            )
    if table.malformed:
        raise BadInput(f"row {table.malformed[0].record + 1} of '{path}' has a wrong number of fields.")
    cells: dict[Key, dict[str, tuple[int, float, float]]] = {}
    for place, row in enumerate(table.data.to_pylist(), start=1):
        where = f"row {place} of '{path}'"
        arm, metric = (str(row[name] if row[name] is not None else "").strip() for name in ("arm", "metric"))
        if not arm or not metric:
            raise BadInput(f"{where} names no {'arm' if not arm else 'metric'}.")
        key = str(row.get(SEGMENT) or "").strip(), arm
        if metric in cells.setdefault(key, {}):
            raise BadInput(f"{where} gives metric '{metric}' of arm '{arm}' a second time.")
        cells[key][metric] = _numbers(row, where)
    return cells


def _numbers(row: Mapping[str, Any], where: str) -> tuple[int, float, float]:
    found = []
    for name in ("n", "mean", "variance"):
        try:
            value = float(row[name])
        except (TypeError, ValueError) as error:
            raise BadInput(f"{where}: '{name}' is {row[name]!r}, which is not a number.") from error
        if not isfinite(value):
            raise BadInput(f"{where}: '{name}' is {row[name]!r}; it must be finite.")
        found.append(value)
    n, mean, variance = found
    if n < 0 or n != int(n):
        raise BadInput(f"{where}: 'n' is {n:g}; it must be a whole number of units, not negative.")
    if variance < 0:
        raise BadInput(f"{where}: 'variance' is {variance:g}; it cannot be negative.")
    return int(n), mean, variance


def _completed(
    spec: ExperimentSpec, names: list[str], whole: Mapping[str, Mapping[str, tuple[int, float, float]]], path: str
) -> ExperimentSpec:
    """The rules with every metric as a rate or a mean: of a ratio or a capped mean, the aggregate is all there is."""
    raw = spec.model_dump(mode="json", exclude_defaults=True)
    unknown = [name for name in spec.metrics if name not in names]
    if unknown:
        near = suggestion(unknown[0], names) or "."
        raise BadInput(f"'{path}' has no metric '{unknown[0]}'{near}", remedy=f"Its metrics are {', '.join(names)}.")
    metrics: dict[str, Any] = {}
    for name in [*spec.metrics, *(name for name in names if name not in spec.metrics)]:
        declared = raw.get("metrics", {}).get(name, {})
        if "covariate" in declared:
            raise BadInput(f"metric '{name}' has a covariate, but aggregates hold no covariances.")
        rates = [_is_rate(*arms[name]) for arms in whole.values()]
        binary = declared.get("kind", "binary") == "binary" and all(rates)
        if declared.get("kind") == "binary" and not binary:
            raise BadInput(f"metric '{name}' of '{path}' is declared binary, but its variance is not that of a rate.")
        kept = {key: declared[key] for key in ("role", "direction", "margin") if key in declared}
        metrics[name] = {**kept, "kind": "binary" if binary else "mean", "column": name}
    return build_experiment({**raw, "metrics": metrics}, where=f"'{path}'")


def _is_rate(n: int, mean: float, variance: float) -> bool:
    if not 0 <= mean <= 1:
        return False
    plain = mean * (1 - mean)
    return min(abs(variance - plain), abs(variance - plain * n / max(n - 1, 1))) <= _SHARE_OF_VARIANCE * plain


def _cell(arm: str, segment: str, metrics: Mapping[str, tuple[int, float, float]], spec: ExperimentSpec) -> Cell:
    moments = {name: _moments(name, *metrics[name]) for name in spec.metrics if name in metrics}
    absent = {name: Moments.empty((name,)) for name in spec.metrics if name not in metrics}
    return Cell(arm, segment, max(n for n, _, _ in metrics.values()), {**moments, **absent})


def _moments(name: str, n: int, mean: float, variance: float) -> Moments:
    return Moments((name,), n, np.array([mean]), np.array([[variance * max(n - 1, 0)]]))
