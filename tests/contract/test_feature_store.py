"""Feast satisfies the feature store's contract, over SQLite and over Redis."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from trimtab.adapters.feast import FeastFeatureStore
from trimtab.errors import BadInput
from trimtab.ports import FeatureStore
from trimtab.profile import load_profile
from trimtab.sessions.inputs import PRIOR_SESSIONS
from trimtab.sessions.spec import DatasetSpec
from trimtab.testing.feature_store import START, FeatureStoreContract, visits, visits_spec

PROFILES = Path(__file__).parents[2] / "examples" / "profiles"


class TestSqlite(FeatureStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FeastFeatureStore:
        return FeastFeatureStore(
            tmp_path, registry=str(tmp_path / "registry.db"), online_store=f"sqlite:///{tmp_path}/online.db"
        )


class AddingEngine(FeatureStoreContract):
    """Feast's own engines write through the packed store as any other: they add, and clear nothing."""

    profile = ""

    @pytest.fixture
    def store(self, tmp_path: Path) -> FeastFeatureStore:
        return FeastFeatureStore(
            tmp_path,
            registry=str(tmp_path / "registry.db"),
            online_store=f"sqlite:///{tmp_path}/online.db",
            batch_engine=self.engine(),
        )

    def engine(self) -> dict[str, object]:
        """As the example's profile names it."""
        return load_profile(str(PROFILES / self.profile)).features.batch_engine or {}

    def test_another_snapshot_takes_the_place_of_the_first(self, prepared: FeatureStore, spec: DatasetSpec) -> None:
        prepared.materialize(spec)
        units = [f"user-{number}" for number in range(60)]
        first = prepared.online(units, spec)[PRIOR_SESSIONS].tolist()
        older = visits(np.random.default_rng(12), rows=50, users=5, start=START - timedelta(days=90))
        prepared.prepare("fedcba9876543210", older, spec)
        prepared.materialize(spec)
        assert prepared.online(units, spec)[PRIOR_SESSIONS].tolist() == first


class TestLocalEngine(AddingEngine):
    def engine(self) -> dict[str, object]:
        return {"type": "local"}


@pytest.mark.slow
class TestRayEngine(AddingEngine):
    profile = "ray.yaml"

    @pytest.fixture(autouse=True)
    def _ray(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("ray", reason="Ray is not installed")
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")


@pytest.mark.slow
class TestSparkEngine(AddingEngine):
    profile = "spark.yaml"

    @pytest.fixture(autouse=True)
    def _spark(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("pyspark", reason="PySpark is not installed")
        monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ({"type": "local", "executors": 3}, "'local' cannot be used: .*executors"),
        ({"type": "nonsense"}, "'nonsense' cannot be used: Feast has none of that name"),
        ({"type": "absent.module.QuickEngine"}, "No module named 'absent'"),
    ],
)
def test_an_engine_that_feast_cannot_load_is_named(*, engine: dict[str, object], says: str, tmp_path: Path) -> None:
    store = FeastFeatureStore(
        tmp_path,
        registry=str(tmp_path / "registry.db"),
        online_store=f"sqlite:///{tmp_path}/online.db",
        batch_engine=engine,
    )
    with pytest.raises(BadInput, match=says):
        store.prepare("0123456789abcdef", visits(np.random.default_rng(1), rows=20), visits_spec())
    with pytest.raises(BadInput, match=says):
        store.materialize(visits_spec())


@pytest.fixture(scope="module")
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("redis", reason="the package 'redis' is not installed")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    path = str(tmp_path_factory.mktemp("redis") / "redis.sock")
    command = [program, "--port", "0", "--unixsocket", path, "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            _wait_for(path)
            yield path
        finally:
            server.terminate()


def _wait_for(path: str) -> None:
    for _ in range(200):
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:
                return
        time.sleep(0.05)
    pytest.fail("redis-server did not start")


class TestRedis(FeatureStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path, redis_socket: str) -> FeastFeatureStore:
        import redis

        redis.Redis(unix_socket_path=redis_socket).flushall()
        return FeastFeatureStore(
            tmp_path, registry=str(tmp_path / "registry.db"), online_store=f"unix://{redis_socket}"
        )
