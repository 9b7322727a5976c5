"""The HTTP client satisfies the predictor's contract, and so do the arms in one process that steps are tested with."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.adapters.inference import HttpPredictor
from trimtab.adapters.processes import ProcessArmDeployer
from trimtab.ports import Predictor
from trimtab.testing.ports import InProcessArms
from trimtab.testing.predictor import PredictorContract
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec
from trimtab.types import Endpoint, ModelVersion

SPEC = shop_spec(users=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    rng = np.random.default_rng(2)
    bundle = shop_bundle(tmp_path_factory.mktemp("models") / "shop", shop_sessions(rng, SPEC), SPEC, rng=rng)
    return ModelVersion("shop", 3, uri=str(bundle))


@pytest.fixture
def instances() -> pd.DataFrame:
    rows = shop_sessions(np.random.default_rng(3), SPEC, rows=5)[["lcp_ms", "api_ms", "device"]]
    rows.loc[2, "api_ms"] = np.nan
    return rows


class TestInProcessArms(PredictorContract):
    @pytest.fixture
    def predictor(self) -> InProcessArms:
        return InProcessArms()

    @pytest.fixture
    def endpoint(self, predictor: InProcessArms, model: ModelVersion) -> Endpoint:
        return predictor.deploy(model, arm="control")

    @pytest.fixture
    def silent(self) -> Endpoint:
        return Endpoint("treatment", "memory://treatment", "shop", 3)


@pytest.mark.slow
class TestHttpPredictor(PredictorContract):
    @pytest.fixture
    def predictor(self) -> Iterator[Predictor]:
        client = HttpPredictor()
        yield client
        client.close()

    @pytest.fixture(scope="class")
    def endpoint(self, model: ModelVersion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
        folder = tmp_path_factory.mktemp("logs")
        with ProcessArmDeployer(folder, profile_name="", fetch=lambda version: Path(version.uri)) as arms:
            yield arms.deploy(model, arm="control")

    @pytest.fixture
    def silent(self, endpoint: Endpoint) -> Endpoint:
        return Endpoint("treatment", "http://127.0.0.1:9", endpoint.model, endpoint.version)
