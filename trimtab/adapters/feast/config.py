"""Feast's configuration from the URIs of a profile, and a registry file that a crash cannot cut short."""

import os
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from feast import RepoConfig
from feast.errors import FeastError
from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry as RegistryProto

from trimtab.errors import BadInput

_PACKAGE: Final = "trimtab.adapters.feast"
_REMOTE_FILES: Final = ("s3", "gs", "hdfs")


class AtomicFileRegistryStore(FileRegistryStore):
    """Feast's registry file, written beside and moved into place: a reader never sees half of it."""

    _filepath: Path

    def _write_registry(self, registry_proto: RegistryProto) -> None:
        target = self._filepath
        beside = copy(self)
        beside._filepath = target.with_name(f".{target.name}.{os.getpid()}")
        FileRegistryStore._write_registry(beside, registry_proto)
        beside._filepath.replace(target)


def repo_config(
    project: str, folder: Path, *, registry: str, online_store: str, batch_engine: Mapping[str, Any] | None = None
) -> RepoConfig:
    """Feast's configuration of one project.

    Args:
        project: Name of the Feast project: that of the dataset spec.
        folder: Folder that relative paths are under.
        registry: A file path, an object store URI, or an SQLAlchemy URL.
        online_store: `sqlite:///PATH`, `redis://HOST:PORT/DB`, `rediss://...` or `unix://PATH`.
        batch_engine: Feast's settings of the engine that materialises; the Arrow engine where absent.

    Raises:
        BadInput: The online store is neither SQLite nor Redis.
    """
    return RepoConfig(
        project=project,
        provider="local",
        registry=_registry(registry),
        online_store=_online_store(online_store),
        offline_store={"type": f"{_PACKAGE}.offline.HistoryOfflineStore"},
        batch_engine=dict(batch_engine or {"type": f"{_PACKAGE}.engine.ArrowComputeEngine"}),
        entity_key_serialization_version=3,
        repo_path=folder,
    )


def check_engine(config: RepoConfig) -> None:
    """Load the batch engine's settings, which Feast does when it first materialises, in words of its own.

    Raises:
        BadInput: Feast has no such engine, its package is not installed, or a setting is none of its.
    """
    try:
        _ = config.batch_engine
    except (FeastError, AssertionError, ValueError) as error:
        named = config.batch_engine_config["type"]
        reason = "; ".join(str(error.__cause__ or error).split("\n")[:3]) or "Feast has none of that name"
        raise BadInput(
            f"the batch engine '{named}' cannot be used: {reason}.",
            remedy="Give the profile's features.batch_engine as Feast documents it, and install the engine's package.",
        ) from error


def _registry(uri: str) -> dict[str, Any]:
    # The cache never expires by itself: a reader needs the registry only to find a service, and asks again when it
    # does not find one; whoever depends on the newest offline file refreshes first.
    common = {"path": uri, "cache_ttl_seconds": 0}
    scheme = urlsplit(uri).scheme
    if not scheme or scheme == "file":
        path = uri.removeprefix("file://")
        return {**common, "path": path, "registry_store_type": f"{_PACKAGE}.config.AtomicFileRegistryStore"}
    if scheme in _REMOTE_FILES:
        return common
    return {**common, "registry_type": "sql", "serve_features_while_materializing": True}


def _online_store(uri: str) -> dict[str, Any]:
    scheme = urlsplit(uri).scheme
    if scheme == "sqlite":
        return {"type": f"{_PACKAGE}.sqlite.PackedSqliteOnlineStore", "path": uri.removeprefix("sqlite:///")}
    if scheme in ("redis", "rediss", "unix"):
        return {"type": f"{_PACKAGE}.redis.PackedRedisOnlineStore", "url": uri}
    raise BadInput(
        f"online store '{uri}' is neither SQLite nor Redis.", remedy="Give sqlite:///PATH or redis://HOST:PORT."
    )
