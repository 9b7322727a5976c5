"""Segments of the event log in a bucket. An object appears whole when its upload ends, so nothing needs a rename.

Engines on this machine read files: a mirror in a folder of its own holds what the bucket holds. Segments never change,
so only those that are new are fetched.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from trimtab.adapters.event_stores import SUFFIX, FolderStore, settled
from trimtab.errors import Unavailable

_CONNECT_SECONDS, _REQUEST_SECONDS = 2.0, 10.0  # A bucket that is away must not hold up a flush.
_FETCHERS = 8


class BucketStore:
    """Objects of an S3 bucket; satisfies `trimtab.adapters.event_stores.SegmentStore`.

    Credentials, region and endpoint come from the environment, as for every client of S3: `AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, or the role of the pod.

    Args:
        uri: `s3://BUCKET/PREFIX`.
        cache: Folder of this machine for the mirror.
    """

    def __init__(self, uri: str, *, cache: Path) -> None:
        parts = urlsplit(uri)
        self._root = f"{parts.netloc}{parts.path}".rstrip("/")
        self._uri = uri
        self._mirror = FolderStore(cache / quote(self._root, safe=""))

    @cached_property
    def _bucket(self) -> Any:
        from pyarrow import fs

        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        address = urlsplit(endpoint)
        return fs.S3FileSystem(
            endpoint_override=f"{address.netloc}{address.path}".rstrip("/") or None,
            scheme=address.scheme or "https",
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            connect_timeout=_CONNECT_SECONDS,
            request_timeout=_REQUEST_SECONDS,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=2),
            allow_delayed_open=True,
        )

    def write(self, key: str, payload: bytes) -> None:
        """Upload an object. Raises Unavailable."""
        with self._reached(), self._bucket.open_output_stream(f"{self._root}/{key}") as stream:
            stream.write(payload)

    def read(self, key: str) -> bytes:
        """The object. Raises FileNotFoundError where it is gone, and Unavailable."""
        with self._reached(), self._bucket.open_input_stream(f"{self._root}/{key}") as stream:
            return stream.read()

    def delete(self, key: str) -> None:
        """Delete an object. Raises Unavailable."""
        try:
            with self._reached():
                self._bucket.delete_file(f"{self._root}/{key}")
        except FileNotFoundError:
            pass

    def keys(self, folder: str) -> list[str]:
        """Keys of a folder's objects in order of their names. Raises Unavailable."""
        names = [name for name, is_folder in self._list(folder) if not is_folder and name.endswith(SUFFIX)]
        return [f"{folder}/{name}" for name in sorted(names)]

    def folders(self) -> list[str]:
        """Names of the folders at the top, sorted. Raises Unavailable."""
        return sorted(name for name, is_folder in self._list("") if is_folder)

    def local(self, folder: str) -> Path:
        """The mirror of a folder, brought up to date. Raises Unavailable."""
        settled(lambda: self._refresh(folder), FileNotFoundError)
        return self._mirror.local(folder)

    def _refresh(self, folder: str) -> None:
        there, here = self.keys(folder), set(self._mirror.keys(folder))
        with ThreadPoolExecutor(_FETCHERS) as pool:
            list(pool.map(self._fetch, [key for key in there if key not in here]))
        for key in here - set(there):  # Compacted: the segment that replaces it was fetched before.
            self._mirror.delete(key)

    def _fetch(self, key: str) -> None:
        self._mirror.write(key, self.read(key))

    def _list(self, folder: str) -> list[tuple[str, bool]]:
        from pyarrow import fs

        selector = fs.FileSelector(f"{self._root}/{folder}".rstrip("/"), allow_not_found=True)
        with self._reached():
            return [
                (info.base_name, info.type == fs.FileType.Directory) for info in self._bucket.get_file_info(selector)
            ]

    @contextmanager
    def _reached(self) -> Iterator[None]:
        from pyarrow import ArrowException  # of an endpoint or a name that is none

        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, ArrowException) as error:
            raise Unavailable(
                f"event log '{self._uri}' did not answer: {error}",
                remedy="Check the bucket, AWS_ENDPOINT_URL and the credentials.",
            ) from error
