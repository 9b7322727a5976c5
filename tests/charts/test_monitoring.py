"""Dashboard and alerts speak of metrics that the servers really have."""

import json
import re
from typing import Any

import pytest

from tests.charts import promql
from tests.charts.rendering import Object, find, render, shape

PROMETHEUS = "monitoring.coreos.com/v1"
OTHERS = {"kube_job_failed"}  # of kube-state-metrics


def _dashboard(objects: list[Object]) -> Any:
    [config] = find(objects, "ConfigMap", "-dashboard")
    return json.loads(config["data"]["trimtab.json"])


def _panels() -> list[str]:
    """Expressions of the dashboard."""
    return [query["expr"] for panel in _dashboard(render())["panels"] for query in panel.get("targets", [])]


def _alerts() -> list[Any]:
    [rule] = find(render(shape("standard")), "PrometheusRule")
    return [alert for group in rule["spec"]["groups"] for alert in group["rules"]]


def _assert_served(expressions: list[str]) -> None:
    """Each is of Prometheus' language, and reads metrics that are there by labels that they have."""
    assert expressions
    for expression in expressions:
        for use in promql.uses(expression):
            if use.metric not in OTHERS:
                assert use.metric in promql.served(), expression
                assert use.labels <= promql.served()[use.metric], expression


def test_the_dashboard_reads_what_is_served() -> None:
    _assert_served(_panels())


def test_every_alert_reads_what_is_served() -> None:
    alerts = _alerts()
    _assert_served([alert["expr"] for alert in alerts])
    for alert in alerts:
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["description"]
        assert alert["labels"]["severity"] in ("warning", "critical")


def test_a_try_that_failed_before_one_that_did_not_is_no_failed_job() -> None:
    [alert] = [one for one in _alerts() if one["alert"] == "TrimtabJobFailed"]
    [use] = promql.uses(alert["expr"])  # `kube_job_status_failed` would count pods, of which a Job may lose some
    assert use.metric == "kube_job_failed"
    assert "condition" in use.labels


def test_an_alert_tells_labels_that_its_expression_keeps() -> None:
    for alert in _alerts():
        told = set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"])))
        for use in promql.uses(alert["expr"]):
            kept = use.labels if use.summed else promql.served()[use.metric]
            assert told <= kept, alert["alert"]


def test_the_scaler_reads_what_is_served() -> None:
    [scaled] = find(render(shape("knative")), "ScaledObject")
    [query] = [one["metadata"]["query"] for one in scaled["spec"]["triggers"] if one["type"] == "prometheus"]
    _assert_served([query])


@pytest.mark.parametrize(
    "wrong",
    [
        "sum by (model (rate(trimtab_router_requests_total[5m]))",
        "rate(trimtab_router_requests_total)",
        "sum by (modl) (rate(trimtab_router_requests_total[5m]))",
        "rate(trimtab_router_request_total[5m])",
        'rate(trimtab_router_requests_total{code="503"}[5m])',
    ],
)
def test_a_slip_in_an_expression_is_found(wrong: str) -> None:
    with pytest.raises((ValueError, AssertionError)):
        _assert_served([wrong])


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


def test_arms_are_watched_though_the_router_is_another_s() -> None:
    without = render({"router": {"enabled": False}}, api_versions=[PROMETHEUS])
    assert not find(without, "ServiceMonitor")
    assert find(without, "PodMonitor", "-arms")
    [rule] = find(without, "PrometheusRule")
    groups = [group["name"] for group in rule["spec"]["groups"]]
    assert groups == ["trimtab.experiments", "trimtab.arms", "trimtab.jobs"]


def test_monitors_find_the_router_s_service() -> None:
    objects = render(shape("standard"))
    [monitor] = find(objects, "ServiceMonitor")
    [service] = find(objects, "Service", "-router")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
