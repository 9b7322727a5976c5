"""Packed records in one SQLite file: readers in any number of processes while one writes."""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from feast import RepoConfig
from feast.repo_config import FeastConfigBaseModel

from trimtab.adapters.feast.layout import RowLayout, header
from trimtab.adapters.feast.packed import PackedOnlineStore, RecordStore
from trimtab.errors import Unavailable

_BUSY_SECONDS = 30.0
_KEYS_PER_QUERY = 500  # below SQLite's limit of 999 variables in old builds

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    view TEXT, key TEXT, event INTEGER, pushed INTEGER, record BLOB, PRIMARY KEY (view, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS layouts (id INTEGER PRIMARY KEY, description TEXT);
"""

_MERGE = """
INSERT INTO records VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET event = excluded.event, pushed = excluded.pushed, record = excluded.record
WHERE excluded.event >= records.event
"""


class PackedSqliteOnlineStoreConfig(FeastConfigBaseModel):
    """Configuration in `feature_store.yaml`."""

    type: Literal["trimtab.adapters.feast.sqlite.PackedSqliteOnlineStore"] = (
        "trimtab.adapters.feast.sqlite.PackedSqliteOnlineStore"
    )
    path: str


class PackedSqliteOnlineStore(PackedOnlineStore):
    """Feast online store in one SQLite file."""

    def open(self, config: RepoConfig) -> RecordStore:
        """Open the file that the configuration names."""
        path = Path(config.online_store.path)
        if config.repo_path and not path.is_absolute():
            path = Path(config.repo_path) / path
        return SqliteRecords(path)


class SqliteRecords:
    """A `RecordStore` in one SQLite file in write-ahead mode: one transaction per write, a connection per thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._translated():
            connection = self._connection()
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_SCHEMA)

    def fetch(self, table: str, keys: Sequence[str]) -> list[bytes | None]:
        """The record of each key, in order; None where there is none."""
        with self._translated():
            return self._select(self._connection(), table, keys)

    def _select(self, connection: sqlite3.Connection, table: str, keys: Sequence[str]) -> list[bytes | None]:
        if len(keys) == 1:
            row = connection.execute(
                "SELECT record FROM records WHERE view = ? AND key = ?", (table, keys[0])
            ).fetchone()
            return [row[0] if row else None]
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            part = keys[start : start + _KEYS_PER_QUERY]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, record FROM records WHERE view = ? AND key IN ({marks})"  # noqa: S608 - marks only
            found.update(connection.execute(query, (table, *part)).fetchall())
        return [found.get(key) for key in keys]

    async def fetch_async(self, table: str, keys: Sequence[str]) -> list[bytes | None]:
        """As `fetch`: a lookup in a local file takes less time than handing it to another thread."""
        return self.fetch(table, keys)

    def merge(self, table: str, keys: Sequence[str], records: Sequence[bytes]) -> None:
        """Write each record unless the stored one has a later event time."""
        with self._transaction() as connection:
            connection.executemany(_MERGE, _rows(table, keys, records))

    def replace(self, table: str, keys: Sequence[str], records: Sequence[bytes], *, until: int) -> None:
        """Make the records the whole content, in one transaction, but keep what was pushed after `until`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM records WHERE view = ? AND NOT (pushed AND event > ?)", (table, until))
            connection.executemany(_MERGE, _rows(table, keys, records))

    async def close(self) -> None:
        """Close the calling thread's connection."""
        self._connection().close()
        self._local.connection = None

    def create(self, table: str) -> None:
        """Nothing to do: all views share one table."""

    def drop(self, table: str) -> None:
        """Remove a view's records."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM records WHERE view = ?", (table,))

    def remember(self, layout: RowLayout) -> None:
        """Keep a layout's description."""
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO layouts VALUES (?, ?)", (layout.id, layout.text))

    def recall(self, layout_id: int) -> RowLayout | None:
        """The layout of an id, where it was kept."""
        with self._translated():
            row = self._connection().execute("SELECT description FROM layouts WHERE id = ?", (layout_id,)).fetchone()
        return RowLayout.parse(row[0]) if row else None

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        # SQLite must not carry a connection into a forked process, as a server's workers are.
        if connection is None or self._local.process != os.getpid():
            connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection, self._local.process = connection, os.getpid()
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._translated():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise Unavailable(
                f"the online store {self._path} does not answer: {error}.",
                remedy="Check that the disk has room and that no other program holds the file.",
            ) from error


def _rows(table: str, keys: Sequence[str], records: Sequence[bytes]) -> Iterator[tuple[str, str, int, int, bytes]]:
    for key, record in zip(keys, records, strict=True):
        _, pushed, event = header(record)
        yield table, key, event, pushed, record
