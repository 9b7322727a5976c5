"""The deployer among other people's clusters: stale statuses, rivals, failures, rights, restarts and deletions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.kserve import KserveArmDeployer
from trimtab.errors import BadInput, Unavailable
from trimtab.profile import KserveDeployer
from trimtab.testing.kserve_double import KserveDouble, PaperNode
from trimtab.testing.kubernetes_double import Answer, Body, KubernetesDouble, kubernetes_double
from trimtab.types import Endpoint, ModelVersion

KEY = ("inferenceservices", "default", "shop-control")


def version(number: int, *, name: str = "shop") -> ModelVersion:
    return ModelVersion(name, number, uri=f"s3://models/{name}/{number}")


@pytest.fixture
def node() -> PaperNode:
    return PaperNode()


@pytest.fixture
def cluster(node: PaperNode) -> Iterator[KubernetesDouble]:
    controller = KserveDouble(node, lag=2)
    with kubernetes_double(controller) as double:
        yield double
    controller.close()


@pytest.fixture(params=["Standard", "Knative"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def deployer(cluster: KubernetesDouble, folder: Path, *, rollout: str = "", **fields: Any) -> KserveArmDeployer:
    """A deployer as another process would make it."""
    config = str(cluster.kubeconfig(folder / "kubeconfig"))
    settings = KserveDeployer(kind="kserve", kubeconfig=config, **{"ready_seconds": 5.0, **fields})
    return KserveArmDeployer(settings, rollout=rollout, poll_seconds=0.01)


def test_a_status_of_the_version_before_is_not_believed(
    cluster: KubernetesDouble, node: PaperNode, tmp_path: Path, mode: str
) -> None:
    """The double says `Ready` of the old pods for a while, as KServe does."""
    arms = deployer(cluster, tmp_path, mode=mode)
    first = arms.deploy(version(3), arm="control")
    assert first.version == 3
    assert cluster.objects[KEY]["status"]["conditions"][-1] == {"type": "Ready", "status": "True"}
    second = arms.deploy(version(4), arm="control")
    assert second.version == 4
    assert "4" in node.running.values()
    assert [found["status"] for found in cluster.objects[KEY]["status"]["conditions"]] == ["True"] * 3
    suffix = "predictor" if mode == "Standard" else "predictor-00002"
    assert second == Endpoint("control", f"http://shop-control-{suffix}.default.svc.cluster.local", "shop", 4)


def test_the_same_again_changes_nothing(cluster: KubernetesDouble, tmp_path: Path) -> None:
    first = deployer(cluster, tmp_path).deploy(version(3), arm="control")
    writes = [call for call in cluster.calls if call[0] in ("POST", "PUT")]
    assert deployer(cluster, tmp_path).deploy(version(3), arm="control") == first
    assert [call for call in cluster.calls if call[0] in ("POST", "PUT")] == writes


def test_a_rival_is_not_overwritten(cluster: KubernetesDouble, tmp_path: Path) -> None:
    """Somebody creates the service in the same moment, and somebody annotates it in the moment of the next write."""
    cluster.rivals = 1
    arms = deployer(cluster, tmp_path)
    arms.deploy(version(3), arm="control")
    cluster.rivals = 2
    assert arms.deploy(version(4), arm="control").version == 4
    assert cluster.objects[KEY]["metadata"]["annotations"]["rival"] == "0"
    cluster.rivals = 1000
    with pytest.raises(Unavailable, match="changed by somebody else all the time"):
        arms.deploy(version(5), arm="control")


def test_failures_of_the_api_are_waited_out(cluster: KubernetesDouble, tmp_path: Path) -> None:
    cluster.failures = [500, 503, 429]
    assert deployer(cluster, tmp_path).deploy(version(3), arm="control").version == 3
    cluster.failures = [500] * 100
    with pytest.raises(Unavailable, match=r"HTTP 500.*the storage is away"):
        deployer(cluster, tmp_path).deploy(version(3), arm="control")


def test_a_failed_version_leaves_the_arm_as_it_was(
    cluster: KubernetesDouble, node: PaperNode, tmp_path: Path, mode: str
) -> None:
    """The reason is the server's own, and nothing is waited for: its exit code says that it is of no use."""
    node.broken = {"4": "error: there is no model in /mnt/models."}
    arms = deployer(cluster, tmp_path, mode=mode, ready_seconds=60.0)
    arms.deploy(version(3), arm="control")
    with pytest.raises(Unavailable, match=r"does not start.*there is no model in /mnt/models.*kubectl -n default") as e:
        arms.deploy(version(4), arm="control")
    assert "version 4 of model 'shop' for arm 'control'" in str(e.value)
    assert cluster.objects[KEY]["spec"]["predictor"]["labels"]["trimtab.dev/version"] == "3"
    with pytest.raises(Unavailable, match="no model in"):
        arms.deploy(version(4), arm="treatment")
    assert ("inferenceservices", "default", "shop-treatment") not in cluster.objects


def test_a_failure_of_the_version_before_is_not_this_ones(cluster: KubernetesDouble, tmp_path: Path) -> None:
    """KServe tells of a failed pod until it has looked at the pods again."""
    arms = deployer(cluster, tmp_path)
    arms.deploy(version(3), arm="control")
    failure = {"reason": "ModelLoadFailed", "message": "no model", "exitCode": 2}
    respond = cluster.respond

    def linger(method: str, path: str, query: dict[str, str], body: Body) -> Answer:
        answer = respond(method, path, query, body)
        if method == "PUT":
            status = cluster.objects[KEY]["status"]
            status["modelStatus"] = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": failure}
        return answer

    cluster.respond = linger  # type: ignore[method-assign]
    assert arms.deploy(version(4), arm="control").version == 4


