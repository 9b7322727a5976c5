"""Server processes satisfy the deployer's contract, and none is left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import psutil
import pytest

from trimtab.adapters.inference import HttpPredictor
from trimtab.adapters.processes import ProcessArmDeployer
from trimtab.errors import BadInput, NotFound, Unavailable
from trimtab.testing.deployer import DeployerContract
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec
from trimtab.types import Endpoint, ModelVersion

pytestmark = pytest.mark.slow

_PARENT = """
import sys, time
from pathlib import Path
from trimtab.adapters.processes import ProcessArmDeployer
from trimtab.types import ModelVersion

bundle = Path(sys.argv[1])
deployer = ProcessArmDeployer(bundle.parent / "logs", profile_name="", fetch=lambda _: bundle)
print(deployer.deploy(ModelVersion("shop", 1), arm="control").url, flush=True)
time.sleep(600)
"""


def _fetch(version: ModelVersion) -> Path:
    return Path(version.uri)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(2)
    spec = shop_spec(users=False)
    return shop_bundle(tmp_path_factory.mktemp("models") / "shop", shop_sessions(rng, spec), spec, rng=rng)


@pytest.fixture
def model(bundle: Path) -> ModelVersion:
    return ModelVersion("shop", 3, uri=str(bundle))


@pytest.fixture
def instances() -> pd.DataFrame:
    return shop_sessions(np.random.default_rng(3), shop_spec(users=False), rows=5)[["lcp_ms", "api_ms", "device"]]


@pytest.fixture
def deployer(tmp_path: Path) -> Iterator[ProcessArmDeployer]:
    with ProcessArmDeployer(tmp_path / "logs", profile_name="", fetch=_fetch, grace_seconds=0.0) as running:
        yield running
    assert psutil.Process().children() == []


class TestProcessArmDeployer(DeployerContract):
    @pytest.fixture
    def broken(self, tmp_path: Path) -> ModelVersion:
        return ModelVersion("shop", 9, uri=str(tmp_path / "nothing"))


def test_a_server_that_was_replaced_goes_on_until_routers_know(
    tmp_path: Path, model: ModelVersion, instances: pd.DataFrame
) -> None:
    predictor = HttpPredictor()
    newer = ModelVersion(model.name, model.version + 1, uri=model.uri)
    with ProcessArmDeployer(tmp_path / "logs", profile_name="", fetch=_fetch, grace_seconds=600.0) as patient:
        old = patient.deploy(model, arm="control")
        for _ in range(2):
            new = patient.deploy(newer, arm="control")
            for endpoint in (old, new):
                assert predictor.predict(endpoint, instances)["version"].unique().tolist() == [endpoint.version]
        patient.remove("control")
        assert psutil.Process().children() == []
        patient.deploy(model, arm="control")
        patient.deploy(newer, arm="control")
    assert psutil.Process().children() == []


def test_a_server_that_was_replaced_ends_when_its_arm_is_deployed_again(
    deployer: ProcessArmDeployer, model: ModelVersion
) -> None:
    newer = ModelVersion(model.name, model.version + 1, uri=model.uri)
    deployer.deploy(model, arm="control")
    (old,) = psutil.Process().children()
    new = deployer.deploy(newer, arm="control")
    assert old.is_running()
    assert deployer.deploy(newer, arm="control") == new
    assert not old.is_running()


def test_kills_a_server_that_will_not_end(deployer: ProcessArmDeployer, model: ModelVersion) -> None:
    deployer.deploy(model, arm="control")
    (child,) = psutil.Process().children()
    child.suspend()  # it cannot answer SIGTERM now
    deployer.remove("control")
    assert not child.is_running()


def test_gives_up_on_a_server_that_is_never_ready(tmp_path: Path, model: ModelVersion) -> None:
    impatient = ProcessArmDeployer(tmp_path, profile_name="", fetch=_fetch, ready_seconds=0.05)
    with pytest.raises(Unavailable, match=r"not ready after 0\.05 s"):
        impatient.deploy(model, arm="control")
    assert psutil.Process().children() == []


def test_refuses_an_arm_that_would_leave_the_folder(deployer: ProcessArmDeployer, model: ModelVersion) -> None:
    with pytest.raises(BadInput, match="not a valid name"):
        deployer.deploy(model, arm="../up")


def test_servers_die_with_a_parent_that_is_killed(bundle: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT, str(bundle)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        (child,) = psutil.Process(parent.pid).children()
        assert httpx.get(f"{url}/v1/models", trust_env=False).json() == {"models": ["shop"]}
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    with contextlib.suppress(psutil.NoSuchProcess):
        assert child.status() == psutil.STATUS_ZOMBIE


def test_one_server_over_http(
    deployer: ProcessArmDeployer, model: ModelVersion, instances: pd.DataFrame, tmp_path: Path
) -> None:
    """What an app meets: both protocols, and reasons in place of tracebacks."""
    endpoint = deployer.deploy(model, arm="control")
    predictor = HttpPredictor()
    with httpx.Client(base_url=endpoint.url, trust_env=False) as client:
        v2 = client.get("/v2/models/shop").json()
        assert {column["name"] for column in v2["inputs"]} == {"lcp_ms", "api_ms", "device"}
        tensors = [
            {"name": "lcp_ms", "shape": [1], "datatype": "FP64", "data": [1200.0]},
            {"name": "api_ms", "shape": [1], "datatype": "FP64", "data": [200.0]},
            {"name": "device", "shape": [1], "datatype": "BYTES", "data": ["mobile"]},
        ]
        answer = client.post("/v2/models/shop/infer", json={"inputs": tensors})
        assert answer.status_code == 200, answer.text
        assert {output["name"] for output in answer.json()["outputs"]} == {"probability", "uplift", "act", "version"}
        for content in (b"x", b"[]", b'{"instances": 1}', b'{"instances": [{"lcp_ms": "slow"}]}'):
            bad = client.post("/v1/models/shop:predict", content=content)
            assert bad.status_code == 400
            assert "Traceback" not in bad.text
        assert client.post("/v1/models/other:predict", json={"instances": []}).status_code == 404
    with pytest.raises(BadInput, match="lacks 'device'"):
        predictor.predict(endpoint, instances.drop(columns="device"))
    with pytest.raises(NotFound, match="answered 404"):
        predictor.predict(Endpoint("control", endpoint.url, "other", 1), instances)
    assert "Traceback" not in (tmp_path / "logs" / "control.log").read_text()
    deployer.remove("control")
    with pytest.raises(Unavailable, match="did not answer"):
        predictor.predict(endpoint, instances)
