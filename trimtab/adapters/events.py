"""The event log as Parquet segments: append-only, durable when `append` returns, safe against kill -9.

Each `append` becomes one segment per experiment and kind. A reader sees a whole segment or none. Columnar segments keep
100,000 events under a second and are what the engines that aggregate experiments read directly.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from glob import escape
from pathlib import Path
from typing import get_args
from urllib.parse import unquote, urlsplit

import pandas as pd
import pyarrow as pa

from trimtab.adapters.event_compaction import compact, count
from trimtab.adapters.event_segments import check, decode, encode, folder_name, frame, merge
from trimtab.adapters.event_stores import SUFFIX, FolderStore, SegmentStore, new_name, settled
from trimtab.errors import BadInput, Unavailable
from trimtab.rollout.service import ServiceLevel
from trimtab.types import Event, EventKind, EventSegments

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Segment:
    """Events of one experiment and kind as a file.

    Attributes:
        key: Where it belongs in a store; unique, so that writing it twice leaves one.
        payload: The Parquet file.
        events: How many it holds.
    """

    key: str
    payload: bytes
    events: int


class SegmentEventLog:
    """An event log over a store of segments; satisfies `trimtab.ports.EventLog`.

    Args:
        store: Where the segments lie.
    """

    def __init__(self, store: SegmentStore) -> None:
        self.store = store

    def append(self, events: Iterable[Event]) -> None:
        """Add events, durable on return.

        Args:
            events: Any number of events, of any experiments.

        Raises:
            BadInput: An event lacks an id, experiment, unit or time zone, or a segment is named like an event field;
                nothing is written then.
            Unavailable: The store does not answer.
        """
        for segment in segments(events):
            self.store.write(segment.key, segment.payload)

    def read(self, experiment: str, kind: EventKind) -> pd.DataFrame:
        """Events of one kind without repeats, in time order.

        Of several events with one id the earliest counts. A segment that cannot be read (its disk lost it) is left out
        and logged as a warning.

        Args:
            experiment: Name of the experiment; one that was never logged gives no rows.
            kind: `exposure`, `outcome` or `shadow`.

        Returns:
            One row per event; one column per `Event` field (segments apart), and one text column per segment.
        """

        def read() -> list[pa.Table]:
            place = self.store.local(folder(experiment, kind))
            with ThreadPoolExecutor() as pool:
                tables = pool.map(_decoded, sorted(place.glob(f"*{SUFFIX}")))
                return [table for table in tables if table is not None]

        return frame(merge(settled(read, FileNotFoundError)))

    def empty(self, experiment: str, kind: EventKind) -> bool:
        """Whether nothing of that kind has been logged yet.

        Raises:
            Unavailable: The store does not answer.
        """
        return not any(self.store.local(folder(experiment, kind)).glob(f"*{SUFFIX}"))

    def location(self, experiment: str, kind: EventKind) -> str:
        """Where DuckDB and the warehouse read the events of one kind.

        Args:
            experiment: Name of the experiment.
            kind: `exposure`, `outcome` or `shadow`.

        Returns:
            A glob of Parquet files, also where there is none yet. Their columns differ (take them by name), and events
            may occur twice (take each id once).

        Raises:
            Unavailable: The store does not answer.
        """
        return _pattern(self.store.local(folder(experiment, kind)))

    def service_levels(
        self, experiment: str, kind: EventKind, *, since: datetime | None = None
    ) -> dict[str, ServiceLevel]:
        """How each arm served its requests; a segment that cannot be read is left out and logged as a warning.

        Args:
            experiment: Name of the experiment.
            kind: `exposure` or `shadow`.
            since: Requests before it do not count.

        Returns:
            Levels by arm; an arm without requests is left out. Latencies of fewer than 368 requests do not bound
            their 99th percentile from above: the upper end is infinite then.

        Raises:
            Unavailable: The store does not answer, or DuckDB fails on segments that can be read.
        """
        import duckdb

        from trimtab.adapters.event_levels import service_levels

        def read() -> dict[str, ServiceLevel]:
            place = self.store.local(folder(experiment, kind))
            return service_levels([_pattern(place)], since) if any(place.glob(f"*{SUFFIX}")) else {}

        def read_whole() -> dict[str, ServiceLevel]:
            place = self.store.local(folder(experiment, kind))
            patterns = settled(lambda: _whole(place), FileNotFoundError)
            return service_levels(patterns, since) if patterns else {}

        try:
            try:
                return settled(read, duckdb.IOException)
            except duckdb.Error:  # one torn segment is enough for it
                return settled(read_whole, duckdb.IOException)
        except duckdb.Error as error:
            raise Unavailable(f"the log of experiment '{experiment}' cannot be read: {error}") from error

    def experiments(self) -> tuple[str, ...]:
        """Names of the experiments that have events, sorted."""
        return tuple(sorted(unquote(name) for name in self.store.folders()))

    def contents(self) -> tuple[EventSegments, ...]:
        """What the log holds, by experiment and kind.

        Raises:
            Unavailable: The store does not answer.
        """
        found = [
            EventSegments(experiment, kind, *count(self.store, folder(experiment, kind)))
            for experiment in self.experiments()
            for kind in get_args(EventKind)
        ]
        return tuple(row for row in found if row.segments)

    def compact(self, experiment: str, kind: EventKind) -> None:
        """Merge small segments of one kind into large ones; writers and readers may go on meanwhile.

        Args:
            experiment: Name of the experiment.
            kind: `exposure`, `outcome` or `shadow`.

        Raises:
            Unavailable: The store does not answer.
        """
        compact(self.store, folder(experiment, kind))


class FileEventLog(SegmentEventLog):
    """An event log in a folder of this machine.

    Args:
        uri: The folder, as `file:///path` or a plain path. Created on first use.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(FolderStore(Path(unquote(urlsplit(uri).path) if "://" in uri else uri)))


