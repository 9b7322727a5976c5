"""Feast satisfies the feature store's contract, over SQLite and over Redis."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab.adapters.feast import FeastFeatureStore
from trimtab.testing.feature_store import FeatureStoreContract


class TestSqlite(FeatureStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FeastFeatureStore:
        return FeastFeatureStore(
            tmp_path, registry=str(tmp_path / "registry.db"), online_store=f"sqlite:///{tmp_path}/online.db"
        )


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
