"""Feast behind the `FeatureStore` port: a packed online store, an Arrow compute engine, and the adapter itself."""

from trimtab.adapters.feast.startup import without_instrumentation

with without_instrumentation():
    from trimtab.adapters.feast.store import FeastFeatureStore

__all__ = ["FeastFeatureStore"]
