"""How pods start, answer probes, spread, scale, give way and end."""

from typing import Any

import pytest

from serving.router.__main__ import _parser as router_parser
from tests.charts.rendering import NAMESPACE, Object, find, render, shape
from trimtab.controller.__main__ import _parser as controller_parser


def _router(objects: list[Object]) -> Any:
    [deployment] = find(objects, "Deployment", "-router")
    return deployment["spec"]


def _pod(spec: Any) -> Any:
    return spec["template"]["spec"]


def _container(spec: Any) -> Any:
    [container] = _pod(spec)["containers"]
    return container


def test_every_server_has_probes(objects: list[Object]) -> None:
    for one in find(objects, "Deployment"):
        container = _container(one["spec"])
        assert {"livenessProbe", "readinessProbe"} <= container.keys(), one["metadata"]["name"]
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            for way in ("httpGet", "tcpSocket"):
                assert container.get(probe, {}).get(way, {"port": next(iter(ports))})["port"] in ports


def test_the_router_s_probes_ask_for_what_they_mean() -> None:
    container = _container(_router(render()))
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_router_understands_its_command() -> None:
    container = _container(_router(render(shape("standard"))))
    assert container["command"] == ["python", "-m", "serving.router"]
    options = router_parser().parse_args(container["args"])
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {str(options.routes), str(options.spool)} <= mounts
    assert (options.host, options.port, options.workers, options.profile) == ("0.0.0.0", 8080, 2, "cluster")


@pytest.mark.parametrize(("source", "config_map"), [("configMap", "trimtab-routes"), ("home", "")])
def test_the_controller_understands_its_command_and_writes_routes_where_the_router_reads(
    source: str, config_map: str
) -> None:
    values = {"router": {"routesFrom": source}, "controller": {"everySeconds": 30, "logLevel": "DEBUG"}}
    objects = render(values)
    [deployment] = find(objects, "Deployment", "-controller")
    container = _container(deployment["spec"])
    assert container["command"] == ["python", "-m", "trimtab.controller"]
    options = controller_parser().parse_args(container["args"])
    assert (options.namespace, options.profile, options.lease) == (NAMESPACE, "cluster", "trimtab-controller")
    assert (options.routes, options.every, options.log_level) == (config_map, 30.0, "DEBUG")
    mounted = [one["configMap"]["name"] for one in _pod(_router(objects))["volumes"] if "configMap" in one]
    assert mounted == [one["metadata"]["name"] for one in find(objects, "ConfigMap", "-routes")]
    assert mounted == ([config_map] if config_map else [])


def test_an_ending_router_has_time_to_drain_and_to_flush(objects: list[Object]) -> None:
    spec = _router(objects)
    options = router_parser().parse_args(_container(spec)["args"])
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] > options.drain_seconds
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_routers_spread_over_zones_and_nodes(objects: list[Object]) -> None:
    spec = _router(objects)
    constraints = spec["template"]["spec"]["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in constraints} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert all(one["labelSelector"]["matchLabels"] == spec["selector"]["matchLabels"] for one in constraints)


@pytest.mark.parametrize(
    ("values", "made"),
    [
        ({"router": {"replicas": 1}}, False),
        ({"router": {"replicas": 2}}, True),
        ({"router": {"replicas": 2, "autoscaling": {"kind": "hpa", "minReplicas": 1}}}, False),
        ({"router": {"replicas": 1, "autoscaling": {"kind": "keda", "minReplicas": 2}}}, True),
    ],
)
def test_a_disruption_budget_only_where_a_pod_can_be_spared(values: Object, made: bool) -> None:
    assert bool(find(render(values), "PodDisruptionBudget", "-router")) == made


def test_the_controller_s_budget_comes_with_its_second_pod() -> None:
    assert not find(render(), "PodDisruptionBudget", "-controller")
    assert find(render({"controller": {"replicas": 2}}), "PodDisruptionBudget", "-controller")


@pytest.mark.parametrize(("kind", "hpas", "scaled"), [("none", 0, 0), ("hpa", 1, 0), ("keda", 0, 1)])
def test_one_scaler_at_most_and_it_owns_the_number_of_pods(kind: str, hpas: int, scaled: int) -> None:
    objects = render({"router": {"autoscaling": {"kind": kind}}})
    assert len(find(objects, "HorizontalPodAutoscaler")) == hpas
    assert len(find(objects, "ScaledObject")) == scaled
    assert ("replicas" in _router(objects)) == (kind == "none")


def test_either_scaler_waits_for_calm() -> None:
    for kind, part in (("hpa", "behavior"), ("keda", "advanced")):
        objects = render({"router": {"autoscaling": {"kind": kind, "scaleDownSeconds": 120}}})
        [scaler] = [one for name in ("HorizontalPodAutoscaler", "ScaledObject") for one in find(objects, name)]
        found = scaler["spec"][part]
        behavior = found["horizontalPodAutoscalerConfig"]["behavior"] if kind == "keda" else found
        assert behavior == {"scaleDown": {"stabilizationWindowSeconds": 120}}


def test_scalers_point_at_the_router() -> None:
    [hpa] = find(render(shape("standard")), "HorizontalPodAutoscaler")
    [keda] = find(render(shape("knative")), "ScaledObject")
    assert hpa["spec"]["scaleTargetRef"]["name"] == keda["spec"]["scaleTargetRef"]["name"] == "trimtab-router"


def test_the_spool_is_the_pod_s_or_shared() -> None:
    for name, field in (("defaults", "emptyDir"), ("standard", "persistentVolumeClaim")):
        volumes = {one["name"]: one for one in _router(render(shape(name)))["template"]["spec"]["volumes"]}
        assert field in volumes["spool"]


@pytest.mark.parametrize(("name", "kind"), [("standard", "HTTPRoute"), ("knative", "Ingress")])
def test_the_outside_reaches_predictions_and_outcomes_alone(name: str, kind: str) -> None:
    [route] = find(render(shape(name)), kind)
    paths = (
        [match["path"]["value"] for rule in route["spec"]["rules"] for match in rule["matches"]]
        if kind == "HTTPRoute"
        else [path["path"] for rule in route["spec"]["rules"] for path in rule["http"]["paths"]]
    )
    assert paths == ["/v1/models", "/v2/models", "/outcomes"]


def test_values_of_one_s_own_reach_the_pod() -> None:
    spec = _router(render(shape("bring-your-own")))["template"]["spec"]
    assert spec["priorityClassName"] == "production"
    assert {"name": "TZ", "value": "Etc/UTC"} in spec["containers"][0]["env"]
    assert {"name": "ca", "mountPath": "/etc/ssl/company", "readOnly": True} in spec["containers"][0]["volumeMounts"]
    assert {"name": "ca", "configMap": {"name": "company-ca"}} in spec["volumes"]


@pytest.mark.parametrize("component", ["router", "controller"])
def test_what_is_switched_off_leaves_nothing_behind(component: str) -> None:
    objects = render({component: {"enabled": False}})
    left = [one for one in objects if one["metadata"]["labels"]["app.kubernetes.io/component"] == component]
    assert {one["kind"] for one in left} <= {"ConfigMap"}  # the routes, which outlive both
