"""A small shop's model behind an engine."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from serving.predictor.engine import Engine
from serving.predictor.metrics import Metrics
from trimtab.models.bundle import ConversionModel
from trimtab.models.lean import LeanModel
from trimtab.testing.shop import shop_model, shop_sessions, shop_spec

KEY = b"a key of sixteen bytes"

MakeEngine = Callable[..., Engine]


@pytest.fixture(scope="session")
def model() -> ConversionModel:
    rng, spec = np.random.default_rng(5), shop_spec()
    return shop_model(shop_sessions(rng, spec, rows=1_500), spec, rng=rng)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics("shop", 4, registry=registry)


@pytest.fixture
def make_engine(model: ConversionModel, metrics: Metrics) -> MakeEngine:
    def make(**options: Any) -> Engine:
        return Engine(
            "shop",
            version=4,
            model=LeanModel.of(model),
            encoder=model.manifest.encoder,
            metrics=metrics,
            unit="user_id",
            timestamp="began",
            key=KEY,
            **options,
        )

    return make


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    return make_engine()
