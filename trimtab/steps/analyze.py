"""Reads an experiment's table, or its aggregates, and says ship, roll back or hold, with the reasons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trimtab.errors import BadInput
from trimtab.experiments.analysis.aggregates import read_aggregates
from trimtab.experiments.analysis.analyse import Declared, analyse
from trimtab.experiments.analysis.calibrate import why_not
from trimtab.experiments.analysis.evidence import Material, whole
from trimtab.experiments.analysis.result import Analysis
from trimtab.experiments.calibration import BUCKETS
from trimtab.experiments.cells import Cell, Key, Layout, OutcomeJoin, QuantileRequest, Request, without_password
from trimtab.experiments.declaration import Flags, declare, locked
from trimtab.experiments.spec import ExperimentSpec, changes, load_experiment, spec_hash
from trimtab.ports import MetricTable, Ports

Result = Analysis
OUTLIERS = 0.99  # The sensitivity table caps the primary metric at this quantile.
_EXACT_UNITS = 1_000_000  # Of more units than these, a sketch of that quantile is enough.
EVENT = "{}?"  # Name of the column that says whether an outcome happened at all.


@dataclass(frozen=True, slots=True)
class Config:
    """What to analyse, and by which rules.

    Attributes:
        data: CSV or Parquet file with one row per unit (or per exposure, where the spec has outcomes), or `URI#TABLE`.
        aggregates: Table with the columns arm, metric, n, mean, variance, instead of `data`.
        spec: Experiment spec; empty where the flags say everything.
        flags: What the command line declares; it adds to the spec and overrides it.
    """

    data: str = ""
    aggregates: str = ""
    spec: str = ""
    flags: Flags = field(default_factory=Flags)


def run(config: Config, ports: Ports) -> Result:
    """Judge an experiment.

    Args:
        config: The configuration.
        ports: The ports.

    Raises:
        BadInput: The data or the rules are wrong; the message says where.
    """
    return judged(config, ports)[1]


def judged(config: Config, ports: Ports) -> tuple[ExperimentSpec, Analysis]:
    """An experiment's analysis with the rules that were applied, completed by what the flags and the data say.

    Args:
        config: The configuration.
        ports: The ports.

    Raises:
        BadInput: The data or the rules are wrong; the message says where.
    """
    if bool(config.data) == bool(config.aggregates):
        raise BadInput("give either a file with one row per unit, or --aggregates.", remedy="Not both, not neither.")
    base = load_experiment(config.spec) if config.spec else None
    name = Path(without_password(config.data or config.aggregates)).name.split(".")[0] or "experiment"
    spec = declare(base, config.flags, name=name)
    folder = Path(config.spec).parent if config.spec else Path()
    if config.aggregates:
        spec, material = read_aggregates(config.aggregates, spec)
    else:
        material = read_material(spec, config.data, ports, folder=folder)
    return spec, analyse(spec, material, declared=_declared(config.spec, base, spec))


def _declared(path: str, base: ExperimentSpec | None, spec: ExperimentSpec) -> Declared:
    """The locked rules beside a spec, or the spec itself where the flags changed it."""
    if base is None:
        return Declared()
    before = locked(path)
    return Declared(spec_hash(before) if before else "", changes(before or base, spec))


def read_material(spec: ExperimentSpec, data: str, ports: Ports, *, folder: Path = Path()) -> Material:
    """Everything that an analysis needs, in as few passes over the data as there are keys.

    Args:
        spec: The rules.
        data: File, glob or `URI#TABLE` of the units or exposures.
        ports: Uses `warehouse` and `progress`.
        folder: Folder that a relative path of the outcomes is meant from.

    Raises:
        BadInput: The data do not fit the rules, or nothing in them counts yet.
    """
    if not spec.metrics:
        raise BadInput("no metric is declared.", remedy="Give --metric NAME=binary:COLUMN, or metrics in the spec.")
    keys = {attribute: Key(attribute) for attribute in spec.segments}
    total = len(keys) + 3 + (spec.time is not None)
    done = 0

    def tick(note: str) -> None:
        nonlocal done
        done += 1
        ports.progress("analyze", done, total, note)

    table = ports.warehouse.open(data, layout(spec, folder))
    units = table.units()
    if not units.rows:
        raise BadInput(
            f"'{without_password(data)}' has no rows that count.",
            remedy="Check the file, and the spec's dates and segments.",
        )
    tick("units")
    caps = _caps(spec, table)
    wanted = requests(spec, caps)
    segments = {}
    for attribute, key in keys.items():
        segments[attribute] = table.cells(wanted, by=key)
        tick(attribute)
    days = table.cells(wanted, by=Key(spec.time, day=True)) if spec.time else []
    if spec.time:
        tick("days")
    cells = next(iter(segments.values()), days) or table.cells(wanted)
    if not cells and units.open_windows:
        raise BadInput(
            f"the attribution window of all {units.open_windows:,} units in '{without_password(data)}' is still open.",
            remedy="Wait, shorten 'window_hours', or say in 'until' how long outcomes were recorded.",
        )
    tick("arms")
    arms = _ordered(spec, whole(cells))
    buckets = _buckets(spec, table, arms, wanted)
    tick("calibration")
    return Material(
        data=without_password(data),
        arms=arms,
        segments=segments,
        days=days,
        quantiles=table.quantiles(_quantiles(spec)),
        capped=_capped(spec, table, caps, units.rows),
        caps=caps,
        units=units,
        buckets=buckets,
    )


def _buckets(
    spec: ExperimentSpec, table: MetricTable, arms: Mapping[str, Cell], wanted: Sequence[Request]
) -> list[Cell]:
    """Control's units by a hash, where that is enough for a calibration and the engine can do it."""
    control = arms.get(spec.control)
    if why_not(spec, control.units if control else 0):
        return []
    primary = [request for request in wanted if request.metric == spec.primary]
    try:
        return table.cells(primary, by=Key(spec.unit, buckets=BUCKETS, arm=spec.control))
    except BadInput:  # The same columns were summed before, so it is the hash that the engine lacks.
        return []


