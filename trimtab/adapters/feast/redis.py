"""Packed records in Redis: one hash per view, one field per entity, written in pipelined batches.

One hash per view makes a read one command, and lets a materialisation write beside the old content and take its place
by one `RENAME`. The price: a view lies on one shard of a Redis cluster. Only a push that lands between the copying of
newer records and the `RENAME`, milliseconds, can be lost by a materialisation.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import uuid4

from feast import RepoConfig
from feast.repo_config import FeastConfigBaseModel

from trimtab.adapters.feast.layout import RowLayout, header
from trimtab.adapters.feast.packed import PackedOnlineStore, RecordStore
from trimtab.errors import TrimtabError, Unavailable

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

_BATCH: Final = 2_000  # records per command: about 800 kB, small beside the server's other work
_ABANDONED_SECONDS: Final = 3_600  # what a writer that died has left goes by itself
_LAYOUTS: Final = "trimtab:feature-layouts"


class PackedRedisOnlineStoreConfig(FeastConfigBaseModel):
    """Configuration in `feature_store.yaml`."""

    type: Literal["trimtab.adapters.feast.redis.PackedRedisOnlineStore"] = (
        "trimtab.adapters.feast.redis.PackedRedisOnlineStore"
    )
    url: str
    timeout_seconds: float = 5.0


class PackedRedisOnlineStore(PackedOnlineStore):
    """Feast online store in Redis."""

    def open(self, config: RepoConfig) -> RecordStore:
        """Connect to the server that the configuration names."""
        return RedisRecords(config.online_store.url, timeout_seconds=config.online_store.timeout_seconds)


class RedisRecords:
    """A `RecordStore` in Redis."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        try:
            import redis
            from redis import asyncio as redis_asyncio
        except ModuleNotFoundError as error:
            raise TrimtabError(
                "an online store in Redis needs the package 'redis', which is not installed.",
                remedy="Install feast[redis].",
            ) from error
        limits: dict[str, Any] = {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
        self._url = url
        self._failure = redis.RedisError
        self._redis: Redis = redis.Redis.from_url(url, **limits)
        self._open_async: Callable[[], AsyncRedis] = lambda: redis_asyncio.Redis.from_url(url, **limits)
        self._async: dict[asyncio.AbstractEventLoop, AsyncRedis] = {}

    def fetch(self, table: str, keys: Sequence[str]) -> list[bytes | None]:
        """The record of each key, in order; None where there is none."""
        try:
            return list(self._redis.hmget(table, list(keys))) if keys else []
        except self._failure as error:
            raise self._unavailable() from error

    async def fetch_async(self, table: str, keys: Sequence[str]) -> list[bytes | None]:
        """As `fetch`, over a connection of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._async:
            self._async = {other: client for other, client in self._async.items() if not other.is_closed()}
            self._async[loop] = self._open_async()
        try:
            return list(await self._async[loop].hmget(table, list(keys))) if keys else []
        except self._failure as error:
            raise self._unavailable() from error

    def merge(self, table: str, keys: Sequence[str], records: Sequence[bytes]) -> None:
        """Write each record unless the stored one has a later event time; of equal keys the latest record counts."""
        newest: dict[str, bytes] = {}
        for key, record in zip(keys, records, strict=True):
            if key not in newest or _event(record) >= _event(newest[key]):
                newest[key] = record
        stored = self.fetch(table, list(newest))
        fresh = {
            key: record
            for (key, record), old in zip(newest.items(), stored, strict=True)
            if old is None or _event(record) >= _event(old)
        }
        self._write(table, fresh)

    def replace(self, table: str, keys: Sequence[str], records: Sequence[bytes], *, until: int) -> None:
        """Write the records beside the old content, copy what was pushed after `until`, and swap."""
        beside = f"{table}:{uuid4().hex}"
        content = dict(zip(keys, records, strict=True))
        self._write(beside, content, expires=True)
        try:
            newer = {
                key.decode(): record
                for key, record in self._redis.hscan_iter(table, count=_BATCH)
                if header(record).pushed and _event(record) > until
            }
            self._write(beside, newer, expires=True)
            with self._redis.pipeline(transaction=True) as swap:
                if content or newer:
                    swap.persist(beside).rename(beside, table)
                else:
                    swap.unlink(table)
                swap.execute()
        except self._failure as error:
            raise self._unavailable() from error

    async def close(self) -> None:
        """Close the connections of the running event loop, and the others."""
        client = self._async.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
        self._redis.close()

    def create(self, table: str) -> None:
        """Nothing to do: a hash comes with its first field."""

    def drop(self, table: str) -> None:
        """Remove a view's records."""
        try:
            self._redis.unlink(table)
        except self._failure as error:
            raise self._unavailable() from error

    def remember(self, layout: RowLayout) -> None:
        """Keep a layout's description."""
        try:
            self._redis.hset(_LAYOUTS, str(layout.id), layout.text)
        except self._failure as error:
            raise self._unavailable() from error

    def recall(self, layout_id: int) -> RowLayout | None:
        """The layout of an id, where it was kept."""
        try:
            text = self._redis.hget(_LAYOUTS, str(layout_id))
        except self._failure as error:
            raise self._unavailable() from error
        return RowLayout.parse(bytes(text).decode()) if isinstance(text, bytes) else None

    def _write(self, table: str, content: dict[str, bytes], *, expires: bool = False) -> None:
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for part in _parts(content):
                    pipeline.hset(table, mapping=part)
                    if expires:
                        pipeline.expire(table, _ABANDONED_SECONDS)
                    pipeline.execute()
        except self._failure as error:
            raise self._unavailable() from error

    def _unavailable(self) -> Unavailable:
        where = self._url.rsplit("@", 1)[-1]
        return Unavailable(f"the online store at {where} does not answer.", remedy="Check that Redis is running.")


def _parts(content: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
    items = list(content.items())
    for start in range(0, len(items), _BATCH):
        yield dict(items[start : start + _BATCH])


def _event(record: bytes) -> int:
    return header(record).event
