"""Experiment tables as Ibis expressions: opened, checked, filtered, and brought to one row per unit."""

import gzip
from datetime import UTC, datetime, timedelta
from glob import iglob
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ibis
from ibis.common.exceptions import OperationNotDefinedError, TableNotFound

from trimtab.errors import BadInput, Unavailable
from trimtab.experiments.cells import Layout, OutcomeJoin, without_password
from trimtab.sessions.explain import suggestion

Table = Any  # ibis has no types that a checker could follow
ARM, TIME, MIXED = "__arm", "__time", "__mixed"
_PARQUET = (".parquet", ".pq")
_DELIMITERS = (",", ";", "\t", "|")


def open_table(location: str) -> Table:
    """A file through DuckDB, or a table of another engine.

    Args:
        location: A CSV (also `.csv.gz`) or Parquet file or glob, or `URI#TABLE`.

    Raises:
        BadInput: It is absent, empty, or cannot be read.
        Unavailable: The engine does not answer.
    """
    if "://" in location:
        return _engine_table(location)
    return _read(ibis.duckdb.connect(), location)


def run(expression: Table, location: str) -> list[dict[str, Any]]:
    """Rows of an aggregate.

    Raises:
        BadInput: The engine refuses the file.
        OperationNotDefinedError: The engine lacks an operation.
    """
    try:
        return expression.to_pyarrow().to_pylist()
    except OperationNotDefinedError:
        raise
    except Exception as error:
        raise unreadable(location, error) from error


def unreadable(location: str, error: Exception) -> BadInput | Unavailable:
    """An engine's failure in our words."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    detail = without_password(lines[0]) if lines else type(error).__name__
    if "://" in location:
        return Unavailable(f"'{without_password(location).split('#', maxsplit=1)[0]}' did not answer: {detail}")
    kind = "Parquet" if location.lower().endswith(_PARQUET) else "CSV"
    return BadInput(
        f"'{location}' cannot be read as {kind}: {detail}",
        remedy="Export it again as CSV (UTF-8, comma-separated, one header line) or Parquet.",
    )


def check_columns(table: Table, names: tuple[str, ...], location: str) -> None:
    """Refuse a table that lacks a column.

    Raises:
        BadInput: A column is absent.
    """
    for name in names:
        if name not in table.columns:
            near = suggestion(name, table.columns) or "."
            raise BadInput(
                f"'{without_password(location)}' has no column '{name}'{near}",
                remedy=f"Its columns are {', '.join(table.columns)}.",
            )


def units_table(table: Table, layout: Layout, location: str) -> Table:
    """The rows that count, with the arm as text and the time in UTC under reserved names.

    Raises:
        BadInput: A column of the layout is absent, or the time is not one.
    """
    outcomes = layout.outcomes
    needed = (
        layout.unit,
        *((layout.arm,) if layout.arm else ()),
        *((layout.time,) if layout.time else ()),
        *layout.eligible,
    )
    check_columns(table, needed, location)
    added = {ARM: table[layout.arm].cast("string") if layout.arm else ibis.literal("")}
    if layout.time:
        added[TIME] = utc(table, layout.time, location)
    table = table.mutate(**added)
    for column, values in layout.eligible.items():
        table = table.filter(table[column].cast("string").isin(values))
    if layout.starts is not None:
        table = table.filter(table[TIME] >= naive(layout.starts))
    if layout.ends is not None:
        table = table.filter(table[TIME] < naive(layout.ends))
    return table if outcomes is None else first_exposures(table, layout)


def first_exposures(table: Table, layout: Layout) -> Table:
    """Each unit's first exposure, and whether it was exposed in other arms too."""
    # Of exposures at one moment the arm decides, so that every run of an engine takes the same one.
    own = ibis.window(group_by=table[layout.unit], order_by=[table[TIME], table[ARM]])
    everywhere = ibis.window(group_by=table[layout.unit])
    table = table.mutate(
        __place=ibis.row_number().over(own),
        **{MIXED: table[ARM].min().over(everywhere) != table[ARM].max().over(everywhere)},
    )
    return table.filter(table["__place"] == 0).drop("__place")


