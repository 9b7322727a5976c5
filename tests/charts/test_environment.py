"""Every process that loads the `cluster` profile finds every variable of it."""

import re
from pathlib import Path

import pytest

from pipelines.options import OPTIONAL_ENVIRONMENT, REQUIRED_ENVIRONMENT
from tests.charts.rendering import NAMESPACE, Object, containers, find, render, shape
from trimtab.profile import load_profile, shipped_profiles

VARIABLES = set(re.findall(r"\$\{(\w+)", shipped_profiles()["cluster"].read_text(encoding="utf-8")))
# An app's, to report outcomes with; no process of the chart does.
NOT_OURS = {"TRIMTAB_OUTCOMES_TOKEN"}
CREDENTIALS = {"MLFLOW_TRACKING_URI": "http://mlflow:5000", "TRIMTAB_EVENTS": "s3://shop/events",
               "TRIMTAB_ONLINE_STORE": "redis://redis:6379/0", "KFP_ENDPOINT": "http://kfp:8888"}  # fmt: skip


def _loads_the_profile(container: Object) -> bool:
    return any("--profile=cluster" in word for word in container.get("args", []))


def test_every_variable_of_the_profile_is_set(objects: list[Object]) -> None:
    loading = [(where, one) for where, one in containers(objects) if _loads_the_profile(one)]
    assert loading
    for where, container in loading:
        names = {variable["name"] for variable in container["env"]}
        assert names >= VARIABLES - NOT_OURS, where


def test_the_profile_loads_from_what_a_container_is_given(
    objects: list[Object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for _, container in containers(objects):
        if _loads_the_profile(container):
            for variable in container["env"]:
                monkeypatch.setenv(variable["name"], variable.get("value", CREDENTIALS.get(variable["name"], "given")))
            profile = load_profile("cluster")
            assert profile.home == Path("/var/lib/trimtab")
            assert profile.deployer.kind == "kserve"


def test_two_releases_in_one_namespace_own_different_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = set()
    for name in ("trimtab", "second"):
        [controller] = find(render(name=name), "Deployment", "-controller")
        for variable in controller["spec"]["template"]["spec"]["containers"][0]["env"]:
            monkeypatch.setenv(variable["name"], variable.get("value", CREDENTIALS.get(variable["name"], "given")))
        deployer = load_profile("cluster").deployer
        assert deployer.kind == "kserve"
        owners.add(deployer.instance)
    assert owners == {"trimtab", "second-trimtab"}


def test_no_variable_is_set_twice(objects: list[Object]) -> None:
    for where, container in containers(objects):
        names = [variable["name"] for variable in container.get("env", [])]
        assert len(names) == len(set(names)), where


def test_a_referenced_key_of_the_environment_is_one_that_is_documented() -> None:
    documented = {*REQUIRED_ENVIRONMENT, *OPTIONAL_ENVIRONMENT, "KFP_TOKEN"}
    for where, container in containers(render(shape("standard"))):
        for variable in container.get("env", []):
            secret = variable.get("valueFrom", {}).get("secretKeyRef", {})
            if secret.get("name") == "trimtab-environment":
                assert secret["key"] in documented, where


def test_the_generated_environment_has_what_pipelines_and_arms_read() -> None:
    secrets = {one["metadata"]["name"]: one["stringData"] for one in find(render(shape("embedded")), "Secret")}
    assert {*REQUIRED_ENVIRONMENT, *OPTIONAL_ENVIRONMENT} - {"AWS_REGION"} <= secrets["trimtab-environment"].keys()
    needed = set(re.findall(r"\$\{(\w+)\}", shipped_profiles()["cluster"].read_text(encoding="utf-8")))
    assert needed <= secrets["trimtab-arms"].keys()
    assert secrets["trimtab-arms"]["TRIMTAB_STUDY_STORAGE"] == ""
    assert secrets["trimtab-arms"]["TRIMTAB_PSEUDONYM_KEY"] == secrets["trimtab-environment"]["TRIMTAB_PSEUDONYM_KEY"]


@pytest.mark.parametrize("namespace", ["", "models"])
def test_arms_have_an_account_that_reads_models_from_the_embedded_store(namespace: str) -> None:
    objects = render({**shape("embedded"), "serving": {"namespace": namespace}})
    [account] = find(objects, "ServiceAccount", "-arms")
    [secret] = find(objects, "Secret", "-models")
    assert account["secrets"] == [{"name": secret["metadata"]["name"]}]
    assert account["metadata"]["namespace"] == secret["metadata"]["namespace"] == (namespace or NAMESPACE)
    where = secret["metadata"]["annotations"]
    [environment] = find(objects, "Secret", "-environment")
    scheme = "https" if where["serving.kserve.io/s3-usehttps"] == "1" else "http"
    found = environment["stringData"]
    assert f"{scheme}://{where['serving.kserve.io/s3-endpoint']}" == found["AWS_ENDPOINT_URL"]
    assert secret["stringData"].items() <= found.items()
    assert _serving_account(objects) == account["metadata"]["name"]


def test_an_account_of_one_s_own_serves_the_arms() -> None:
    named = {"serving": {"serviceAccountName": "model-reader"}}
    assert _serving_account(render({**shape("embedded"), **named})) == "model-reader"
    assert _serving_account(render(named)) == "model-reader"
    assert not _serving_account(render())


def _serving_account(objects: list[Object]) -> str:
    [controller] = find(objects, "Deployment", "-controller")
    [container] = controller["spec"]["template"]["spec"]["containers"]
    [value] = [one["value"] for one in container["env"] if one["name"] == "TRIMTAB_SERVING_ACCOUNT"]
    return str(value)
