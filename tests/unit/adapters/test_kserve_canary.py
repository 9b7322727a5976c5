"""Canaries by share: the field of the mode, back at once, and no field that KServe ignores."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.kserve import KserveCanary
from trimtab.errors import BadInput, NotFound, Unavailable
from trimtab.profile import KserveDeployer
from trimtab.testing.kserve_double import KserveDouble, PaperNode
from trimtab.testing.kubernetes_double import KubernetesDouble, kubernetes_double
from trimtab.types import Endpoint, ModelVersion

KEY = ("inferenceservices", "default", "shop")
URL = "http://shop.default.example.com"


def version(number: int) -> ModelVersion:
    return ModelVersion("shop", number, uri=f"s3://models/shop/{number}")


@pytest.fixture
def node() -> PaperNode:
    return PaperNode()


@pytest.fixture
def cluster(node: PaperNode) -> Iterator[KubernetesDouble]:
    controller = KserveDouble(node)
    with kubernetes_double(controller) as double:
        yield double
    controller.close()


@pytest.fixture(params=["Standard", "Knative"])
def canary(request: pytest.FixtureRequest, cluster: KubernetesDouble, tmp_path: Path) -> KserveCanary:
    return made(cluster, tmp_path, mode=request.param)


def made(cluster: KubernetesDouble, folder: Path, **fields: Any) -> KserveCanary:
    config = str(cluster.kubeconfig(folder / "kubeconfig"))
    settings = KserveDeployer(kind="kserve", kubeconfig=config, **{"ready_seconds": 2.0, **fields})
    return KserveCanary("shop", settings, poll_seconds=0.01)


def share(cluster: KubernetesDouble) -> dict[str, int]:
    """Percent of the requests by version, as the cluster splits them."""
    service = cluster.objects[KEY]
    spec = service["spec"]
    if "traffic" in service["status"].get("components", {}).get("predictor", {}):
        traffic = service["status"]["components"]["predictor"]["traffic"]
        revisions = {item["revisionName"]: item["percent"] for item in traffic}
        labels = {name: cluster.objects["revisions", "default", name]["metadata"]["labels"] for name in revisions}
        return {labels[name]["trimtab.dev/version"]: percent for name, percent in revisions.items()}
    canaries = {item["name"]: item["trafficPercent"] for item in service["status"].get("canaryStatuses", ())}
    return {
        **{name.removeprefix("v"): percent for name, percent in canaries.items()},
        spec["predictor"]["labels"]["trimtab.dev/version"]: 100 - sum(canaries.values()),
    }


def test_grows_and_is_promoted(canary: KserveCanary, cluster: KubernetesDouble, node: PaperNode) -> None:
    assert canary.serve(version(3)) == Endpoint("", URL, "shop", 3)
    for percent in (0, 10, 50):
        assert canary.set(version(4), percent) == Endpoint("", URL, "shop", 3)
        assert share(cluster) == {"4": percent, "3": 100 - percent}
    starts = len(node.running)
    assert canary.promote() == Endpoint("", URL, "shop", 4)
    assert share(cluster) == {"4": 100}
    assert len(node.running) <= starts, "the canary's own pods go on"
    with pytest.raises(BadInput, match="no canary to promote"):
        canary.promote()
    canary.set(version(5), 5)
    assert share(cluster) == {"5": 5, "4": 95}


def test_goes_back_at_once(canary: KserveCanary, cluster: KubernetesDouble) -> None:
    canary.serve(version(3))
    canary.set(version(4), 50)
    assert canary.roll_back() == Endpoint("", URL, "shop", 3)
    assert share(cluster)["3"] == 100
    assert canary.roll_back().version == 3
    canary.set(version(5), 20)
    assert share(cluster) == {"5": 20, "3": 80}


def test_a_candidate_that_never_starts_gets_no_request(
    canary: KserveCanary, cluster: KubernetesDouble, node: PaperNode
) -> None:
    node.broken = {"4": "error: no model in /mnt/models."}
    canary.serve(version(3))
    with pytest.raises(Unavailable, match=r"version 4 at 20% of 'shop'.*(no model in|CanariesNotReady)"):
        canary.set(version(4), 20)
    assert canary.roll_back().version == 3
    assert share(cluster)["3"] == 100
    assert "4" not in node.running.values()


def test_one_canary_at_a_time(canary: KserveCanary) -> None:
    with pytest.raises(NotFound, match="has no service yet"):
        canary.set(version(4), 10)
    canary.serve(version(3))
    canary.set(version(4), 10)
    with pytest.raises(BadInput, match="version 4 is the canary"):
        canary.set(version(5), 10)
    with pytest.raises(BadInput, match="a canary of model 'shop' is running"):
        canary.serve(version(5))


def test_promotion_in_standard_mode_starts_nothing(cluster: KubernetesDouble, node: PaperNode, tmp_path: Path) -> None:
    canary = made(cluster, tmp_path)
    canary.serve(version(3))
    canary.set(version(4), 25)
    assert node.running == {"shop-v3-predictor": "3", "shop-v4-predictor": "4"}
    canary.promote()
    assert node.running == {"shop-v4-predictor": "4"}
    assert node.stopped == ["shop-v3-predictor"]


def test_removes_its_service(canary: KserveCanary, cluster: KubernetesDouble) -> None:
    canary.remove()
    canary.serve(version(3))
    canary.remove()
    assert cluster.objects == {}