def with_outcomes(units: Table, join: OutcomeJoin, unit: str) -> Table:
    """One row per unit with a column per outcome: what followed the exposure within the window.

    Raises:
        BadInput: The outcomes cannot be read or lack a column.
    """
    happened = matched(units, join, unit)
    inside = happened.filter(
        happened["__after"] & (happened["__happened"] < happened[TIME] + ibis.interval(seconds=window(join)))
    )
    columns = {}
    for name, (what, how) in join.columns.items():
        is_it = inside["__what"] == what
        columns[name] = is_it.max().cast("int64") if how == "any" else inside["__amount"].sum(where=is_it)
    sums = inside.group_by("__unit").aggregate(**columns)
    units = units.drop(*(set(columns) & set(units.columns)))  # An exposure's own column of that name is no outcome.
    joined = units.left_join(sums, units[unit] == sums["__unit"])
    return joined.mutate(**{name: joined[name].fill_null(0) for name in join.columns})


def matched(units: Table, join: OutcomeJoin, unit: str) -> Table:
    """Outcomes beside the exposure of their unit (absent where the unit has none), and whether they came after it."""
    slim = _outcomes(units, join, unit)
    exposed = units.select(__exposed=units[unit], **{TIME: units[TIME]})
    joined = slim.left_join(exposed, slim["__unit"] == exposed["__exposed"])
    return joined.mutate(__after=(joined["__happened"] >= joined[TIME]).fill_null(False))


def observed_until(units: Table, join: OutcomeJoin, unit: str) -> datetime | None:
    """The time until which outcomes are known, in UTC without a zone: the declared one, or the last one in the data.

    None where the data hold no time.
    """
    if join.until is not None:
        return naive(join.until)
    happened = _outcomes(units, join, unit)
    last = [
        run(happened.aggregate(last=happened["__happened"].max()), join.location)[0]["last"],
        run(units.aggregate(last=units[TIME].max()), join.location)[0]["last"],
    ]
    return max((time for time in last if time is not None), default=None)


def settled(units: Table, join: OutcomeJoin, until: datetime) -> Table:
    """Whether a unit's attribution window was over by then; one without a time counts as before."""
    return (units[TIME] <= until - timedelta(seconds=window(join))).fill_null(True)


def _outcomes(units: Table, join: OutcomeJoin, unit: str) -> Table:
    """Unit, time, kind and amount of every outcome under reserved names."""
    outcomes = _beside(units, join)
    check_columns(
        outcomes,
        (join.unit, join.time, join.metric, *(name for name in (join.value, join.id) if name)),
        join.location,
    )
    amount = outcomes[join.value].cast("float64") if join.value else ibis.literal(1.0)
    named = {
        "__unit": outcomes[join.unit].cast(units[unit].type()),
        "__happened": utc(outcomes, join.time, join.location),
        "__what": outcomes[join.metric].cast("string"),
        "__amount": amount,
    }
    if join.id is None:
        return outcomes.select(**named)
    happened = outcomes.select(__id=outcomes[join.id], **named)
    own = ibis.window(group_by=happened["__id"], order_by=happened["__happened"])
    placed = happened.mutate(__place=ibis.row_number().over(own))
    return placed.filter((placed["__place"] == 0) | placed["__id"].isnull()).drop("__id", "__place")


def window(join: OutcomeJoin) -> int:
    """The attribution window in seconds."""
    return round(timedelta(hours=join.window_hours).total_seconds())


