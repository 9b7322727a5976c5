"""Dashboard and alerts speak of metrics that the servers really have."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.charts.rendering import Object, find, render, shape

SOURCE = Path(__file__).parents[2]
PROMETHEUS = "monitoring.coreos.com/v1"
# What a client library adds to a metric's name.
SUFFIXES = "(_total|_bucket|_count|_sum)?"


def _metrics() -> set[str]:
    """Names in the code that serves them."""
    found: set[str] = set()
    for folder in ("serving", "trimtab/controller", "trimtab/adapters"):
        for path in (SOURCE / folder).rglob("*.py"):
            found |= set(re.findall(r"\"(trimtab_\w+)\"", path.read_text(encoding="utf-8")))
    return found


def _dashboard(objects: list[Object]) -> Any:
    [config] = find(objects, "ConfigMap", "-dashboard")
    return json.loads(config["data"]["trimtab.json"])


def _named(expression: str) -> set[str]:
    return set(re.findall(r"\btrimtab_\w+", expression))


def _assert_exist(names: set[str]) -> None:
    known = _metrics()
    assert names
    for name in names:
        assert any(re.fullmatch(metric + SUFFIXES, name) for metric in known), name


def test_the_dashboard_s_metrics_exist() -> None:
    panels = _dashboard(render())["panels"]
    _assert_exist({name for panel in panels for query in panel.get("targets", []) for name in _named(query["expr"])})


def test_every_alert_s_metrics_exist() -> None:
    [rule] = find(render(shape("standard")), "PrometheusRule")
    alerts = [alert for group in rule["spec"]["groups"] for alert in group["rules"]]
    _assert_exist({name for alert in alerts for name in _named(alert["expr"])})
    for alert in alerts:
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["description"]
        assert alert["labels"]["severity"] in ("warning", "critical")


def test_the_scaler_s_metric_exists() -> None:
    [scaled] = find(render(shape("knative")), "ScaledObject")
    [query] = [one["metadata"]["query"] for one in scaled["spec"]["triggers"] if one["type"] == "prometheus"]
    _assert_exist(_named(query))


def test_panels_have_their_own_place_and_number() -> None:
    panels = _dashboard(render())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))


def test_expressions_are_balanced() -> None:
    [rule] = find(render(shape("standard")), "PrometheusRule")
    expressions = [alert["expr"] for group in rule["spec"]["groups"] for alert in group["rules"]]
    panels = _dashboard(render())["panels"]
    expressions += [query["expr"] for panel in panels for query in panel.get("targets", [])]
    for expression in expressions:
        for opening, closing in ("()", "{}", "[]"):
            assert expression.count(opening) == expression.count(closing), expression


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor", "PrometheusRule"])
def test_prometheus_objects_are_made_where_the_api_is(kind: str) -> None:
    assert not find(render(), kind)
    assert find(render(api_versions=[PROMETHEUS]), kind)
    assert not find(render(shape("bring-your-own"), api_versions=[PROMETHEUS]), kind)
    assert find(render(shape("standard")), kind)


def test_a_serving_runtime_is_made_where_kserve_is() -> None:
    assert not find(render(), "ServingRuntime")
    assert find(render(api_versions=["serving.kserve.io/v1alpha1"]), "ServingRuntime")


def test_a_controller_s_metrics_are_read_and_let_through() -> None:
    objects = render(shape("standard"))
    [monitor] = find(objects, "PodMonitor", "-controller")
    [deployment] = find(objects, "Deployment", "-controller")
    [policy] = find(objects, "NetworkPolicy", "-controller")
    pod = deployment["spec"]["template"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    [read] = monitor["spec"]["podMetricsEndpoints"]
    [let_in] = policy["spec"]["ingress"]
    assert [port["port"] for port in let_in["ports"]] == [ports[read["port"]]]


def test_what_is_not_installed_is_not_watched() -> None:
    without = render({"controller": {"enabled": False}}, api_versions=[PROMETHEUS])
    assert not find(without, "PodMonitor", "-controller")
    [rule] = find(without, "PrometheusRule")
    assert "trimtab.experiments" not in {group["name"] for group in rule["spec"]["groups"]}


def test_monitors_find_the_router_s_service() -> None:
    objects = render(shape("standard"))
    [monitor] = find(objects, "ServiceMonitor")
    [service] = find(objects, "Service", "-router")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
