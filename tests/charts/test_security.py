"""Pod Security "restricted" for every container of every shape, and no Secret's content in a manifest."""

import re

import pytest

from tests.charts.rendering import Object, containers, find, pod_specs, render, shape
from trimtab.adapters.kserve.manifests import inference_service
from trimtab.profile import KserveDeployer
from trimtab.types import ModelVersion


def test_every_pod_is_restricted(objects: list[Object]) -> None:
    for where, spec in pod_specs(objects):
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, where
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), where
        assert all("hostPath" not in volume for volume in spec["volumes"]), where


def test_every_container_is_hardened(objects: list[Object]) -> None:
    for where, container in containers(objects):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, where
        assert security["readOnlyRootFilesystem"] is True, where
        assert security["capabilities"] == {"drop": ["ALL"]}, where
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}, where


def test_every_container_asks_for_resources_and_has_a_memory_limit(objects: list[Object]) -> None:
    for where, container in containers(objects):
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), where
        assert "memory" in container["resources"]["limits"], where


def test_only_who_drives_rollouts_has_a_token_for_the_api_server(objects: list[Object]) -> None:
    with_token = {where for where, spec in pod_specs(objects) if spec["automountServiceAccountToken"]}
    assert all(re.match("Deployment trimtab-controller|Job trimtab-rollout-", where) for where in with_token)
    for account in find(objects, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_the_platform_may_choose_the_user() -> None:
    for where, spec in pod_specs(render(shape("bring-your-own"))):
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & spec["securityContext"].keys(), where


def test_credentials_come_by_reference_alone(objects: list[Object]) -> None:
    for where, container in containers(objects):
        for variable in container.get("env", []):
            if any(word in variable["name"] for word in ("TOKEN", "KEY", "PASSWORD", "STORE", "STORAGE")):
                assert "valueFrom" in variable or variable["value"] == "", f"{where}: {variable['name']}"


def test_only_the_embedded_stores_bring_a_secret(objects: list[Object]) -> None:
    embedded = bool(find(objects, "Deployment", "-postgresql"))
    assert bool(find(objects, "Secret")) == embedded


def test_generated_passwords_differ_from_release_to_release() -> None:
    passwords = set()
    for name in ("trimtab", "trimtab-two"):
        [secret] = find(render(shape("embedded"), name=name), "Secret", "-environment")
        passwords |= {secret["stringData"][key] for key in ("POSTGRES_PASSWORD", "REDIS_PASSWORD")}
    assert len(passwords) == 4


def test_the_router_holds_no_credential_of_the_database() -> None:
    for _, container in containers(find(render(shape("standard")), "Deployment", "-router")):
        named = {one["name"] for one in container["env"] if "valueFrom" in one}
        assert named == {"TRIMTAB_EVENTS", "TRIMTAB_PSEUDONYM_KEY", "TRIMTAB_OUTCOMES_TOKEN", "TRIMTAB_ADMIN_TOKEN"}


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
def test_arms_which_kserve_starts_are_hardened_alike_and_have_no_token(mode: str) -> None:
    settings = KserveDeployer.model_validate({"kind": "kserve", "mode": mode})
    model = ModelVersion("shop", 4, uri="s3://models/m-4/artifacts/bundle")
    predictor = inference_service(model, settings, arm="treatment")["spec"]["predictor"]
    assert predictor["automountServiceAccountToken"] is False
    [container] = predictor["containers"]
    router = dict(containers(find(render(), "Deployment", "-router")))["Deployment trimtab-router / router"]
    assert container["securityContext"] == router["securityContext"]
