"""Every shape renders, and the objects fit together: names, labels, references."""

import re
import tarfile
from pathlib import Path

import pytest
from helm_python.chart import Chart, lint

from tests.charts.rendering import (
    DEFINITIONS,
    NAMESPACE,
    SHAPES,
    TRIMTAB,
    Object,
    find,
    notes,
    pod_specs,
    render,
    shape,
)
from trimtab.errors import BadInput

PARTS = ("name", "instance", "component", "version", "managed-by", "part-of")
STANDARD = {"helm.sh/chart", *(f"app.kubernetes.io/{part}" for part in PARTS)}


def test_the_shapes_that_are_promised_are_there() -> None:
    assert {
        "standard",
        "knative",
        "cpu",
        "gpu",
        "gaudi",
        "air-gapped",
        "bring-your-own",
        "embedded",
        "rollout",
    } == SHAPES.keys()


@pytest.mark.parametrize("name", ["defaults", *SHAPES])
def test_lint_finds_nothing(name: str) -> None:
    report = lint(TRIMTAB, shape(name), strict=True, namespace=NAMESPACE)
    assert [one for one in report["messages"] if one["severity"] > 1] == []
    assert report["errors"] == []


def test_lint_finds_nothing_in_the_definitions() -> None:
    assert lint(DEFINITIONS, strict=True)["errors"] == []


def test_every_object_has_the_labels_and_a_namespace(objects: list[Object]) -> None:
    for one in objects:
        assert one["metadata"]["labels"].keys() >= STANDARD, one["metadata"]["name"]
        assert one["metadata"]["namespace"], one["metadata"]["name"]


def test_no_two_objects_share_a_name(objects: list[Object]) -> None:
    names = [(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in objects]
    assert len(names) == len(set(names))


def test_names_fit_kubernetes_whatever_the_release_is_called() -> None:
    for one in render(shape("standard"), name="a-release-with-a-name-that-is-longer-than-most"):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", one["metadata"]["name"])
        assert len(one["metadata"]["name"]) <= (52 if one["kind"] == "CronJob" else 63)


def test_selectors_select_the_pods_of_their_own_component(objects: list[Object]) -> None:
    for one in find(objects, "Deployment"):
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in find(objects, "Deployment")]
    for service in find(objects, "Service"):
        assert sum(service["spec"]["selector"].items() <= labels.items() for labels in pods) == 1


def test_what_pods_name_is_made_by_the_chart_or_is_a_value(objects: list[Object]) -> None:
    made = {(one["kind"], one["metadata"]["name"]) for one in objects}
    own = {
        "my-environment",
        "my-tokens",
        "trimtab-environment",
        "trimtab-secrets",
        "object-store",
        "team-volume",
        "company-ca",
    }
    for where, spec in pod_specs(objects):
        assert ("ServiceAccount", spec["serviceAccountName"]) in made, where
        for volume in spec["volumes"]:
            for kind, field, key in (
                ("ConfigMap", "configMap", "name"),
                ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName"),
            ):
                if field in volume:
                    name = volume[field][key]
                    assert (kind, name) in made or name in own, where
        for container in spec["containers"]:
            mounts = {mount["name"] for mount in container["volumeMounts"]}
            assert mounts <= {volume["name"] for volume in spec["volumes"]}, where
            for variable in container.get("env", []):
                secret = variable.get("valueFrom", {}).get("secretKeyRef")
                assert secret is None or ("Secret", secret["name"]) in made or secret["name"] in own, where


def test_common_labels_reach_every_object() -> None:
    for one in render({**shape("embedded"), "commonLabels": {"team": "growth"}}):
        assert one["metadata"]["labels"]["team"] == "growth"


def test_an_upgrade_never_says_anything_about_routes() -> None:
    [routes] = find(render(), "ConfigMap", "-routes")
    assert "data" not in routes
    assert routes["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_images_come_from_one_registry_and_by_digest_where_given() -> None:
    images = {
        container["image"]
        for _, spec in pod_specs(render(shape("air-gapped")))
        for container in [*spec.get("initContainers", []), *spec["containers"]]
    }
    assert images
    assert all(
        re.fullmatch(r"registry\.internal\.example/mirror/trimtab/[a-z-]+@sha256:[0-9a-f]{64}", one) for one in images
    )


def test_the_defaults_name_no_registry() -> None:
    assert all(
        "." not in container["image"].split("/")[0]
        for _, spec in pod_specs(render())
        for container in spec["containers"]
    )


def test_what_is_packaged_renders_the_same_and_holds_what_a_user_reads(tmp_path: Path) -> None:
    archive = Path(Chart.load(TRIMTAB).save(tmp_path))
    assert render(shape("standard"), chart=archive) == render(shape("standard"))
    with tarfile.open(archive) as packed:
        names = {name.removeprefix("trimtab/") for name in packed.getnames()}
    assert {"README.md", "values.yaml", "values.schema.json", "files/dashboard.json", "files/prediction.py"} <= names
    assert not [name for name in names if name.startswith("ci/") or name in ("INTRODUCTION.md", "schema.yaml")]


def test_the_notes_say_what_is_missing_and_what_to_do_next() -> None:
    bare = notes()
    assert "trimtab-environment" in bare
    assert "KServe was not found" in bare
    assert "install the chart trimtab-crds" in bare
    assert f"code {BadInput.exit_code})" in " ".join(bare.split())  # as the controller ends without its definition
    assert "helm test trimtab --namespace shop" in bare
    whole = notes(api_versions=["serving.kserve.io/v1beta1", "trimtab.dev/v1alpha1"])
    assert "KServe" not in whole
    assert "trimtab-crds" not in whole
    assert "Network policies are off" in notes({"networkPolicy": {"enabled": False}})
