"""`FeastFeatureStore`: the `FeatureStore` port over Feast, one Feast project per dataset spec.

The offline history is one Parquet file per snapshot, written once; applying a snapshot points the views at its file.
"""

import atexit
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureService, FeatureStore
from feast.errors import FeastObjectNotFoundException

from feature_repo.definitions import (
    PUSH_SOURCE,
    REQUEST_TIME,
    UNIT_VIEW,
    define,
    model_service,
    service_name,
)
from trimtab.adapters.feast.config import check_engine, repo_config
from trimtab.adapters.feast.engine import BEGINNING
from trimtab.errors import BadInput, NotFound
from trimtab.sessions.history import (
    KNOWN_AT,
    LAST_SESSION,
    NEVER_SEEN,
    SESSION_LENGTH,
    epoch_seconds,
    history_states,
    kpi_state,
    unit_state,
)
from trimtab.sessions.inputs import history_features
from trimtab.sessions.spec import DatasetSpec, dump_spec

_ROW: Final = "row_number"


@atexit.register
def _release_duckdb() -> None:
    """Close the connection that Ibis keeps for Feast: left to the interpreter's end, DuckDB reports it as leaked."""
    ibis = sys.modules.get("ibis")
    if ibis is None:  # nothing was computed offline, as in a server
        return
    backend = ibis.options.default_backend
    if backend is not None:
        backend.disconnect()
        ibis.options.default_backend = None


def _now() -> datetime:
    return datetime.now(UTC)


