"""Routes in a ConfigMap satisfy the contract, and no writer loses another's."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from trimtab.adapters.kubernetes import Objects, connect
from trimtab.adapters.kubernetes_routes import CONFIG_MAPS, KubernetesRoutes
from trimtab.adapters.routes import FileRoutes
from trimtab.errors import BadInput, Unavailable
from trimtab.ports import Routes
from trimtab.testing.kubernetes_double import KubernetesDouble, kubernetes_double
from trimtab.testing.routes import ROUTE, RoutesContract

KEY = ("configmaps", "default", "trimtab-routes")


@pytest.fixture
def cluster() -> Iterator[KubernetesDouble]:
    with kubernetes_double() as found:
        yield found


@pytest.fixture
def routes(cluster: KubernetesDouble, tmp_path: Path) -> Routes:
    api = connect(kubeconfig=str(cluster.kubeconfig(tmp_path / "config")))
    objects = Objects(api, CONFIG_MAPS, namespace="default", pause_seconds=0.01)
    return KubernetesRoutes(objects, name="trimtab-routes", hearing=timedelta(minutes=2))


class TestKubernetesRoutes(RoutesContract):
    pass


def test_the_chart_s_config_map_keeps_its_labels(cluster: KubernetesDouble, routes: Routes) -> None:
    chart = {"name": "trimtab-routes", "namespace": "default", "labels": {"app.kubernetes.io/part-of": "trimtab"}}
    cluster.store("configmaps", {"metadata": chart})
    routes.publish(ROUTE)
    assert cluster.objects[KEY]["metadata"]["labels"] == chart["labels"]


def test_a_rival_s_key_is_kept(cluster: KubernetesDouble, routes: Routes) -> None:
    routes.publish(replace(ROUTE, model="other"))
    cluster.rivals = 2
    routes.publish(ROUTE)
    assert set(routes.versions()) == {"shop", "other"}
    assert "rival" in cluster.objects[KEY]["metadata"]["annotations"]


def test_what_is_published_already_is_not_written_again(cluster: KubernetesDouble, routes: Routes) -> None:
    routes.publish(ROUTE)
    cluster.calls.clear()
    routes.publish(ROUTE)
    assert {method for method, _ in cluster.calls} == {"GET"}


def test_a_pod_that_mounts_it_reads_the_same_routes(cluster: KubernetesDouble, routes: Routes, tmp_path: Path) -> None:
    for model in ("shop", "a/b", "..", "hex.61"):
        routes.publish(replace(ROUTE, model=model))
    for key, document in cluster.objects[KEY]["data"].items():
        (tmp_path / key).write_text(document, encoding="utf-8")
    mounted = FileRoutes(tmp_path)
    assert set(mounted.versions()) == {"shop", "a/b", "..", "hex.61"}
    assert mounted.get("a/b") == replace(ROUTE, model="a/b")


def test_every_key_is_one_that_kubernetes_takes(cluster: KubernetesDouble, routes: Routes) -> None:
    routes.publish(replace(ROUTE, model="é %/..~"))
    [key] = cluster.objects[KEY]["data"]
    assert key.replace(".", "").replace("-", "").replace("_", "").isalnum()
    assert not key.startswith("..")


def test_a_document_that_a_person_broke_names_its_key(cluster: KubernetesDouble, routes: Routes) -> None:
    metadata = {"name": "trimtab-routes", "namespace": "default"}
    cluster.store("configmaps", {"metadata": metadata, "data": {"shop.json": "{}"}})
    with pytest.raises(BadInput, match=r"key 'shop\.json' of ConfigMap 'trimtab-routes'"):
        routes.get("shop")


def test_more_than_a_config_map_holds(routes: Routes) -> None:
    with pytest.raises(BadInput, match="cannot hold the routes of 1 models"):
        routes.publish(replace(ROUTE, attributes=("device", "x" * 1_000_000)))


def test_rights_that_are_missing_are_named(cluster: KubernetesDouble, routes: Routes) -> None:
    cluster.forbidden = {("get", "configmaps")}
    with pytest.raises(BadInput, match="may not get configmaps"):
        routes.get("shop")


def test_an_api_that_is_away(cluster: KubernetesDouble, routes: Routes) -> None:
    cluster.failures = [503] * 5
    with pytest.raises(Unavailable, match="503"):
        routes.get("shop")
    cluster.failures = [503, 429]
    assert routes.get("shop") is None
