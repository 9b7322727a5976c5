"""Feast's DuckDB offline store, imported by the first call that needs it.

To check a configuration, Feast imports the module that it names the offline store in, and with Feast's own DuckDB store
come DuckDB and Ibis: 86 MB of an image whose servers only ever read the online store. This module holds the settings
alone, and hands over Feast's class when an offline store is asked for.
"""

from typing import Any, Literal

from feast.repo_config import FeastConfigBaseModel


class HistoryOfflineStoreConfig(FeastConfigBaseModel):
    """Configuration in `feature_store.yaml`; fields as Feast's DuckDB store reads them."""

    type: Literal["trimtab.adapters.feast.offline.HistoryOfflineStore"] = (
        "trimtab.adapters.feast.offline.HistoryOfflineStore"
    )
    staging_location: str | None = None
    staging_location_endpoint_override: str | None = None


def __getattr__(name: str) -> Any:
    """Feast's store, by the name that Feast derives from the configuration's."""
    if name != "HistoryOfflineStore":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from feast.infra.offline_stores.duckdb import DuckDBOfflineStore

    return DuckDBOfflineStore
