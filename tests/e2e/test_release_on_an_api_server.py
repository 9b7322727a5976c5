"""A release as Helm installs, upgrades, rolls back and removes it on a real API server: what stays, and what goes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from helm_python.chart import Chart
from helm_python.config import Config

from tests.charts.rendering import NAMESPACE, TRIMTAB
from tests.e2e.kube_api import ADMIN, NEEDS_SERVER, ApiServer, Hand, Object, api_server
from trimtab.adapters.kubernetes import Objects
from trimtab.adapters.kubernetes_routes import CONFIG_MAPS

# Without kinds that an old API server has not, and without hooks that wait for a pod to end: nobody starts pods here.
VALUES: Object = {"router": {"replicas": 1}, "compaction": {"cron": ""}, "embedded": {"enabled": True}}
ROUTES = {"shop.json": "{}"}
GENERATED = ("trimtab-environment", "trimtab-tokens", "trimtab-arms")
CORE = ("Secret", "ConfigMap", "PersistentVolumeClaim", "Service", "ServiceAccount")
RBAC = "rbac.authorization.k8s.io/v1"
KINDS = (
    *(("v1", kind) for kind in CORE),
    *(("apps/v1", "Deployment"), ("networking.k8s.io/v1", "NetworkPolicy"), (RBAC, "Role"), (RBAC, "RoleBinding")),
)
_SECONDS = 60

pytestmark = NEEDS_SERVER


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api"), users={}) as running:
        Hand(running.client()).create_namespaces(NAMESPACE, "beside")
        yield running


@pytest.fixture
def hand(server: ApiServer) -> Hand:
    return Hand(server.client())


@pytest.fixture
def chart(tmp_path: Path) -> Chart:
    """The chart without its bound on Kubernetes' version, which a server built from source does not tell."""
    copied = Path(shutil.copytree(TRIMTAB, tmp_path / "trimtab"))
    metadata = yaml.safe_load((copied / "Chart.yaml").read_text(encoding="utf-8"))
    (copied / "Chart.yaml").write_text(yaml.safe_dump({**metadata, "kubeVersion": ">=0.0.0-0"}), encoding="utf-8")
    (copied / "templates" / "embedded" / "stores.yaml").unlink()
    return Chart.load(copied)


def _helm(server: ApiServer, namespace: str) -> Config:
    return Config(kubeconfig_path=server.kubeconfig(ADMIN, namespace=namespace), namespace=namespace)


def _secrets(hand: Hand, namespace: str) -> list[Object]:
    return [hand.call("get", "v1", "Secret", name, namespace=namespace)["data"] for name in GENERATED]


def _routes(hand: Hand, namespace: str) -> Object:
    found = hand.call("get", "v1", "ConfigMap", "trimtab-routes", namespace=namespace)
    return dict(found.get("data") or {})


def test_what_the_release_generated_or_was_written_outlives_its_upgrades(
    server: ApiServer, hand: Hand, chart: Chart
) -> None:
    helm = _helm(server, NAMESPACE)
    helm.install(chart, "trimtab", VALUES, timeout=_SECONDS)
    passwords = _secrets(hand, NAMESPACE)
    config_maps = Objects(server.client(), CONFIG_MAPS, namespace=NAMESPACE)
    config_maps.apply("trimtab-routes", lambda found: {**(found or {}), "data": ROUTES})  # as the controller does

    helm.upgrade(chart, "trimtab", {**VALUES, "commonLabels": {"team": "growth"}}, timeout=_SECONDS)
    found = hand.call("get", "v1", "ConfigMap", "trimtab-routes", namespace=NAMESPACE)
    assert found["metadata"]["labels"]["team"] == "growth"
    assert (_routes(hand, NAMESPACE), _secrets(hand, NAMESPACE)) == (ROUTES, passwords)

    helm.rollback("trimtab", version=1, timeout=_SECONDS)
    assert (_routes(hand, NAMESPACE), _secrets(hand, NAMESPACE)) == (ROUTES, passwords)

    helm.uninstall("trimtab", timeout=_SECONDS)
    left = {(kind, one["metadata"]["name"]) for api, kind in KINDS for one in hand.all(api, kind, namespace=NAMESPACE)}
    assert left == {("PersistentVolumeClaim", "trimtab-home"), ("ConfigMap", "trimtab-routes")}

    helm.install(chart, "trimtab", VALUES, timeout=_SECONDS)  # a release of the same name takes both over again
    assert _routes(hand, NAMESPACE) == ROUTES


def test_two_releases_live_in_one_namespace(server: ApiServer, hand: Hand, chart: Chart) -> None:
    helm = _helm(server, "beside")
    for name in ("trimtab", "second"):
        helm.install(chart, name, VALUES, timeout=_SECONDS)
    selected = [one["spec"]["selector"] for one in hand.all("v1", "Service", namespace="beside")]
    pods = [
        one["spec"]["template"]["metadata"]["labels"] for one in hand.all("apps/v1", "Deployment", namespace="beside")
    ]
    for selector in selected:
        assert sum(selector.items() <= labels.items() for labels in pods) == 1
