"""The chart of the definitions keeps each as it is written, and outlives its release unless told otherwise."""

import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.charts.rendering import DEFINITIONS, Object, render

DEFINITION: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "samples.trimtab.dev", "annotations": {"trimtab.dev/note": "kept"}},
    "spec": {
        "group": "trimtab.dev",
        "names": {"kind": "Sample", "listKind": "SampleList", "plural": "samples", "singular": "sample"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"share": {"type": "number", "maximum": 1}},
                                "x-kubernetes-validations": [
                                    {"rule": "self.share > 0 && self.share <= 1", "message": "share: \"0\" to '1'"}
                                ],
                            }
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """The chart with one definition more."""
    copied = Path(shutil.copytree(DEFINITIONS, tmp_path / "trimtab-crds"))
    (copied / "crds-source" / "samples.yaml").write_text(yaml.safe_dump(DEFINITION))
    return copied


def _sample(chart: Path, values: dict[str, Any]) -> Object:
    [found] = [one for one in render(values, chart=chart) if one["metadata"]["name"] == "samples.trimtab.dev"]
    return found


def test_a_definition_is_rendered_as_it_is_written(chart: Path) -> None:
    found = _sample(chart, {})
    assert found["spec"] == DEFINITION["spec"]
    kubernetes_validate.validate(found, "1.30", strict=True)


@pytest.mark.parametrize(("keep", "policy"), [(True, "keep"), (False, None)])
def test_definitions_outlive_the_release_unless_told_otherwise(chart: Path, keep: bool, policy: str | None) -> None:
    annotations = _sample(chart, {"keep": keep})["metadata"]["annotations"]
    assert annotations.get("helm.sh/resource-policy") == policy
    assert annotations["trimtab.dev/note"] == "kept"


def test_the_definitions_that_come_along_are_valid() -> None:
    for one in render(chart=DEFINITIONS):
        assert one["kind"] == "CustomResourceDefinition"
        kubernetes_validate.validate(one, "1.30", strict=True)
