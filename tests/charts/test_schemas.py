"""Every object of every shape is valid: core kinds over a range of Kubernetes versions, others by their definitions."""

import copy
import json
from functools import cache
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from kubernetes_validate import utils

from tests.charts import crds
from tests.charts.conftest import EVERY
from tests.charts.rendering import Object, find, pod_specs, render, shape

# From the oldest that the chart accepts to the newest that the validator knows.
VERSIONS = ("1.30", "1.33", "1.37")
# Defined by others, and in none of the stored definitions.
UNKNOWN = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}


_READ = utils.schema_contents


def _core(one: Object) -> bool:
    group = one["apiVersion"].split("/")[0]
    return "." not in group or (group.endswith(".k8s.io") and group != "gateway.networking.k8s.io")


def _every(*, core: bool, kube_version: str = "") -> list[Object]:
    """The objects of all shapes, those that several have in common once."""
    found = {
        json.dumps(one, sort_keys=True): one
        for name in EVERY
        for one in render(shape(name), kube_version=kube_version)
        if _core(one) == core
    }
    return list(found.values())


@pytest.fixture(autouse=True)
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator reads its schemas anew for each object, which is most of its time."""
    monkeypatch.setattr(utils, "schema_contents", _contents)


@cache
def _contents(filename: str, desired_version: str) -> Any:
    return _READ(filename, desired_version)


@pytest.mark.parametrize("version", VERSIONS)
def test_core_kinds_are_valid(version: str) -> None:
    for one in _every(core=True, kube_version=f"v{version}.0"):
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{one['kind']} {one['metadata']['name']}: {error.message}")


def test_custom_kinds_are_valid() -> None:
    checked = [one for one in _every(core=False) if one["kind"] not in UNKNOWN]
    for one in checked:
        crds.check(one)
    assert {one["kind"] for one in checked} == {"HTTPRoute", "ScaledObject", "ServingRuntime"}


def test_an_unknown_field_of_a_custom_kind_is_found() -> None:
    [route] = find(render(shape("standard")), "HTTPRoute")
    wrong = copy.deepcopy(route)
    wrong["spec"]["rules"][0]["backendRef"] = wrong["spec"]["rules"][0].pop("backendRefs")
    with pytest.raises(jsonschema.ValidationError, match="backendRef"):
        crds.check(wrong)


def test_an_unknown_field_of_a_core_kind_is_found() -> None:
    [service] = find(render(), "Service")
    service["spec"]["selektor"] = service["spec"].pop("selector")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, VERSIONS[-1], strict=True)


NUMBERS: Object = {
    "nameOverride": "4714",
    "serving": {"namespace": "4711"},
    "kubeflow": {"namespace": "4712"},
    "environment": {"existingSecret": "1"},
    "secrets": {"existingSecret": "2"},
    "objectStore": {"existingSecret": "3", "region": "4"},
    "home": {"existingClaim": "5"},
    "router": {"priorityClassName": "7", "spool": {"kind": "claim", "storageClassName": "7"}},
}


@pytest.mark.parametrize("name", ["standard", "embedded"])
def test_names_that_look_like_numbers_stay_text(name: str) -> None:
    values = shape(name)
    merged = {key: {**values[key], **more} if key in values else more for key, more in NUMBERS.items()}
    for one in render({**values, **merged}, name="4713"):
        if _core(one):
            kubernetes_validate.validate(one, VERSIONS[-1], strict=True)


def test_long_numbers_are_written_out() -> None:
    values: Object = {
        **shape("standard"),
        "security": {"runAsUser": 1_000_650_000, "fsGroup": 1_000_650_000},  # as OpenShift hands them out
        "jobs": {"activeDeadlineSeconds": 1_209_600},
    }
    objects = render(values)
    for where, spec in pod_specs(objects):
        context = spec["securityContext"]
        assert [type(context[key]) for key in ("runAsUser", "runAsGroup", "fsGroup")] == [int] * 3, where
    for one in find(objects, "CronJob"):
        assert repr(one["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"]) == "1209600"