def test_a_server_that_may_recover_is_given_its_time(
    cluster: KubernetesDouble, node: PaperNode, tmp_path: Path, mode: str
) -> None:
    """Exit code 3 says that something else was away; Kubernetes starts the container again."""
    node.broken, node.exit_code = {"4": "error: Redis is away."}, 3
    with pytest.raises(Unavailable, match=r"not ready after 0\.3 s.*Redis is away"):
        deployer(cluster, tmp_path, mode=mode, ready_seconds=0.3).deploy(version(4), arm="control")


def test_another_process_can_go_on(cluster: KubernetesDouble, node: PaperNode, tmp_path: Path) -> None:
    deployer(cluster, tmp_path).deploy(version(3), arm="control")
    deployer(cluster, tmp_path).remove("control", model="shop")
    assert cluster.objects == {}
    assert node.running == {}


def test_an_arm_of_another_model_is_left_alone(cluster: KubernetesDouble, tmp_path: Path) -> None:
    deployer(cluster, tmp_path).deploy(version(3), arm="control")
    deployer(cluster, tmp_path).deploy(version(1, name="cart"), arm="control")
    deployer(cluster, tmp_path).remove("control", model="shop")
    assert ("inferenceservices", "default", "cart-control") in cluster.objects
    assert KEY not in cluster.objects


def test_a_rollout_keeps_its_services(cluster: KubernetesDouble, tmp_path: Path) -> None:
    spring = deployer(cluster, tmp_path, rollout="spring")
    spring.deploy(version(3), arm="control")
    with pytest.raises(BadInput, match="belongs to rollout 'spring'"):
        deployer(cluster, tmp_path).deploy(version(4), arm="control")
    deployer(cluster, tmp_path, rollout="autumn").remove("control", model="shop")
    deployer(cluster, tmp_path).remove("control", model="shop")
    assert KEY in cluster.objects
    spring.remove("control", model="shop")
    assert KEY not in cluster.objects
    spring.deploy(version(3), arm="control")
    deployer(cluster, tmp_path, rollout="autumn").remove("control", model="shop", rollout="spring")
    assert KEY not in cluster.objects


def test_others_services_are_not_touched(cluster: KubernetesDouble, tmp_path: Path) -> None:
    deployer(cluster, tmp_path, instance="theirs").deploy(version(3), arm="control")
    ours = deployer(cluster, tmp_path)
    with pytest.raises(BadInput, match="not this installation's"):
        ours.deploy(version(4), arm="control")
    ours.remove("control", model="shop")
    assert KEY in cluster.objects


def test_the_mode_of_a_service_stays(cluster: KubernetesDouble, tmp_path: Path) -> None:
    deployer(cluster, tmp_path).deploy(version(3), arm="control")
    with pytest.raises(BadInput, match="made for Standard mode, which KServe never changes"):
        deployer(cluster, tmp_path, mode="Knative").deploy(version(4), arm="control")


def test_a_service_that_is_being_deleted_is_made_anew(cluster: KubernetesDouble, tmp_path: Path) -> None:
    arms = deployer(cluster, tmp_path)
    arms.deploy(version(3), arm="control")
    uid = cluster.objects[KEY]["metadata"]["uid"]
    cluster.farewell = 3
    arms.remove("control", model="shop")  # returns once it is gone
    assert KEY not in cluster.objects
    arms.deploy(version(3), arm="control")
    cluster.farewell = 3
    cluster.objects[KEY]["metadata"]["deletionTimestamp"] = "2026-03-01T00:00:00Z"
    assert arms.deploy(version(4), arm="control").version == 4
    assert cluster.objects[KEY]["metadata"]["uid"] != uid
    assert "deletionTimestamp" not in cluster.objects[KEY]["metadata"]


def test_missing_rights_are_named(cluster: KubernetesDouble, tmp_path: Path) -> None:
    arms = deployer(cluster, tmp_path)
    cluster.forbidden = {("create", "inferenceservices")}
    with pytest.raises(BadInput, match=r"may not create inferenceservices in namespace 'default'.*docs/kserve\.md"):
        arms.deploy(version(3), arm="control")
    cluster.forbidden = {("get", "deployments")}
    with pytest.raises(BadInput, match="may not get deployments"):
        arms.deploy(version(3), arm="control")


def test_what_a_cluster_lacks_is_named(cluster: KubernetesDouble, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="namespace 'models' does not exist"):
        deployer(cluster, tmp_path, namespace="models").deploy(version(3), arm="control")
    cluster.plurals.discard("inferenceservices")
    with pytest.raises(BadInput, match="KServe is not installed in the cluster"):
        deployer(cluster, tmp_path).deploy(version(3), arm="control")


def test_a_deleted_service_is_not_waited_for(cluster: KubernetesDouble, tmp_path: Path) -> None:
    """Somebody deletes the service while it starts."""
    arms = deployer(cluster, tmp_path, ready_seconds=60.0)
    cluster.controller = None
    store = cluster.store

    def lose(plural: str, body: dict[str, Any]) -> dict[str, Any]:
        made = store(plural, body)
        cluster.objects.clear()
        return made

    cluster.store = lose  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="Somebody deleted its service"):
        arms.deploy(version(3), arm="control")
