"""An online store for Feast that keeps one packed record per entity and view, and takes whole Arrow tables.

Feast's own stores turn every value into a message and a row of its own: 80,000 entities of 45 features are 3.6 million
rows. Here they are 80,000 records, packed by column. The class is plugged in by Feast's interface
(`online_store.type`), so that reads, pushes and `feast materialize` work as ever; `ArrowComputeEngine` uses the two
methods that take tables. Where the records lie is a `RecordStore`: SQLite or Redis.

A record only gives way to one that is as new: a late or repeated write changes nothing.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from feast import Entity, FeatureView, RepoConfig
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from trimtab.adapters.feast.layout import RowLayout, header, micros
from trimtab.errors import BadInput, TrimtabError

FeatureRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
ReadRow = tuple[datetime | None, dict[str, Value] | None]


class RecordStore(Protocol):
    """Keeps packed records by table and key. Safe to use from several threads and processes."""

    def fetch(self, table: str, keys: Sequence[str]) -> list[bytes | None]:
        """The record of each key, in order; None where there is none."""
        ...

    async def fetch_async(self, table: str, keys: Sequence[str]) -> list[bytes | None]:
        """As `fetch`, without holding up the event loop."""
        ...

    def merge(self, table: str, keys: Sequence[str], records: Sequence[bytes]) -> None:
        """Write each record unless the stored one has a later event time."""
        ...

    def replace(self, table: str, keys: Sequence[str], records: Sequence[bytes], *, until: int) -> None:
        """Make the records the whole content at once, but keep what was pushed with an event time after `until`.

        A reader sees the old content or the new; when the writer dies, the old.
        """
        ...

    async def close(self) -> None:
        """Let go of the connections of the calling thread and event loop."""
        ...

    def create(self, table: str) -> None:
        """Make sure that the table exists."""
        ...

    def drop(self, table: str) -> None:
        """Remove the table with its records."""
        ...

    def remember(self, layout: RowLayout) -> None:
        """Keep a layout's description."""
        ...

    def recall(self, layout_id: int) -> RowLayout | None:
        """The layout of an id, where it was kept."""
        ...


class PackedOnlineStore(OnlineStore):
    """Feast's online store over a `RecordStore`."""

    def __init__(self) -> None:
        super().__init__()
        self._records: RecordStore | None = None
        self._layouts: dict[int, RowLayout] = {}

    @abstractmethod
    def open(self, config: RepoConfig) -> RecordStore:
        """Connect to where the records lie."""

    def records(self, config: RepoConfig) -> RecordStore:
        """Where the records lie; opened once."""
        if self._records is None:
            self._records = self.open(config)
        return self._records

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Reads are asynchronous, writes are not."""
        return SupportedAsyncMethods(read=True, write=False)

    def replace_table(self, config: RepoConfig, view: FeatureView, table: pa.Table, *, until: datetime) -> None:
        """Make an Arrow table with one row per entity the view's whole content, but keep pushes newer than `until`."""
        keys, packed = self._pack_table(config, view, table)
        self.records(config).replace(_table(config, view), keys, packed, until=_micros(until))

    def merge_table(self, config: RepoConfig, view: FeatureView, table: pa.Table) -> None:
        """Add an Arrow table with one row per entity to the view; older rows change nothing."""
        keys, packed = self._pack_table(config, view, table)
        self.records(config).merge(_table(config, view), keys, packed)

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[FeatureRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows of Feast values: pushes, and Feast's own engines."""
        layout = self._remember(config, table)
        keys = [_text(key) for key, _, _, _ in data]
        packed = [layout.pack(values, _micros(event)) for _, values, event, _ in data]
        self.records(config).merge(_table(config, table), keys, packed)
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        """Event time and values of each entity, or a pair of None."""
        found = self.records(config).fetch(_table(config, table), [_text(key) for key in entity_keys])
        return [self._unpack(config, record, requested_features) for record in found]

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        """As `online_read`, without holding up the event loop."""
        found = await self.records(config).fetch_async(_table(config, table), [_text(key) for key in entity_keys])
        return [self._unpack(config, record, requested_features) for record in found]

    def update(  # noqa: PLR0917 - Feast's signature
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Create and drop tables as `feast apply` wants.

        Raises:
            BadInput: A view has a feature that is not a number, or not exactly one entity of text.
        """
        del entities_to_delete, entities_to_keep, partial
        for view in tables_to_keep:
            if isinstance(view, FeatureView):
                self._remember(config, view)
                _join_key(view)
                self.records(config).create(_table(config, view))
        for view in tables_to_delete:
            self.records(config).drop(_table(config, view))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Drop the tables of all views."""
        del entities
        for view in tables:
            self.records(config).drop(_table(config, view))

    async def close(self) -> None:
        """Let go of the connections of the calling thread and event loop; the next call opens them again."""
        if self._records is not None:
            await self._records.close()

    def _pack_table(self, config: RepoConfig, view: FeatureView, table: pa.Table) -> tuple[list[str], list[bytes]]:
        layout = self._remember(config, view)
        key, source = _join_key(view), view.batch_source
        ordered = table.take(pa.compute.sort_indices(table.column(key)))
        events: np.ndarray = micros(ordered.column(source.timestamp_field))
        return ordered.column(key).to_pylist(), layout.pack_table(ordered, events)

    def _remember(self, config: RepoConfig, view: FeatureView) -> RowLayout:
        layout = RowLayout.of(view)
        if layout.id not in self._layouts:
            self.records(config).remember(layout)
            self._layouts[layout.id] = layout
        return layout

    def _unpack(self, config: RepoConfig, record: bytes | None, wanted: list[str] | None) -> ReadRow:
        if record is None:
            return None, None
        layout_id, _, event = header(record)
        layout = self._layouts.get(layout_id) or self.records(config).recall(layout_id)
        if layout is None:
            raise TrimtabError(
                f"the online store holds a record of the unknown layout {layout_id}.", remedy="Materialise again."
            )
        self._layouts[layout_id] = layout
        return datetime.fromtimestamp(event / 1e6, tz=UTC), layout.unpack(record, wanted)


def _table(config: RepoConfig, view: FeatureView) -> str:
    return f"{config.project}:{view.name}"


def _join_key(view: FeatureView) -> str:
    columns = view.entity_columns
    if len(columns) != 1 or columns[0].dtype.to_value_type().name != "STRING":
        raise BadInput(f"view '{view.name}' needs exactly one entity, of text, for the packed online store.")
    return str(columns[0].name)


def _text(key: EntityKey) -> str:
    return str(key.entity_values[0].string_val)


def _micros(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1e6)
