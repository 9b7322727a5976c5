"""The sums behind centred moments, as Ibis expressions, and their way back."""

from collections.abc import Sequence
from itertools import combinations_with_replacement
from math import isfinite
from typing import Any

import ibis
import numpy as np
from ibis.expr import operations

from trimtab.experiments.cells import MissingRule, Request
from trimtab.experiments.moments import Moments

Expression = Any  # ibis has no types that a checker could follow
Sums = dict[str, Any]

# Where the squared deviations fall below this part of the squared mean, plain sums may have lost digits that matter.
_CANCELLED = 1e-4


class WrongValue(Exception):
    """A column holds what its metric may not have."""

    def __init__(self, column: str, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.column, self.problem, self.remedy = column, problem, remedy


def value_of(table: Expression, column: str, missing: MissingRule, *, cap: float | None = None) -> Expression:
    """A column as floating-point numbers, with missing values and large ones treated as the metric says."""
    value = _without_nan(table[column]).cast("float64") if missing != "refuse" else table[column].cast("float64")
    if missing == "zero":
        value = value.fill_null(0.0)
    return value if cap is None else ibis.ifelse(value > cap, cap, value)


def aggregates(table: Expression, requests: Sequence[Request]) -> dict[str, Expression]:
    """Counts, sums, and sums of products of every request, of the plain values.

    This is all that most data need, and as little as an engine can do. `incomplete` tells where it was not enough.
    """
    found: dict[str, Expression] = {"units": table.count()}
    for request in requests:
        values = _values(table, request, treated=False)
        found[_name(request, "n")] = table.count()
        for column in request.columns:
            found[_name(request, "known", column)] = table[request.source(column)].count()
        found |= _products(request, values, None)
        if request.binary and not _whole(table[request.source(request.outcomes[0])]):
            outcome = values[request.outcomes[0]]
            found[_name(request, "least")], found[_name(request, "most")] = outcome.min(), outcome.max()
    return found


def treated_aggregates(table: Expression, requests: Sequence[Request]) -> dict[str, Expression]:
    """The same with missing values treated, around the columns of `centres`, which the table must hold."""
    found: dict[str, Expression] = {"units": table.count()}
    for request in requests:
        values = _values(table, request, treated=True)
        kept = _kept(request, values)
        found[_name(request, "n")] = table.count() if kept is None else kept.sum()
        for column in request.columns:
            found[_name(request, "known", column)] = _without_nan(table[request.source(column)]).count()
            centre = table[_name(request, "centre", column)]
            found[_name(request, "centre", column)] = centre.max()
            values[column] = values[column] - centre
        found |= _products(request, values, kept)
    return found


def centres(table: Expression, requests: Sequence[Request]) -> dict[str, Expression]:
    """Mean of every column of the requests, under the names that `treated_aggregates` looks for."""
    found = {}
    for request in requests:
        values = _values(table, request, treated=True)
        kept = _kept(request, values)
        for column in request.columns:
            found[_name(request, "centre", column)] = values[column].mean(where=kept)
    return found


def incomplete(request: Request, sums: Sums) -> bool:
    """Whether plain sums are not enough: values are missing that may be, or digits of a variance may be lost."""
    forgiving = request.columns if request.missing != "refuse" else request.covariates
    if any(sums[_name(request, "known", column)] < sums["units"] for column in forgiving):
        return True
    if forgiving and not all(isfinite(sums[_name(request, "sum", column)] or 0.0) for column in forgiving):
        return True
    return not request.binary and any(_cancelled(request, column, sums) for column in request.columns)


def moments_of(request: Request, sums: Sums, checked: Sums) -> Moments:
    """Centred moments from sums.

    Args:
        request: What was asked for.
        sums: What was summed, plain or treated.
        checked: The plain sums, whose counts and extremes are checked.

    Raises:
        WrongValue: Values are missing or infinite, or a binary column holds other values than 0 and 1.
    """
    _check_known(request, checked)
    n = int(sums[_name(request, "n")] or 0)
    if n == 0:
        return Moments.empty(request.columns)
    around = np.array([sums.get(_name(request, "centre", column)) or 0.0 for column in request.columns])
    totals = np.array([float(sums[_name(request, "sum", column)]) for column in request.columns])
    products = np.zeros((len(totals), len(totals)))
    for (i, left), (j, right) in combinations_with_replacement(enumerate(request.columns), 2):
        products[i, j] = products[j, i] = float(sums[_name(request, "product", left, right)])
    for column, total, square in zip(request.columns, totals, np.diag(products), strict=True):
        if not (np.isfinite(total) and np.isfinite(square)):
            raise WrongValue(column, "has infinite or not-a-number values", "Mend or remove those rows.")
    comoment = products - np.outer(totals, totals) / n
    np.fill_diagonal(comoment, np.maximum(np.diag(comoment), 0.0))  # Rounding of a column that does not vary.
    if request.binary:
        outcome = request.outcomes[0]
        total, squares = checked[_name(request, "sum", outcome)], checked[_name(request, "product", outcome, outcome)]
        _check_binary(request, checked, total or 0.0, squares or 0.0)
    return Moments(request.columns, n, around + totals / n, comoment)


def missing_of(request: Request, sums: Sums) -> dict[str, int]:
    """Units without a value, by column."""
    return {column: int(sums["units"]) - int(sums[_name(request, "known", column)]) for column in request.columns}


def _products(request: Request, values: dict[str, Expression], kept: Expression | None) -> dict[str, Expression]:
    found = {_name(request, "sum", column): values[column].sum(where=kept) for column in request.columns}
    for left, right in combinations_with_replacement(request.columns, 2):
        found[_name(request, "product", left, right)] = (values[left] * values[right]).sum(where=kept)
    return found


def _values(table: Expression, request: Request, *, treated: bool) -> dict[str, Expression]:
    """Covariates of a unit without history count as 0: any fixed function of the past leaves the effect unbiased."""
    return {
        column: value_of(
            table,
            request.source(column),
            "refuse" if not treated else request.missing if column in request.outcomes else "zero",
            cap=request.caps.get(column),
        )
        for column in request.columns
    }


def _cancelled(request: Request, column: str, sums: Sums) -> bool:
    n, total = sums[_name(request, "n")], sums[_name(request, "sum", column)]
    if n < 2 or total is None or not isfinite(total):
        return False
    level = total * total / n
    return bool(level > 0 and not sums[_name(request, "product", column, column)] - level > _CANCELLED * level)


def _whole(column: Expression) -> bool:
    return bool(column.type().is_integer() or column.type().is_boolean())


def _without_nan(column: Expression) -> Expression:
    """Not-a-number is how some files write a missing value; an engine without a test for it (SQLite) has none."""
    if not column.type().is_floating() or not column.get_backend().has_operation(operations.IsNan):
        return column
    return ibis.ifelse(column.isnan(), ibis.null(column.type()), column)


def _kept(request: Request, values: dict[str, Expression]) -> Expression | None:
    """Which units enter the metric; None for all."""
    if request.missing != "drop":
        return None
    kept = values[request.outcomes[0]].notnull()
    for column in request.outcomes[1:]:
        kept = kept & values[column].notnull()
    return kept


def _check_known(request: Request, sums: Sums) -> None:
    if request.missing != "refuse":
        return
    for column in request.outcomes:
        missing = int(sums["units"]) - int(sums[_name(request, "known", column)])
        if missing == int(sums["units"]):
            raise WrongValue(column, "has no value at all in some group", "Write 0 where nothing happened.")
        if missing:
            raise WrongValue(
                column,
                f"has {missing:,} missing values in one group",
                "Write 0 where nothing happened, or say `missing: zero` or `missing: drop` for the metric in the spec.",
            )


def _check_binary(request: Request, sums: Sums, total: float, squares: float) -> None:
    """0 and 1 are the only whole numbers, and the only ones from 0 to 1, that equal their squares.

    So equal sums of values and squares tell, for a column of whole numbers or one within those limits.
    """
    least, most = sums.get(_name(request, "least")), sums.get(_name(request, "most"))
    outside = least is not None and most is not None and (least < 0 or most > 1)
    if outside or abs(total - squares) > 1e-9 * max(total, 1.0):
        raise WrongValue(
            request.outcomes[0],
            "holds other values than 0 and 1, but a binary metric has 0 and 1 only",
            "Declare it as a mean, or give a column of 0 and 1.",
        )


def _name(request: Request, *parts: str) -> str:
    return "|".join((request.metric, *parts))
