"""InferenceServices satisfy the deployer's contract: a double of the cluster runs real model servers behind them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.adapters.kserve import KserveArmDeployer
from trimtab.adapters.kubernetes import connect
from trimtab.adapters.processes import ProcessArmDeployer
from trimtab.profile import KserveDeployer
from trimtab.testing.deployer import DeployerContract
from trimtab.testing.kserve_double import KserveDouble, ProcessNode
from trimtab.testing.kubernetes_double import kubernetes_double
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec
from trimtab.types import ModelVersion

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that stands for an object store."""
    rng = np.random.default_rng(2)
    spec = shop_spec(users=False)
    folder = tmp_path_factory.mktemp("bucket")
    shop_bundle(folder / "shop", shop_sessions(rng, spec), spec, rng=rng)
    return folder


@pytest.fixture
def deployer(bucket: Path, tmp_path: Path) -> Iterator[KserveArmDeployer]:
    def fetch(version: ModelVersion) -> Path:
        return bucket / version.uri.removeprefix("s3://models/")

    with ProcessArmDeployer(tmp_path / "logs", profile_name="", fetch=fetch) as processes:
        controller = KserveDouble(ProcessNode(processes))
        with kubernetes_double(controller) as cluster:
            settings = KserveDeployer(kind="kserve", kubeconfig=str(cluster.kubeconfig(tmp_path / "config")))
            api = connect(kubeconfig=settings.kubeconfig)
            yield KserveArmDeployer(settings, api=api, poll_seconds=0.05)
            controller.close()


class TestKserveArmDeployer(DeployerContract):
    @pytest.fixture
    def model(self) -> ModelVersion:
        return ModelVersion("shop", 3, uri="s3://models/shop")

    @pytest.fixture
    def broken(self) -> ModelVersion:
        return ModelVersion("shop", 9, uri="s3://models/nothing")

    @pytest.fixture
    def instances(self) -> pd.DataFrame:
        return shop_sessions(np.random.default_rng(3), shop_spec(users=False), rows=5)[["lcp_ms", "api_ms", "device"]]
