"""Materialisation and online reads: Trimtab's packed stores against Feast's own, over the same file in one run.

    python -m benchmarks.materialization [ENTITIES [FEATURES]]

Both sides go through `feast.FeatureStore` with the same entity, view and DuckDB offline store; only the online store
and the compute engine differ. Redis is compared where `redis-server` and the Python client are installed.
"""

import contextlib
import importlib.util
import io
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PACKAGE = "trimtab.adapters.feast"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
READS = 300


@dataclass(frozen=True)
class Cost:
    """Seconds to materialise everything; median milliseconds to read one entity."""

    write_seconds: float
    read_milliseconds: float


def main(entities: int = 80_000, features: int = 45) -> list[dict[str, Any]]:
    size = f"{entities:,} entities x {features} features"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = _write_source(folder / "measured", entities, features)
        # The first use of DuckDB in a process costs a second, which is neither side's.
        _measure(_write_source(folder / "warm", 10, 2), {"type": "sqlite", "path": str(folder / "warm.db")})
        results = _compare(
            f"SQLite, {size}",
            _measure(source, {"type": f"{PACKAGE}.sqlite.PackedSqliteOnlineStore", "path": str(folder / "ours.db")}),
            _measure(source, {"type": "sqlite", "path": str(folder / "theirs.db")}),
            "Feast's SQLite online store and local engine",
        )
        with _redis(folder) as port:
            if port:
                results += _compare(
                    f"Redis, {size}",
                    _measure(
                        source,
                        {"type": f"{PACKAGE}.redis.PackedRedisOnlineStore", "url": f"redis://127.0.0.1:{port}/0"},
                    ),
                    _measure(source, {"type": "redis", "connection_string": f"127.0.0.1:{port},db=1"}),
                    "Feast's Redis online store and local engine",
                )
    for row in results:
        print(f"{row['name']}: {row['ours']} {row['unit']} against {row['theirs']}, {row['ratio']}x")
    return results


def _write_source(folder: Path, entities: int, features: int) -> Path:
    rng = np.random.default_rng(7)
    folder.mkdir()
    path = folder / "source.parquet"
    columns: dict[str, Any] = {
        "user_id": [f"user-{number:08d}" for number in range(entities)],
        "event_timestamp": [NOW - timedelta(seconds=int(age)) for age in rng.integers(1, 86_400, entities)],
        **{f"feature_{number}": rng.normal(size=entities) for number in range(features)},
    }
    pq.write_table(pa.table(columns), path)
    return path


def _measure(source: Path, online_store: dict[str, Any]) -> Cost:
    from feast import FeatureStore, RepoConfig

    ours = online_store["type"].startswith(PACKAGE)
    folder = source.parent / f"repo-{len(list(source.parent.glob('repo-*')))}"
    folder.mkdir()
    store = FeatureStore(
        config=RepoConfig(
            project="benchmark",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store=online_store,
            offline_store={"type": "duckdb"},
            batch_engine={"type": f"{PACKAGE}.engine.ArrowComputeEngine"} if ours else "local",
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )
    names = [name for name in pq.read_schema(source).names if name.startswith("feature_")]
    store.apply(_objects(source, names))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        started = time.perf_counter()
        store.materialize(datetime(1970, 1, 1, tzinfo=UTC), NOW)
        seconds = time.perf_counter() - started
    _check(store, source, names)
    return Cost(seconds, _read_milliseconds(store))


def _objects(source: Path, names: list[str]) -> list[Any]:
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64, String

    entity = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    schema = [Field(name="user_id", dtype=String), *(Field(name=name, dtype=Float64) for name in names)]
    batch = FileSource(path=str(source), timestamp_field="event_timestamp")
    view = FeatureView(name="history", entities=[entity], schema=schema, source=batch, ttl=timedelta(0))
    return [entity, view, FeatureService(name="model", features=[view])]


def _check(store: Any, source: Path, names: list[str]) -> None:
    """Both sides must answer with what the file says."""
    rows = pq.read_table(source).slice(0, 100)
    answer = store.get_online_features(store.get_feature_service("model"), {"user_id": rows["user_id"].to_pylist()})
    found = answer.to_dict()
    assert all(np.array_equal(found[name], rows[name].to_numpy()) for name in names)


def _read_milliseconds(store: Any) -> float:
    service = store.get_feature_service("model")
    times = []
    for number in range(READS):
        started = time.perf_counter()
        store.get_online_features(service, {"user_id": [f"user-{number:08d}"]}).to_dict()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3


def _compare(name: str, ours: Cost, theirs: Cost, theirs_is: str) -> list[dict[str, Any]]:
    def row(what: str, mine: float, other: float, unit: str) -> dict[str, Any]:
        return {
            "name": f"{what}, {name}",
            "ours": round(mine, 3),
            "theirs": round(other, 3),
            "theirs_is": theirs_is,
            "unit": unit,
            "ratio": round(other / mine, 1),
        }

    return [
        row("Materialise", ours.write_seconds, theirs.write_seconds, "s"),
        row("Read one entity online", ours.read_milliseconds, theirs.read_milliseconds, "ms"),
    ]


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[int]:
    """The port of a private Redis on loopback while the block runs; 0 where it is not installed."""
    program = shutil.which("redis-server")
    if program is None or importlib.util.find_spec("redis") is None:
        yield 0
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            _wait_for(port)
            yield port
        finally:
            server.terminate()


def _wait_for(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"Redis did not start on port {port}.")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
