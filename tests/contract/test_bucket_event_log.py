"""An event log in a bucket satisfies the contract, over a private S3 endpoint on loopback."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

from trimtab.adapters.event_objects import BucketStore
from trimtab.adapters.events import SegmentEventLog, open_event_log
from trimtab.errors import Unavailable
from trimtab.testing.event_log import EventLogContract, exposure


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def uri(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of a new bucket."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    bucket = f"b{uuid4().hex}"
    S3FileSystem(
        endpoint_override=endpoint.removeprefix("http://"), scheme="http", allow_bucket_creation=True
    ).create_dir(bucket)
    return f"s3://{bucket}/the events"


class TestBucketEventLog(EventLogContract):
    @pytest.fixture
    def log(self, uri: str, tmp_path: Path) -> SegmentEventLog:
        return open_event_log(uri, cache=tmp_path)


def test_names_its_experiments(uri: str, tmp_path: Path) -> None:
    log = open_event_log(uri, cache=tmp_path)
    assert log.experiments() == ()
    log.append([exposure("u1", experiment="b/c"), exposure("u1", experiment="..")])
    assert log.experiments() == ("..", "b/c")


def test_fetches_a_segment_once(uri: str, tmp_path: Path) -> None:
    log = open_event_log(uri, cache=tmp_path / "cache")
    log.append([exposure("u1")])
    log.location("e", "exposure")
    (first,) = tmp_path.rglob("*.parquet")
    fetched = first.stat().st_mtime_ns
    log.append([exposure("u2")])
    assert len(log.read("e", "exposure")) == 2
    assert len(list(tmp_path.rglob("*.parquet"))) == 2
    assert first.stat().st_mtime_ns == fetched


def test_a_large_object_appears_whole(uri: str, tmp_path: Path) -> None:
    payload = os.urandom(12 << 20)  # An upload of several parts.
    store = BucketStore(uri, cache=tmp_path)
    store.write("e/exposure/1.parquet", payload)
    assert store.keys("e/exposure") == ["e/exposure/1.parquet"]
    assert store.read("e/exposure/1.parquet") == payload


def test_the_mirror_forgets_what_is_gone(uri: str, tmp_path: Path) -> None:
    log = open_event_log(uri, cache=tmp_path)
    log.append([exposure("u1")])
    log.read("e", "exposure")
    (key,) = log.store.keys("e/exposure")
    log.store.delete(key)
    log.store.delete(key)
    assert len(log.read("e", "exposure")) == 0
    with pytest.raises(FileNotFoundError):
        log.store.read(key)


def test_a_bucket_that_is_not_there(uri: str, tmp_path: Path) -> None:
    store = BucketStore(uri.replace("s3://", "s3://no"), cache=tmp_path)
    with pytest.raises(Unavailable, match=r"did not answer.*Check the bucket"):
        SegmentEventLog(store).append([exposure("u1")])


def test_an_endpoint_that_is_away(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    log = open_event_log(uri, cache=tmp_path)
    with pytest.raises(Unavailable, match="did not answer"):
        log.append([exposure("u1")])
    with pytest.raises(Unavailable, match="did not answer"):
        log.read("e", "exposure")


def test_an_endpoint_that_is_none_is_a_log_that_is_away(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "minio:9000")
    with pytest.raises(Unavailable, match="AWS_ENDPOINT_URL"):
        open_event_log(uri, cache=tmp_path).append([exposure("u1")])
