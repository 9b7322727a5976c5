"""Experiment tables through Ibis: files by DuckDB, and any other engine by its URI.

Everything is an Ibis expression that ends in an aggregate, so rows stay where they are and only counts, centred moments
and thresholds come back. Moments are taken in one pass of plain sums, which is the fastest thing an engine can do. Sums
of squares lose the variance where the mean is far from zero; the result shows where that may have happened, and only
those metrics are summed again around each group's own means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from math import ceil, isfinite, sqrt
from weakref import finalize

import ibis
from ibis.common.exceptions import OperationNotDefinedError

from trimtab.adapters.ibis_sums import (
    Sums,
    WrongValue,
    aggregates,
    centres,
    incomplete,
    missing_of,
    moments_of,
    treated_aggregates,
    value_of,
)
from trimtab.adapters.ibis_tables import (
    ARM,
    MIXED,
    TIME,
    Table,
    check_columns,
    example,
    matched,
    naive,
    observed_until,
    open_table,
    run,
    settled,
    units_table,
    window,
    with_outcomes,
)
from trimtab.errors import BadInput, TrimtabError
from trimtab.experiments.cells import Cell, Key, Layout, QuantileRequest, Request, UnitCheck, stacked, without_password
from trimtab.experiments.moments import Moments
from trimtab.experiments.quantiles import QuantileSummary, order_statistics

# Up to so many rows every unit is checked for repeats; of more, a hashed sample of about so many units.
_EXACT_ROWS, _SAMPLED_UNITS = 1_000_000, 100_000
KEY, STRATUM = "__key", "__stratum"
_MISSING = "(missing)"

Group = tuple[str, str, str]  # arm, key, stratum


class IbisWarehouse:
    """Satisfies `trimtab.ports.Warehouse`."""

    def open(self, location: str, layout: Layout) -> "IbisMetricTable":
        """The table at a file or at `URI#TABLE`.

        Args:
            location: A CSV (also `.csv.gz`) or Parquet file, or `URI#TABLE`, e.g. `postgres://host/db#exposures`.
            layout: Which columns mean what, and which rows count.

        Raises:
            BadInput: It cannot be read, or lacks a column of the layout.
        """
        table = open_table(location)
        disconnect = table.get_backend().disconnect
        try:
            opened = IbisMetricTable(table, without_password(location), layout)
        except TrimtabError:
            disconnect()
            raise
        finalize(opened, disconnect)
        return opened


class IbisMetricTable:
    """Satisfies `trimtab.ports.MetricTable`."""

    def __init__(self, table: Table, location: str, layout: Layout) -> None:
        self._raw = table
        self._location = location
        self._layout = layout
        self._all = units_table(table, layout, location)

    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._raw.columns)

    @cached_property
    def _units(self) -> Table:
        """One row per unit that counts, with its outcomes."""
        layout, table = self._layout, self._all
        table = table.filter(table[ARM].notnull(), table[layout.unit].notnull())
        if layout.outcomes is None:
            return table
        table = table.filter(~table[MIXED])
        if self._until is not None:  # Whose time is not over may convert yet.
            table = table.filter(settled(table, layout.outcomes, self._until))
        return with_outcomes(table, layout.outcomes, layout.unit)

    @cached_property
    def _until(self) -> datetime | None:
        """The time until which outcomes are known."""
        assert self._layout.outcomes is not None
        return observed_until(self._all, self._layout.outcomes, self._layout.unit)

    def units(self) -> UnitCheck:
        """Whether each unit appears once, in one arm; of very many units a hashed sample is looked at."""
        layout, table = self._layout, self._all
        unit = table[layout.unit]
        empty = run(
            table.aggregate(
                rows=table.count(), unit=unit.isnull().sum(), arm=(table[ARM].isnull() & unit.notnull()).sum()
            ),
            self._location,
        )[0]
        rows = int(empty["rows"])
        check = UnitCheck(rows, int(empty["unit"] or 0), int(empty["arm"] or 0))
        if layout.outcomes is not None:
            return self._joined_check(check, layout)
        every = 1 if rows <= _EXACT_ROWS else ceil(rows / _SAMPLED_UNITS)
        known = table.filter(unit.notnull(), table[ARM].notnull())
        if every > 1:  # All rows of a unit share its hash, so repeats stay together.
            known = known.filter(unit.hash() % every == 0)
        groups = known.group_by(unit=known[layout.unit]).aggregate(
            rows=known.count(), low=known[ARM].min(), high=known[ARM].max()
        )
        repeated = groups.filter(groups["rows"] > 1)
        mixed = repeated["low"] != repeated["high"]
        found = run(repeated.aggregate(repeated=repeated.count(), mixed=mixed.sum()), self._location)[0]
        examples: tuple[str, ...] = ()
        if found["repeated"]:
            shown = repeated.order_by(mixed.desc(), repeated["unit"]).limit(5).select(repeated["unit"])
            examples = tuple(str(row["unit"]) for row in run(shown, self._location))
        return replace(
            check,
            repeated=int(found["repeated"]) * every,
            mixed=int(found["mixed"] or 0) * every,
            examples=examples,
            checked_share=1 / every,
        )

    def _joined_check(self, check: UnitCheck, layout: Layout) -> UnitCheck:
        """The check of exposures, where repeats are usual, and of the outcomes that count for nobody."""
        assert layout.outcomes is not None
        table = self._all
        mixed = table.filter(table[MIXED])
        examples = run(mixed.order_by(layout.unit).limit(5).select(unit=mixed[layout.unit]), self._location)
        happened = matched(table, layout.outcomes, layout.unit)
        late = happened["__happened"] >= happened[TIME] + ibis.interval(seconds=window(layout.outcomes))
        wasted = run(
            happened.aggregate(
                unexposed=(~happened["__after"]).sum(), late=(happened["__after"] & late.fill_null(False)).sum()
            ),
            self._location,
        )[0]
        single = table.filter(~table[MIXED])
        waiting = single.limit(0)
        if self._until is not None:
            waiting = single.filter(~settled(single, layout.outcomes, self._until))
        return replace(
            check,
            mixed=int(run(mixed.aggregate(n=mixed.count()), self._location)[0]["n"]),
            open_windows=0
            if waiting is None
            else int(run(waiting.aggregate(n=waiting.count()), self._location)[0]["n"]),
            examples=tuple(str(row["unit"]) for row in examples),
            unexposed_outcomes=int(wasted["unexposed"] or 0),
            late_outcomes=int(wasted["late"] or 0),
        )

    def cells(self, requests: Sequence[Request], *, by: Key | None = None) -> list[Cell]:
        """Moments of the requested columns by arm, and by the values of a key.

        Args:
            requests: Columns by metric.
            by: Key of the cells.

        Raises:
            BadInput: A column is absent or not numeric, holds values that its metric may not have, or the key asks for
                buckets and the engine has no hash.
        """
        table = self._keyed(by)
        for request in requests:
            self._check(table, request)
        plain = self._sums(table, requests, treated=False)
        again = [request for request in requests if any(incomplete(request, sums) for sums in plain.values())]
        treated = self._sums(table, again, treated=True) if again else {}
        groups: dict[tuple[str, str], dict[str, Cell]] = {}
        for group, sums in sorted(plain.items()):
            cell = self._cell(group[:2], sums, requests, {request.metric: treated[group] for request in again})
            groups.setdefault(group[:2], {})[group[2]] = cell
        if not self._layout.strata:
            return [cell for parts in groups.values() for cell in parts.values()]
        return [stacked(*key, parts) for key, parts in groups.items()]

    def _cell(
        self, key: tuple[str, str], plain: Sums, requests: Sequence[Request], treated: Mapping[str, Sums]
    ) -> Cell:
        moments: dict[str, Moments] = {}
        missing: dict[str, int] = {}
        for request in requests:
            sums = treated.get(request.metric, plain)
            try:
                moments[request.metric] = moments_of(request, sums, plain)
            except WrongValue as wrong:
                raise BadInput(
                    f"column '{wrong.column}' of '{self._location}' {wrong.problem} (metric '{request.metric}').",
                    remedy=wrong.remedy,
                ) from wrong
            missing |= missing_of(request, sums)
        return Cell(*key, int(plain["units"]), moments, missing)

    def limits(self, column: str, quantiles: Sequence[float], *, exact: bool = True) -> tuple[float, ...]:
        """Quantiles of a column over all arms together, to cap it at.

        Args:
            column: The column.
            quantiles: In (0, 1].
            exact: An exact quantile holds the whole column in the engine's memory; a sketch is enough for a rough cap.

        Raises:
            BadInput: The column is absent, or has no values.
        """
        table = self._units
        check_columns(table, (column,), self._location)
        values = value_of(table, column, "drop")
        take = values.quantile if exact else values.approx_quantile
        row = run(table.aggregate(**{f"q{i}": take(q) for i, q in enumerate(quantiles)}), self._location)[0]
        found = tuple(row[f"q{i}"] for i in range(len(quantiles)))
        if any(value is None or not isfinite(value) for value in found):
            raise BadInput(f"column '{column}' of '{self._location}' has no quantiles to be capped at.")
        return tuple(float(value) for value in found)

    def quantiles(self, requests: Sequence[QuantileRequest]) -> dict[str, dict[str, QuantileSummary]]:
        """Quantiles by arm, with the order statistics around them.

        Raises:
            BadInput: A column is absent or not numeric, has missing values, or too few units lie beyond the quantile.
        """
        found: dict[str, dict[str, QuantileSummary]] = {}
        for request in requests:
            cells = self.cells([Request(request.metric, (request.column,), missing=request.missing)])
            found[request.metric] = {
                cell.arm: self._quantile(request, cell.arm, cell.moments[request.metric].n) for cell in cells
            }
        return found

    def _quantile(self, request: QuantileRequest, arm: str, n: int) -> QuantileSummary:
        ranks = order_statistics(n, request.quantile, alpha=request.alpha)
        table = self._units.filter(self._units[ARM] == arm)
        values = value_of(table, request.column, request.missing)
        picks = {f"r{i}": values.quantile(rank / max(n - 1, 1)) for i, rank in enumerate(ranks)}
        row = run(table.aggregate(**picks), self._location)[0]
        low, value, high = (float(row[f"r{i}"]) for i in range(3))
        spread = sqrt(n * request.quantile * (1 - request.quantile))
        return QuantileSummary(n, value, low, high, (ranks[2] - ranks[0]) / (2 * spread))

    def _keyed(self, by: Key | None) -> Table:
        table = self._units
        if self._layout.strata:
            later = [(table[TIME] >= naive(start)).cast("int64") for start in self._layout.strata[1:]]
            table = table.mutate(**{STRATUM: sum(later, start=ibis.literal(0))})
        if by is None:
            return table
        if by.arm is not None:
            table = table.filter(table[ARM] == by.arm)
        if by.buckets:
            place = table[by.column].hash() % by.buckets  # Negative for negative hashes, in some engines.
            return table.mutate(**{KEY: ((place + by.buckets) % by.buckets).cast("string")})
        if by.day:
            return table.mutate(**{KEY: table[TIME].date().cast("string")})
        check_columns(table, (by.column,), self._location)
        return table.mutate(**{KEY: table[by.column].cast("string").fill_null(_MISSING)})

    def _sums(self, table: Table, requests: Sequence[Request], *, treated: bool) -> dict[Group, Sums]:
        keys = [name for name in (ARM, KEY, STRATUM) if name in table.columns]
        if treated:
            means = table.group_by(keys).aggregate(**centres(table, requests))
            table = table.inner_join(means, keys)
        wanted = treated_aggregates(table, requests) if treated else aggregates(table, requests)
        try:
            rows = run(table.group_by(keys).aggregate(**wanted), self._location)
        except OperationNotDefinedError as error:
            raise BadInput(f"the engine of '{self._location}' cannot do what is asked: {error}.") from error
        return {(row[ARM], row.get(KEY, ""), str(row.get(STRATUM, ""))): row for row in rows}

    def _check(self, table: Table, request: Request) -> None:
        """Refuse columns that are absent or hold no numbers."""
        columns = tuple(request.source(column) for column in request.columns)
        check_columns(table, columns, self._location)
        for column in columns:
            values = table[column]
            if values.type().is_numeric() or values.type().is_boolean():
                continue
            wrong = values.cast("string").try_cast("float64").isnull() & values.notnull()
            shown = example(table, values, self._location, where=wrong)
            problem = f"holds text{shown}" if shown else "has no value at all"
            raise BadInput(
                f"column '{column}' of '{self._location}' {problem} (metric '{request.metric}').",
                remedy="A metric needs numbers; write 0 where nothing happened.",
            )
