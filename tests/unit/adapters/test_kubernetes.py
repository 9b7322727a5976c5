"""The way into a cluster, and what its absence is called."""

from pathlib import Path

import pytest

from trimtab.adapters.kubernetes import Kind, Objects, connect, serialise
from trimtab.errors import BadInput, Unavailable
from trimtab.testing.kubernetes_double import Answer, Body, KubernetesDouble, kubernetes_double

SERVICES = Kind("serving.kserve.io", "v1beta1", "inferenceservices", "KServe")


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No pod, and nobody's own kubeconfig."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))


def objects(cluster: KubernetesDouble, folder: Path) -> Objects:
    api = connect(kubeconfig=str(cluster.kubeconfig(folder / "config")))
    return Objects(api, SERVICES, namespace="default", pause_seconds=0.01)


def test_a_cluster_that_is_not_configured() -> None:
    with pytest.raises(BadInput, match=r"no Kubernetes cluster is configured.*kubeconfig and context in the profile"):
        connect()
    with pytest.raises(BadInput, match="no Kubernetes cluster is configured"):
        connect(kubeconfig="/nowhere/config")


def test_a_context_that_the_kubeconfig_lacks(tmp_path: Path) -> None:
    config = KubernetesDouble(url="http://127.0.0.1:1").kubeconfig(tmp_path / "config")
    with pytest.raises(BadInput, match="no Kubernetes cluster is configured"):
        connect(kubeconfig=str(config), context="other")


def test_a_pod_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(BadInput, match="no Kubernetes cluster is configured"):
        connect()


def test_a_cluster_that_does_not_answer(tmp_path: Path) -> None:
    away = KubernetesDouble(url="http://127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"the Kubernetes API at http://127\.0\.0\.1:1 does not answer"):
        objects(away, tmp_path).get("shop")


def test_credentials_that_are_refused(tmp_path: Path) -> None:
    with kubernetes_double() as cluster:
        cluster.failures = [401]
        with pytest.raises(BadInput, match=r"refuses the credentials.*Renew"):
            objects(cluster, tmp_path).get("shop")


def test_the_words_of_the_api_reach_the_reader(tmp_path: Path) -> None:
    """An admission webhook's reason is the only help with an object that is refused."""
    with kubernetes_double() as cluster:
        cluster.failures = [422]
        with pytest.raises(BadInput, match="refuses inferenceservices 'shop' in namespace 'default': the storage"):
            objects(cluster, tmp_path).get("shop")


def test_an_answer_that_was_lost_is_no_second_object(tmp_path: Path) -> None:
    """The first attempt made the object though it was answered by a failure."""
    wanted = {"metadata": {"name": "shop", "namespace": "default", "labels": {}}, "spec": {"a": 1}}
    with kubernetes_double() as cluster:
        respond = cluster.respond

        def lose(method: str, path: str, query: dict[str, str], body: Body) -> Answer:
            answer = respond(method, path, query, body)
            return (500, {"message": "lost"}) if answer[0] == 201 else answer

        cluster.respond = lose  # type: ignore[method-assign]
        made = objects(cluster, tmp_path).apply("shop", lambda found: {**(found or wanted), "spec": {"a": 1}})
        assert made["spec"] == {"a": 1}
        assert len(cluster.objects) == 1


def test_deleting_what_is_not_there(tmp_path: Path) -> None:
    with kubernetes_double() as cluster:
        objects(cluster, tmp_path).delete("shop")
        assert objects(cluster, tmp_path).select({"a": "b"}) == []


def test_models_lose_their_empty_fields() -> None:
    from kubernetes import client

    assert serialise(client.V1ObjectMeta(name="shop", labels=None)) == {"name": "shop"}