def open_event_log(uri: str, *, cache: Path) -> SegmentEventLog:
    """The event log at a URI.

    Args:
        uri: `file:///path` or a plain path, or `s3://BUCKET/PREFIX`.
        cache: Folder of this machine for a mirror of what lies elsewhere.

    Raises:
        BadInput: The URI has another scheme, or names no bucket.
    """
    parts = urlsplit(uri)
    if parts.scheme == "s3" and parts.netloc:
        from trimtab.adapters.event_objects import BucketStore

        return SegmentEventLog(BucketStore(uri, cache=cache))
    if parts.scheme not in {"", "file"}:
        raise BadInput(
            f"event log '{uri}': there is no log under the scheme '{parts.scheme}'.",
            remedy="Use a file:// folder or s3://BUCKET/PREFIX.",
        )
    return FileEventLog(uri)


def segments(events: Iterable[Event]) -> list[Segment]:
    """Events as files, one per experiment and kind.

    Raises:
        BadInput: An event cannot be stored.
    """
    groups: dict[tuple[str, EventKind], list[Event]] = defaultdict(list)
    for event in events:
        check(event)
        groups[event.experiment, event.kind].append(event)
    return [
        Segment(f"{folder(experiment, kind)}/{new_name()}", encode(group), len(group))
        for (experiment, kind), group in groups.items()
    ]


def folder(experiment: str, kind: EventKind) -> str:
    """Folder of an experiment's segments of one kind in a store."""
    return f"{folder_name(experiment)}/{kind}"


def _pattern(place: Path) -> str:
    """A glob of the segments in a folder, whose own name may look like one."""
    return f"{escape(str(place.absolute()))}/*{SUFFIX}"


def _whole(place: Path) -> list[str]:
    """Globs of the segments in a folder that can be read, one each."""
    return [escape(str(path.absolute())) for path in sorted(place.glob(f"*{SUFFIX}")) if _decoded(path) is not None]


def _decoded(path: Path) -> pa.Table | None:
    payload = path.read_bytes()
    try:
        return decode(payload)
    except (pa.ArrowException, OSError) as error:
        _log.warning("event log: segment %s is torn and was left out: %s", path, error)
        return None