def utc(table: Table, column: str, location: str) -> Table:
    """A column of times in UTC, without a zone.

    Raises:
        BadInput: The column holds no times.
    """
    kind = table[column].type()
    if kind.is_unknown() and "TIMESTAMPTZ" in str(kind):  # Nanoseconds with a zone, as pandas writes them to Parquet.
        return table[column].cast("timestamp('UTC')").epoch_seconds().as_timestamp("s")
    if kind.is_timestamp() and kind.timezone is not None:
        return table[column].epoch_seconds().as_timestamp("s")  # A cast would keep the wall clock and drop the zone.
    if kind.is_timestamp() or kind.is_date():
        return table[column].cast("timestamp")
    shown = example(table, table[column], location)
    raise BadInput(
        f"column '{column}' of '{without_password(location)}' does not hold times{shown}.",
        remedy="Write times as 2026-11-01T12:00:00Z.",
    )


def example(table: Table, rows: Table, location: str, *, where: Table = None) -> str:
    """`, but e.g. 'n/a'`, for a message."""
    found = table.filter(rows.notnull() if where is None else where).select(value=rows).limit(1)
    values = run(found, location)
    return f", but e.g. {values[0]['value']!r}" if values else ""


def naive(moment: datetime) -> datetime:
    """An aware time as UTC without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _beside(units: Table, join: OutcomeJoin) -> Table:
    """The outcomes, read by the engine that holds the exposures."""
    if "://" in join.location:
        return open_table(join.location)
    return _read(units.get_backend(), join.location)


def _read(connection: Any, location: str) -> Table:
    """A file or glob by an engine that reads files; the files of a glob may differ in their columns."""
    if "*" in location:
        _check_glob(location)
    else:
        _check_file(Path(location))
    try:
        if location.lower().endswith(_PARQUET) or _starts_parquet(location):
            return connection.read_parquet(location, **({"union_by_name": True} if "*" in location else {}))
        return _read_csv(connection, location)
    except Exception as error:
        raise unreadable(location, error) from error


def _read_csv(connection: Any, location: str) -> Table:
    """A CSV with a header, delimited as its first line is.

    The whole file decides a column's type, so that a late "n/a" does not fail half-way. The delimiter is not left to
    the engine: it would rather skip lines of unequal length than refuse them.
    """
    options = {} if "*" in location else {"delim": _delimiter(Path(location)), "quote": '"'}
    return connection.read_csv(location, sample_size=-1, header=True, skip=0, null_padding=False, **options)


def _delimiter(path: Path) -> str:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        first = file.readline(1 << 20).decode("utf-8", errors="replace")
    return max(_DELIMITERS, key=first.count)


def _engine_table(location: str) -> Table:
    uri, _, name = location.partition("#")
    shown, _, _ = without_password(location).partition("#")
    try:
        _ = urlsplit(uri).port
    except ValueError:
        # Without the cause: its words are a part of the password.
        raise BadInput(
            f"'{shown}' is not a URI.", remedy="Write '/', '#' and '?' of a password as %2F, %23 and %3F."
        ) from None
    if not name:
        raise BadInput(f"'{shown}' names no table.", remedy="Write URI#TABLE, e.g. postgres://host/shop#exposures.")
    try:
        engine = ibis.connect(uri)
    except Exception as error:
        raise unreadable(location, error) from error
    try:
        return engine.table(name)
    except TableNotFound as error:
        engine.disconnect()
        raise BadInput(
            f"'{shown}' has no table '{name}'.", remedy="Check the name, with its schema if it has one."
        ) from error
    except Exception as error:
        engine.disconnect()
        raise unreadable(location, error) from error


def _starts_parquet(location: str) -> bool:
    path = Path(location)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _check_glob(pattern: str) -> None:
    if next(iglob(pattern, recursive=True), None) is None:  # noqa: PTH207 - Path.glob takes no absolute pattern.
        raise BadInput(f"no file matches '{pattern}'.", remedy="Check the pattern; '*' stands for any part of a name.")


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise BadInput(f"'{path}' is a folder, not a data file.", remedy="Give one CSV or Parquet file, or a glob.")
    if not path.is_file():
        raise BadInput(f"there is no file '{path}'.", remedy="Check the path.")
    if path.stat().st_size == 0:
        raise BadInput(f"'{path}' is empty.", remedy="Export it again; the first line must name the columns.")
