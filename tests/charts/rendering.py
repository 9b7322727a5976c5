"""Renders the charts with Helm itself, as `helm install` would, without a cluster."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import _native
from helm_python.chart import Chart

CHARTS = Path(__file__).parents[2] / "charts"
TRIMTAB = CHARTS / "trimtab"
DEFINITIONS = CHARTS / "trimtab-crds"
SHAPES = {path.name.removesuffix("-values.yaml"): path for path in sorted((TRIMTAB / "ci").glob("*-values.yaml"))}
NAMESPACE = "shop"

Object = dict[str, Any]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where there is one: ten times faster


@cache
def _rendered(chart: Path, values: str, options: str) -> dict[str, str]:
    # The wrapper's own `render` has no argument for the cluster's APIs; the library beneath it has.
    text = _native.call_string("helm_render", _loaded(chart)._raw(), values, options)
    files: dict[str, str] = json.loads(text)
    return files


@cache
def _loaded(chart: Path) -> Chart:
    return Chart.load(chart)


def render(
    values: Mapping[str, Any] | None = None,
    *,
    chart: Path = TRIMTAB,
    name: str = "trimtab",
    kube_version: str = "",
    api_versions: Sequence[str] = (),
) -> list[Object]:
    """The objects of a release.

    Args:
        values: What a user sets.
        chart: Folder of the chart.
        name: Name of the release.
        kube_version: Kubernetes' version; Helm's own default where empty.
        api_versions: APIs that the cluster has besides the built-in ones.
    """
    files = _files(values, chart=chart, name=name, kube_version=kube_version, api_versions=api_versions)
    return [
        document
        for path, text in sorted(files.items())
        if path.endswith(".yaml")
        for document in yaml.load_all(text, Loader=_LOADER)
        if document
    ]


def notes(values: Mapping[str, Any] | None = None, *, api_versions: Sequence[str] = ()) -> str:
    """What Helm shows after an installation.

    Args:
        values: What a user sets.
        api_versions: APIs that the cluster has besides the built-in ones.
    """
    files = _files(values, chart=TRIMTAB, name="trimtab", kube_version="", api_versions=api_versions)
    [text] = [text for path, text in files.items() if path.endswith("NOTES.txt")]
    return text


def _files(
    values: Mapping[str, Any] | None, *, chart: Path, name: str, kube_version: str, api_versions: Sequence[str]
) -> dict[str, str]:
    options: Object = {"name": name, "namespace": NAMESPACE}
    if kube_version:
        options["kube_version"] = kube_version
    if api_versions:
        options["api_versions"] = list(api_versions)
    return _rendered(chart, json.dumps(values or {}), json.dumps(options))


def shape(name: str) -> Object:
    """The values of one supported shape; none for `defaults`."""
    return {} if name == "defaults" else dict(yaml.safe_load(SHAPES[name].read_text(encoding="utf-8")))


def find(objects: Sequence[Object], kind: str, suffix: str = "") -> list[Object]:
    """Objects of a kind, by the end of their name."""
    return [one for one in objects if one["kind"] == kind and one["metadata"]["name"].endswith(suffix)]


def pod_specs(objects: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod that the objects start, with a name for messages."""
    for one in objects:
        spec = one.get("spec", {})
        where = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] == "Pod":
            yield where, spec
        elif one["kind"] in ("Deployment", "Job"):
            yield where, spec["template"]["spec"]
        elif one["kind"] == "CronJob":
            yield where, spec["jobTemplate"]["spec"]["template"]["spec"]


def containers(objects: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """Every container of every pod."""
    for where, spec in pod_specs(objects):
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            yield f"{where} / {container['name']}", container