class FeastFeatureStore:
    """A unit's history in Feast; satisfies `trimtab.ports.FeatureStore`.

    Keep one for the life of a process: it holds one Feast store per spec, with its registry and services in memory.

    Args:
        folder: Where the offline history lies.
        registry: Feast registry: a file path, an object store URI, or an SQLAlchemy URL.
        online_store: `sqlite:///PATH` or `redis://HOST:PORT`.
        batch_engine: Feast's settings of the engine that materialises; the Arrow engine where absent.
        now: The clock.
    """

    def __init__(
        self,
        folder: Path,
        *,
        registry: str,
        online_store: str,
        batch_engine: Mapping[str, Any] | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._folder = folder
        self._registry = registry
        self._online_store = online_store
        self._batch_engine = batch_engine
        self._now = now
        self._stores: dict[str, FeatureStore] = {}
        self._services: dict[tuple[str, int | None], FeatureService] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def prepare(self, snapshot_id: str, frame: pd.DataFrame, spec: DatasetSpec) -> None:
        """Write the offline history of a snapshot and register entity, views and the service `<spec>`.

        Raises:
            BadInput: The spec has no unit or no timestamp.
        """
        path = self._folder / spec.name / f"history-{snapshot_id}.parquet"
        definitions = define(spec, str(path))
        _write(path.with_name("spec.yaml"), dump_spec(spec).encode())  # with the file, all that `feature_repo` needs
        _write(path, _parquet(history_states(frame, spec)))
        service = model_service(definitions, spec)
        self._apply(spec, [*definitions.objects(), service])

    def add_service(self, spec: DatasetSpec, version: int) -> str:
        """Register the FeatureService of a model version, with the features of this spec; returns its name.

        Raises:
            NotFound: No snapshot of the spec was prepared.
        """
        service = model_service(define(spec, self._history_path(spec)), spec, version)
        self._apply(spec, [service])
        return str(service.name)

    def training_frame(self, frame: pd.DataFrame, spec: DatasetSpec) -> pd.DataFrame:
        """`frame` with the history features as of just before each session, in the same row order.

        Raises:
            NotFound: No snapshot of the spec was prepared.
        """
        features = history_features(spec)
        if not features:
            return frame
        self._history_path(spec)
        joined = self._point_in_time(frame[str(spec.unit)], frame[str(spec.timestamp)], spec)
        joined.index = frame.index
        return pd.concat([frame.drop(columns=list(features), errors="ignore"), joined], axis=1)

    def materialize(self, spec: DatasetSpec) -> int:
        """Make the online store hold each unit's latest state, and nothing older; returns the number of units.

        A view's content is swapped at once: whoever reads meanwhile, or after a crash, sees the old content whole.
        States that were pushed and are newer than the snapshot stay. Another batch engine than the Arrow engine only
        adds: what is newer than the snapshot stays too, and units that are not in it.

        Raises:
            BadInput: The batch engine cannot be used.
            NotFound: No snapshot of the spec was prepared.
        """
        check_engine(self._feast(spec).config)
        path = self._history_path(spec)
        known = pq.read_table(path, columns=[str(spec.unit), KNOWN_AT])
        until = max(pa.compute.max(known.column(KNOWN_AT)).as_py() or BEGINNING, BEGINNING)
        with contextlib.redirect_stdout(io.StringIO()):  # Feast prints what it does
            self._feast(spec).materialize(BEGINNING, until)
        return len(known.column(str(spec.unit)).unique())

    def online(
        self,
        units: Sequence[str],
        spec: DatasetSpec,
        *,
        at: Sequence[datetime] | None = None,
        version: int | None = None,
    ) -> pd.DataFrame:
        """History features of units, one row each in order; a unit never seen has 0 earlier sessions, else missing.

        Args:
            units: Pseudonymous ids.
            spec: The dataset spec.
            at: When each request happens; now where absent.
            version: Read by the service of this model version; without one, by that of the model being trained.

        Raises:
            NotFound: No snapshot of the spec was prepared, or the version has no service.
        """
        features = history_features(spec)
        if not units or not features:
            return _answer({}, len(units), features)
        service, entities = self._service(spec, version), self._entities(units, spec, at)
        return _answer(self._feast(spec).get_online_features(service, entities).to_dict(), len(units), features)

    async def online_async(
        self,
        units: Sequence[str],
        spec: DatasetSpec,
        *,
        at: Sequence[datetime] | None = None,
        version: int | None = None,
    ) -> pd.DataFrame:
        """As `online`, without holding up the event loop."""
        features = history_features(spec)
        if not units or not features:
            return _answer({}, len(units), features)
        service, entities = self._service(spec, version), self._entities(units, spec, at)
        answer = await self._feast(spec).get_online_features_async(service, entities)
        return _answer(answer.to_dict(), len(units), features)

    def push(self, frame: pd.DataFrame, spec: DatasetSpec) -> None:
        """Update the online history of units whose session just ended.

        Args:
            frame: Columns: the unit, the timestamp at which its last session began, and the unit's state after it
                (`unit_state(spec)` without the last entry; `kpi_state(spec)` where KPIs are updated too). An older
                state than the stored one changes nothing.
            spec: The dataset spec.

        Raises:
            BadInput: A column of the unit's state is absent.
        """
        unit, timestamp = str(spec.unit), str(spec.timestamp)
        needed = [name for name in (unit, timestamp, *unit_state(spec)) if name != LAST_SESSION]
        if absent := [name for name in needed if name not in frame]:
            raise BadInput(f"a push of '{spec.name}' lacks the columns {', '.join(absent)}.")
        began = pd.to_datetime(frame[timestamp], utc=True)
        rows = frame.copy()
        rows[unit] = frame[unit].astype(str)
        rows[KNOWN_AT] = began + SESSION_LENGTH
        rows[LAST_SESSION] = epoch_seconds(began)
        store = self._feast(spec)
        kpis = kpi_state(spec)
        if all(name in rows for name in kpis) and rows[list(kpis)].notna().any(axis=None):
            store.push(PUSH_SOURCE, rows[[unit, KNOWN_AT, *unit_state(spec), *kpis]])
        else:
            store.write_to_online_store(UNIT_VIEW, rows[[unit, KNOWN_AT, *unit_state(spec)]])

    async def close(self) -> None:
        """Let go of the connections of the calling thread and event loop; the next call opens them again."""
        for store in self._stores.values():
            await store.close()

    def _feast(self, spec: DatasetSpec) -> FeatureStore:
        """The Feast store of a spec, made once."""
        if spec.name not in self._stores:
            config = repo_config(
                spec.name,
                self._folder,
                registry=self._registry,
                online_store=self._online_store,
                batch_engine=self._batch_engine,
            )
            self._stores[spec.name] = FeatureStore(config=config)
        return self._stores[spec.name]

    def _apply(self, spec: DatasetSpec, objects: list[Any]) -> None:
        check_engine(self._feast(spec).config)
        with warnings.catch_warnings():
            # Feast calls every on-demand view experimental; this one is a subtraction.
            warnings.filterwarnings("ignore", "On demand feature view", RuntimeWarning)
            self._feast(spec).apply(objects)
        self._services.clear()

    def _service(self, spec: DatasetSpec, version: int | None = None) -> FeatureService:
        """A service, looked up once; where it is not known, the registry is read again."""
        key, name = (spec.name, version), service_name(spec, version)
        if key not in self._services:
            store = self._feast(spec)
            try:
                self._services[key] = store.get_feature_service(name, allow_cache=True)
            except FeastObjectNotFoundException:
                self._refresh(spec)
                self._services[key] = self._newest_service(spec, name)
        return self._services[key]

    def _refresh(self, spec: DatasetSpec) -> None:
        """Read the registry again, and forget the services that came from the old one."""
        self._feast(spec).refresh_registry()
        self._services.clear()

    def _newest_service(self, spec: DatasetSpec, name: str) -> FeatureService:
        try:
            return self._feast(spec).get_feature_service(name)
        except FeastObjectNotFoundException as error:
            raise NotFound(
                f"the feature store has no service '{name}'.",
                remedy="Run the features step on a snapshot first, and register the model version.",
            ) from error

    def _history_path(self, spec: DatasetSpec) -> str:
        """The offline file that the views point at now, by whichever process prepared it."""
        self._refresh(spec)
        try:
            path = str(self._feast(spec).get_feature_view(UNIT_VIEW).batch_source.path)
        except FeastObjectNotFoundException as error:
            raise _no_history(spec) from error
        if not Path(path).is_file():
            raise _no_history(spec)
        return path

    def _point_in_time(self, units: pd.Series, times: pd.Series, spec: DatasetSpec) -> pd.DataFrame:
        """History features at each unit and time, by position."""
        moments = pd.to_datetime(times.reset_index(drop=True), utc=True).astype("datetime64[us, UTC]")
        owners = units.reset_index(drop=True)
        entities = pd.DataFrame(
            {
                _ROW: np.arange(len(owners)),
                str(spec.unit): owners.astype(str),
                KNOWN_AT: moments,
                REQUEST_TIME: epoch_seconds(moments),
            }
        )[(owners.notna() & moments.notna()).to_numpy()]
        features = list(history_features(spec))
        if entities.empty:
            return _answer({}, len(owners), features)
        joined = self._feast(spec).get_historical_features(entities, self._service(spec)).to_df()
        known = joined.set_index(_ROW)[features].astype(np.float64)
        return known.reindex(owners.index).fillna(NEVER_SEEN)

    def _entities(
        self, units: Sequence[str], spec: DatasetSpec, at: Sequence[datetime] | None
    ) -> Mapping[str, Sequence[Any]]:
        moments = [self._now()] * len(units) if at is None else at
        if len(moments) != len(units):
            raise BadInput(f"{len(units)} units but {len(moments)} request times.")
        return {str(spec.unit): list(units), REQUEST_TIME: [moment.timestamp() for moment in moments]}


def _answer(columns: Mapping[str, Sequence[Any]], rows: int, features: Sequence[str]) -> pd.DataFrame:
    """Feast's answer by column as a frame, built from one array: for a single row, pandas is most of the cost."""
    values = np.full((rows, len(features)), np.nan)
    for position, name in enumerate(features):
        if name in columns:
            values[:, position] = np.asarray(columns[name], dtype=np.float64)
        if name in NEVER_SEEN:
            column = values[:, position]
            column[np.isnan(column)] = NEVER_SEEN[name]
    return pd.DataFrame(values, columns=list(features), copy=False)


def _no_history(spec: DatasetSpec) -> NotFound:
    return NotFound(
        f"the feature store knows no history of '{spec.name}'.", remedy="Run the features step on a snapshot first."
    )


def _write(path: Path, content: bytes) -> None:
    """Write a file beside its place and move it there, so that a reader sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)


def _parquet(states: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(states, preserve_index=False), buffer, compression="zstd")
    return buffer.getvalue()