def layout(spec: ExperimentSpec, folder: Path = Path()) -> Layout:
    """Which columns of the table mean what.

    Args:
        spec: The rules.
        folder: Folder that a relative path of the outcomes is meant from.
    """
    outcomes = spec.outcomes
    join = None
    if outcomes is not None:
        location = outcomes.file if "://" in outcomes.file else str(folder / outcomes.file)
        columns: dict[str, tuple[str, Literal["any", "sum"]]] = {}
        for metric in spec.metrics.values():
            for column in metric.outcome_columns:
                how: Literal["any", "sum"] = "any" if metric.kind == "binary" else "sum"
                columns[EVENT.format(column) if how == "any" else column] = (column, how)
        join = OutcomeJoin(
            location=location,
            unit=outcomes.unit,
            time=outcomes.time,
            metric=outcomes.metric,
            value=outcomes.value,
            window_hours=outcomes.window_hours,
            columns=columns,
            until=outcomes.until,
            id=outcomes.id,
        )
    phases = tuple(phase.starts for phase in spec.phases)
    return Layout(spec.unit, spec.arm, spec.time, spec.eligible, spec.starts, spec.ends, join, phases)


def requests(spec: ExperimentSpec, caps: Mapping[str, Mapping[str, float]] | None = None) -> list[Request]:
    """The moments that the metrics need; caps by metric and column."""
    return [
        _request(name, spec, (caps or {}).get(name, {}))
        for name, metric in spec.metrics.items()
        if metric.kind != "quantile"
    ]


def _request(name: str, spec: ExperimentSpec, caps: Mapping[str, float]) -> Request:
    metric = spec.metrics[name]
    binary = metric.kind == "binary"
    made = {column: EVENT.format(column) for column in metric.outcome_columns} if spec.outcomes and binary else {}
    return Request(name, metric.outcome_columns, metric.covariate_columns, binary, metric.missing, caps, made)


def _quantiles(spec: ExperimentSpec) -> list[QuantileRequest]:
    return [
        QuantileRequest(name, metric.column or "", metric.quantile or 0.5, spec.alpha, metric.missing)
        for name, metric in spec.metrics.items()
        if metric.kind == "quantile"
    ]


def _caps(spec: ExperimentSpec, table: MetricTable) -> dict[str, dict[str, float]]:
    """Limits by metric and column; quantiles are those of all arms together."""
    caps: dict[str, dict[str, float]] = {}
    for name, metric in spec.metrics.items():
        for column in metric.outcome_columns[:1]:
            limits = [] if metric.cap is None else list(table.limits(column, [metric.cap]))
            limits += [] if metric.cap_at is None else [metric.cap_at]
            if limits:
                caps[name] = {column: min(limits)}
    return caps


def _capped(
    spec: ExperimentSpec, table: MetricTable, caps: Mapping[str, Mapping[str, float]], units: int
) -> dict[str, Cell]:
    """The primary metric without outliers, where it is a mean or ratio that is not capped already."""
    name = spec.primary
    if name is None or spec.metrics[name].kind not in ("mean", "ratio") or name in caps:
        return {}
    metric = spec.metrics[name]
    column = metric.outcome_columns[0]
    limit = table.limits(column, [OUTLIERS], exact=units <= _EXACT_UNITS)[0]
    return _ordered(spec, whole(table.cells([_request(name, spec, {column: limit})])))


def _ordered(spec: ExperimentSpec, arms: Mapping[str, Cell]) -> dict[str, Cell]:
    """Arms in the order of the spec, control first where it has none."""
    order = [*spec.arms, spec.control, *arms]
    return {arm: arms[arm] for arm in dict.fromkeys(order) if arm in arms}
