"""What every `Deployer` must do: subclass the suite and give it its fixtures."""

import httpx
import pandas as pd
import pytest

from trimtab.adapters.inference import HttpPredictor
from trimtab.errors import Unavailable
from trimtab.ports import Deployer
from trimtab.types import Endpoint, ModelVersion


class DeployerContract:
    """The suite.

    Fixtures: `deployer`; `model`, a version whose bundle is sound; `broken`, one whose bundle is not; `instances`, rows
    that the model can answer.
    """

    def test_answers_as_soon_as_deploy_returns(
        self, deployer: Deployer, model: ModelVersion, instances: pd.DataFrame
    ) -> None:
        """Ready means that the first request succeeds, and that it says which version answered."""
        endpoint = deployer.deploy(model, arm="control")
        answers = HttpPredictor().predict(endpoint, instances)
        assert endpoint == Endpoint("control", endpoint.url, model.name, model.version)
        assert len(answers) == len(instances)
        assert answers["version"].unique().tolist() == [model.version]
        assert answers["probability"].between(0, 1).all()

    def test_replaces_the_server_of_an_arm(
        self, deployer: Deployer, model: ModelVersion, instances: pd.DataFrame
    ) -> None:
        """The new version answers, the other arm is left alone."""
        deployer.deploy(model, arm="control")
        other = deployer.deploy(model, arm="treatment")
        newer = ModelVersion(model.name, model.version + 1, uri=model.uri)
        new = deployer.deploy(newer, arm="control")
        predictor = HttpPredictor()
        assert predictor.predict(new, instances)["version"].unique().tolist() == [newer.version]
        assert len(predictor.predict(other, instances)) == len(instances)

    def test_leaves_a_server_that_serves_the_version(self, deployer: Deployer, model: ModelVersion) -> None:
        """Whoever makes the world as it should be may ask again and again."""
        assert deployer.deploy(model, arm="control") == deployer.deploy(model, arm="control")

    def test_removes_an_arm_and_only_that(self, deployer: Deployer, model: ModelVersion) -> None:
        """Removing twice, or what never was, is no error."""
        endpoint = deployer.deploy(model, arm="control")
        deployer.remove("control", model=model.name)
        deployer.remove("control", model=model.name)
        deployer.remove("never", model=model.name)
        assert _is_silent(endpoint)

    def test_says_why_a_server_did_not_start(self, deployer: Deployer, broken: ModelVersion) -> None:
        """The operator sees the server's own words."""
        with pytest.raises(Unavailable, match="no model in"):
            deployer.deploy(broken, arm="control")


def _is_silent(endpoint: Endpoint) -> bool:
    try:
        httpx.get(endpoint.url, trust_env=False, timeout=2.0)
    except httpx.TransportError:
        return True
    return False
