"""What an engine is asked for and what it gives back: centred moments of groups, never rows.

A cell is one arm within one value of a key (a segment, a day). Cells share no unit, and moments merge exactly, so the
whole experiment is the sum of its cells and one pass over the data serves both.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import numpy as np

from trimtab.experiments.moments import Moments, merge_all
from trimtab.experiments.quantiles import QuantileSummary

MissingRule = Literal["refuse", "zero", "drop"]


def without_password(text: str) -> str:
    """A table's location, or a text that quotes one, as it may be shown in an error or a report.

    A password may hold what a URI's should not (`/`, `#`, `@`), so everything up to the last `@` is taken for it.

    >>> without_password("postgres://reader:secret@db/shop#exposures")
    'postgres://reader:***@db/shop#exposures'
    """
    hidden = re.sub(r"(?<=://)([^:/@?#\s]*):[^\s]*@", r"\1:***@", text)
    return re.sub(r"(?i)([?&](?:password|token|access_token)=)[^&#\s'\"]*", r"\1***", hidden)


@dataclass(frozen=True, slots=True)
class Request:
    """Columns of one metric whose joint moments are wanted.

    Attributes:
        metric: Name of the metric.
        outcomes: Columns of the metric itself.
        covariates: Columns of its covariate.
        binary: The outcome holds 0 and 1 only.
        missing: What a missing value means.
        caps: Upper limit by column.
        sources: Column of the table by column, where it has another name there.
    """

    metric: str
    outcomes: tuple[str, ...]
    covariates: tuple[str, ...] = ()
    binary: bool = False
    missing: MissingRule = "refuse"
    caps: Mapping[str, float] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def source(self, column: str) -> str:
        """Name of a column in the table."""
        return self.sources.get(column, column)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, each once."""
        return tuple(dict.fromkeys((*self.outcomes, *self.covariates)))


@dataclass(frozen=True, slots=True)
class OutcomeJoin:
    """Outcomes that are joined to exposures.

    Attributes:
        location: The table of outcomes, a file, a glob or `URI#TABLE`.
        unit: Column of the unit.
        time: Column of when it happened.
        metric: Column that says what happened.
        value: Column of the amount; 1 a row where None.
        window_hours: Longest time from exposure to outcome.
        columns: Column that is made -> what happened, and whether it counts once (`any`) or adds up (`sum`).
        until: Outcomes are known until then; until the last exposure or outcome where None.
        id: Column of the outcome's id, each of which counts once; rows without an id, and all where None, count each.
    """

    location: str
    unit: str
    time: str
    metric: str
    value: str | None
    window_hours: float
    columns: Mapping[str, tuple[str, Literal["any", "sum"]]]
    until: datetime | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a table mean what, and which rows count.

    Attributes:
        unit: Column of the unit.
        arm: Column of the arm; empty where all units are of one, as in a history.
        time: Column of the exposure's time.
        eligible: Column to the values that take part.
        starts: Rows before it do not count.
        ends: Rows from then on do not count.
        outcomes: Makes the table one of exposures: the first of each unit counts, and outcomes are joined to it.
        strata: Starts of stretches of time that arms are compared within; rows before the first belong to it.
    """

    unit: str
    arm: str
    time: str | None = None
    eligible: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    starts: datetime | None = None
    ends: datetime | None = None
    outcomes: OutcomeJoin | None = None
    strata: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """A column by whose values cells are formed.

    Attributes:
        column: The column.
        day: By the date of its time.
        buckets: By a hash of its values into so many buckets, named from 0 on.
        arm: Only units of this arm.
    """

    column: str
    day: bool = False
    buckets: int = 0
    arm: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """Moments of one arm within one value of a key.

    Attributes:
        arm: The arm.
        key: Value of the key; empty where there is none.
        units: Units in it.
        moments: Moments by metric.
        missing: Units without a value, by column.
        strata: The parts that it consists of, by place of the layout's stratum; empty where there are none.
    """

    arm: str
    key: str
    units: int
    moments: Mapping[str, Moments]
    missing: Mapping[str, int] = field(default_factory=dict)
    strata: Mapping[str, "Cell"] = field(default_factory=dict)

    def stratified(self, metric: str) -> dict[str, Moments]:
        """One metric's moments by stratum."""
        return {name: part.moments[metric] for name, part in self.strata.items()}


@dataclass(frozen=True, slots=True)
class UnitCheck:
    """Whether each unit appears once, in one arm.

    Attributes:
        rows: Rows read, those without a unit or an arm included.
        without_unit: Rows that name no unit.
        without_arm: Rows that name no arm.
        repeated: Units with more than one row.
        mixed: Units in more than one arm.
        examples: Up to five of either.
        checked_share: Share of the units that was looked at; 1 but for very large tables.
        unexposed_outcomes: Outcomes of units without an exposure before them; None where no outcomes were joined.
        late_outcomes: Outcomes after the attribution window.
        open_windows: Units whose attribution window was still open when the data end; they are left out.
    """

    rows: int
    without_unit: int = 0
    without_arm: int = 0
    repeated: int = 0
    mixed: int = 0
    examples: tuple[str, ...] = ()
    checked_share: float = 1.0
    unexposed_outcomes: int | None = None
    late_outcomes: int | None = None
    open_windows: int | None = None


@dataclass(frozen=True, slots=True)
class QuantileRequest:
    """A quantile wanted by arm."""

    metric: str
    column: str
    quantile: float
    alpha: float
    missing: MissingRule = "refuse"


Quantiles = Mapping[str, Mapping[str, QuantileSummary]]  # metric -> arm -> summary


def merged(cells: Iterable[Cell], key: Callable[[Cell], str]) -> dict[str, dict[str, Cell]]:
    """Cells of each arm added up within each value of `key`: value -> arm -> cell."""
    groups: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        groups.setdefault(key(cell), {}).setdefault(cell.arm, []).append(cell)
    return {
        value: {arm: _added(arm, value, members) for arm, members in arms.items()} for value, arms in groups.items()
    }


def stacked(arm: str, key: str, parts: Mapping[str, Cell]) -> Cell:
    """A cell made of its strata."""
    return replace(_added(arm, key, list(parts.values())), strata=parts)


def _added(arm: str, key: str, cells: list[Cell]) -> Cell:
    moments = {metric: merge_all([cell.moments[metric] for cell in cells]) for metric in cells[0].moments}
    missing = {column: sum(cell.missing[column] for cell in cells) for column in cells[0].missing}
    names = dict.fromkeys(name for cell in cells for name in cell.strata)
    strata = {name: _added(arm, name, [cell.strata[name] for cell in cells if name in cell.strata]) for name in names}
    return Cell(arm, key, sum(cell.units for cell in cells), moments, missing, strata)


def marginal(moments: Moments, columns: tuple[str, ...]) -> Moments:
    """Moments of some of the columns."""
    places = [moments.place(column) for column in columns]
    return Moments(columns, moments.n, moments.mean[places], moments.comoment[np.ix_(places, places)])
