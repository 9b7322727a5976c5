"""Default deny, and the few ways that are open, read as a small graph."""

from typing import Any

from tests.charts.rendering import NAMESPACE, Object, find, pod_specs, render, shape
from trimtab.adapters.kserve.manifests import inference_service
from trimtab.profile import KserveDeployer
from trimtab.types import ModelVersion


def _policy(objects: list[Object], component: str) -> Any:
    [policy] = [one for one in find(objects, "NetworkPolicy") if one["metadata"]["name"] == f"trimtab-{component}"]
    return policy["spec"]


def _ports(rules: list[Any]) -> set[int]:
    return {port["port"] for rule in rules for port in rule["ports"]}


def _components(rules: list[Any], side: str) -> set[str]:
    return {
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for rule in rules
        for peer in rule.get(side, [])
        if "matchLabels" in peer.get("podSelector", {})
    }


def test_everything_is_denied_first(objects: list[Object]) -> None:
    policy = _policy(objects, "default-deny")
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & policy.keys()
    assert set(policy["podSelector"]["matchLabels"]) == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}


def test_every_pod_has_a_policy_of_its_own(objects: list[Object]) -> None:
    selected = {
        one["spec"]["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/component")
        for one in find(objects, "NetworkPolicy")
    }
    for one in objects:
        if any(pod_specs([one])):
            assert one["metadata"]["labels"]["app.kubernetes.io/component"] in selected, one["metadata"]["name"]


def test_no_way_is_open_on_every_port(objects: list[Object]) -> None:
    for one in find(objects, "NetworkPolicy"):
        for rule in [*one["spec"].get("ingress", []), *one["spec"].get("egress", [])]:
            assert rule["ports"], one["metadata"]["name"]


def test_every_way_out_begins_with_a_name(objects: list[Object]) -> None:
    for one in find(objects, "NetworkPolicy"):
        if one["spec"].get("egress"):
            assert _ports(one["spec"]["egress"][:1]) == {53}, one["metadata"]["name"]


def test_the_router_reaches_arms_and_the_log_but_not_the_api_server() -> None:
    policy = _policy(render(shape("air-gapped")), "router")
    assert _ports(policy["egress"]) == {53, 8080, 443}
    [arms] = [rule for rule in policy["egress"] if _ports([rule]) == {8080}]
    [peer] = arms["to"]
    assert peer["podSelector"]["matchExpressions"] == [
        {"key": "serving.kserve.io/inferenceservice", "operator": "Exists"}
    ]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}
    assert [peer for rule in policy["egress"] for peer in rule["to"] if "ipBlock" in peer] == [
        {"ipBlock": {"cidr": "10.0.1.7/32"}}
    ]


def test_only_the_router_and_prometheus_reach_arms() -> None:
    policy = _policy(render(), "arms")
    assert _components(policy["ingress"], "from") == {"router"}
    assert {"key": "trimtab.dev/version", "operator": "Exists"} in policy["podSelector"]["matchExpressions"]
    peers = [peer for rule in policy["ingress"] for peer in rule["from"]]
    assert {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in peers} == {
        NAMESPACE,
        "monitoring",
    }


def test_knative_requests_pass_its_own_namespaces() -> None:
    objects = render(shape("knative"))
    for policy, rules, side in (("router", "egress", "to"), ("arms", "ingress", "from")):
        names = {
            peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            for rule in _policy(objects, policy)[rules]
            for peer in rule.get(side, [])
            if "matchLabels" in peer.get("namespaceSelector", {})
        }
        assert {"knative-serving", "kourier-system", "istio-system"} <= names


def test_knative_s_autoscaler_reads_how_busy_an_arm_is() -> None:
    rules = _policy(render(shape("knative")), "arms")["ingress"]
    [scraped] = [rule for rule in rules if 9090 in _ports([rule])]
    assert {"knative-serving"} <= {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in scraped["from"]
    }
    assert 9090 not in _ports(_policy(render(shape("standard")), "arms")["ingress"])


def test_the_controller_reaches_the_api_server_and_only_its_metrics_are_reached() -> None:
    policy = _policy(render(shape("air-gapped")), "controller")
    [metrics] = policy["ingress"]
    assert metrics["ports"] == [{"port": 8081, "protocol": "TCP"}]
    assert len(metrics["from"]) == 1
    assert _policy(render({"networkPolicy": {"metricsFrom": []}}), "controller")["ingress"] == []
    assert {"ports": [{"port": 6443, "protocol": "TCP"}], "to": [{"ipBlock": {"cidr": "10.0.0.10/32"}}]} in policy[
        "egress"
    ]


def test_named_callers_are_the_only_ones_but_for_metrics_and_the_release_s_own() -> None:
    policy = _policy(render(shape("air-gapped")), "router")
    assert _components(policy["ingress"], "from") == {"helm-test", "rollout"}
    named = {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for rule in policy["ingress"]
        for peer in rule["from"]
        if "namespaceSelector" in peer
    }
    assert named == {"shop-frontend", "monitoring"}


def test_embedded_stores_are_reached_by_name() -> None:
    objects = render(shape("embedded"))
    assert _components(_policy(objects, "postgresql")["ingress"], "from") == {"mlflow", "materialize", "score"}
    assert _policy(objects, "redis")["egress"] == []
    assert "minio" in _components(_policy(objects, "router")["egress"], "to")


def test_runs_of_every_pool_reach_the_stores_that_the_release_brings() -> None:
    policy = _policy(render({**shape("gaudi"), "mlflow": {"enabled": True}}), "mlflow")
    callers = [peer for rule in policy["ingress"] for peer in rule["from"] if "namespaceSelector" in peer]
    assert {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in callers} == {
        NAMESPACE,
        "shop-gaudi",
    }
    assert {one["key"] for peer in callers for one in peer["podSelector"]["matchExpressions"]} == {"pipeline/runid"}


def test_arms_in_another_namespace_find_the_embedded_stores_where_they_are() -> None:
    policy = _policy(render({**shape("embedded"), "serving": {"namespace": "models"}}), "arms")
    stores = [peer for rule in policy["egress"] for peer in rule["to"] if "podSelector" in peer]
    assert len(stores) == 3
    for peer in stores:
        assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}


def test_policies_can_be_left_to_others() -> None:
    assert find(render({"networkPolicy": {"enabled": False}}), "NetworkPolicy") == []


def test_arms_are_selected_by_a_label_that_the_deployer_gives_their_pods() -> None:
    model = ModelVersion("shop", 4, uri="s3://models/m-4/artifacts/bundle")
    service = inference_service(model, KserveDeployer(kind="kserve"), arm="treatment", rollout="spring")
    given = service["spec"]["predictor"]["labels"]
    objects = render(shape("standard"))
    [monitor] = find(objects, "PodMonitor", "-arms")
    for selector in (_policy(objects, "arms")["podSelector"], monitor["spec"]["selector"]):
        own = {one["key"] for one in selector["matchExpressions"]} - {"serving.kserve.io/inferenceservice"}
        assert own
        assert own <= given.keys()
