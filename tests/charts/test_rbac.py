"""Who may do what at the API server: as little as the work needs, and nothing by wildcard."""

import re
from pathlib import Path

import pytest

from tests.charts.rendering import NAMESPACE, Object, find, render, shape


def test_no_wildcard_and_nothing_beyond_a_namespace(objects: list[Object]) -> None:
    assert find(objects, "ClusterRole") == find(objects, "ClusterRoleBinding") == []
    for role in find(objects, "Role"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_nobody_reads_secrets_or_runs_pods(objects: list[Object]) -> None:
    for role in find(objects, "Role"):
        for rule in role["rules"]:
            assert not {"secrets", "pods", "pods/exec", "serviceaccounts/token", "roles"} & set(rule["resources"])
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_every_binding_is_of_a_role_and_an_account_that_are_there(objects: list[Object]) -> None:
    roles = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in find(objects, "Role")}
    accounts = {one["metadata"]["name"] for one in find(objects, "ServiceAccount")}
    for binding in find(objects, "RoleBinding"):
        assert (binding["metadata"]["namespace"], binding["roleRef"]["name"]) in roles
        assert all(one["name"] in accounts and one["namespace"] == NAMESPACE for one in binding["subjects"])


def test_the_controller_writes_one_config_map() -> None:
    [role] = find(render(), "Role", "-controller")
    [rule] = [one for one in role["rules"] if one["resources"] == ["configmaps"]]
    assert rule["resourceNames"] == ["trimtab-routes"]
    assert rule["verbs"] == ["get", "update"]


def test_routes_on_the_shared_volume_need_no_right() -> None:
    [role] = find(render({"router": {"routesFrom": "home"}}), "Role", "-controller")
    assert "configmaps" not in [resource for rule in role["rules"] for resource in rule["resources"]]


def test_the_lease_goes_with_the_election() -> None:
    [role] = find(render({"controller": {"leaderElection": {"enabled": False}}}), "Role", "-controller")
    assert "leases" not in [resource for rule in role["rules"] for resource in rule["resources"]]


def test_arms_live_where_the_values_say() -> None:
    [role] = find(render(shape("bring-your-own")), "Role", "-arms")
    assert role["metadata"]["namespace"] == "shop-models"


@pytest.mark.parametrize(("mode", "other"), [("Standard", "deployments"), ("Knative", "revisions")])
def test_arms_are_made_with_the_rights_that_the_guide_names(mode: str, other: str) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "kserve.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)`[^|]*\| `(\w+)` \| ([\w, ]+) \|$", guide, re.MULTILINE)
    documented = {resource: (group, set(verbs.split(", "))) for group, resource, verbs in rows}
    [role] = find(render({"serving": {"mode": mode}}), "Role", "-arms")
    granted = {rule["resources"][0]: (rule["apiGroups"][0], set(rule["verbs"])) for rule in role["rules"]}
    assert granted == {name: documented[name] for name in ("inferenceservices", other)}


def test_arms_belong_to_whoever_drives_rollouts() -> None:
    [binding] = find(render(shape("rollout")), "RoleBinding", "-arms")
    assert [one["name"] for one in binding["subjects"]] == ["trimtab-rollouts"]


def test_kubeflow_is_asked_only_for_what_launching_needs() -> None:
    [role] = find(render(shape("standard")), "Role", "-pipelines")
    assert {rule["resources"][0]: set(rule["verbs"]) for rule in role["rules"]} == {
        "runs": {"create", "get", "list", "terminate"},
        "jobs": {"create", "delete", "get", "list"},
        "experiments": {"create", "get", "list"},
    }
    assert find(render(shape("cpu")), "Role", "-pipelines") == []


def test_a_pool_of_its_own_namespace_gets_its_own_rights() -> None:
    roles = find(render(shape("gaudi")), "Role", "-pipelines")
    assert {role["metadata"]["namespace"] for role in roles} == {NAMESPACE, "shop-gaudi"}
