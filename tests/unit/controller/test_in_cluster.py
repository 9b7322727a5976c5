"""The controller with the adapters that it has in a cluster: InferenceServices and a ConfigMap, by a real client."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from trimtab.adapters.kserve import KserveArmDeployer
from trimtab.adapters.kubernetes import Objects, connect
from trimtab.adapters.kubernetes_routes import CONFIG_MAPS, KubernetesRoutes
from trimtab.controller.operator import RolloutPorts
from trimtab.controller.reconcile import Outcome, reconcile, release
from trimtab.errors import BadInput
from trimtab.ports import Ports, Routes
from trimtab.profile import KserveDeployer
from trimtab.rollout.resource import ServingResources, read_metadata, read_resource
from trimtab.runtime import Runtime, load
from trimtab.testing.kserve_double import KserveDouble, PaperNode
from trimtab.testing.kubernetes_double import KubernetesDouble, kubernetes_double
from trimtab.testing.model_experiment import model_experiment
from trimtab.testing.ports import StepPorts

SERVING = {"kind": "kserve", "ready_seconds": 20}


@pytest.fixture
def node() -> PaperNode:
    return PaperNode()


@pytest.fixture
def cluster(node: PaperNode, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesDouble]:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    kserve = KserveDouble(node)
    with kubernetes_double(kserve) as found:
        yield found
    kserve.close()


class ClusterPorts(StepPorts):
    """A registry in memory and a store in a folder, but services and routes in the double of a cluster."""

    def __init__(self, home: Path, cluster: KubernetesDouble, *, rollout: str) -> None:
        super().__init__(home)
        self._api = connect(kubeconfig=str(cluster.kubeconfig(home / "config")))
        settings = KserveDeployer.model_validate(SERVING)
        self._kserve = KserveArmDeployer(settings, rollout=rollout, api=self._api, poll_seconds=0.01)
        self.registry.put("shop", 1, "s3://models/1", "champion")
        self.registry.put("shop", 2, "s3://models/2", "challenger")

    @property
    def deployer(self) -> Any:
        """InferenceServices."""
        return self._kserve

    @property
    def routes(self) -> Routes:
        """Keys of a ConfigMap."""
        objects = Objects(self._api, CONFIG_MAPS, namespace="default", pause_seconds=0.01)
        return KubernetesRoutes(objects, name="trimtab-routes", hearing=self.hearing)


@pytest.fixture
def ports(tmp_path: Path, cluster: KubernetesDouble) -> Ports:
    return cast(Ports, ClusterPorts(tmp_path, cluster, rollout="checkout"))


@pytest.fixture
def body() -> dict[str, Any]:
    found = model_experiment()
    found["metadata"]["creationTimestamp"] = "2026-03-01T00:00:00Z"
    return found


def seen(body: dict[str, Any], ports: Ports) -> Outcome:
    outcome = reconcile(read_resource(body), ports, now=datetime.now(UTC))
    body["status"] = dict(outcome.status)
    return outcome


def services(cluster: KubernetesDouble) -> set[str]:
    """Arms that have a service."""
    found = [body for key, body in cluster.objects.items() if key[0] == "inferenceservices"]
    return {str(one["metadata"]["labels"]["trimtab.dev/arm"]) for one in found}


def test_services_come_before_the_route_and_go_after_it(
    body: dict[str, Any], ports: Ports, cluster: KubernetesDouble
) -> None:
    seen(body, ports)
    seen(body, ports)
    assert services(cluster) == {"checkout-control", "checkout-treatment"}
    route = ports.routes.get("shop")
    assert route is not None
    assert {arm: target.url for arm, target in route.arms.items()} == {
        arm["name"]: arm["url"] for arm in body["status"]["arms"]
    }
    made = [path.rpartition("/")[2] for method, path in cluster.calls if method == "POST"]
    assert made == ["inferenceservices", "inferenceservices", "configmaps"]
    cast(ClusterPorts, ports).hearing = timedelta(minutes=2)
    release(read_metadata(body), ports, now=datetime.now(UTC))
    assert services(cluster) == {"checkout-control", "checkout-treatment"}
    route = ports.routes.get("shop")
    assert route is not None
    assert set(route.arms) == {"control"}


def test_rivals_and_an_api_that_fails_for_a_while_are_outlasted(
    body: dict[str, Any], ports: Ports, cluster: KubernetesDouble
) -> None:
    seen(body, ports)
    cluster.rivals, cluster.failures = 2, [503, 500, 429]
    assert seen(body, ports).failed == ""
    assert body["status"]["phase"] == "Ramping"


def test_an_api_that_stays_away_is_a_condition_and_nothing_is_lost(
    body: dict[str, Any], ports: Ports, cluster: KubernetesDouble
) -> None:
    seen(body, ports)
    cluster.failures = [503] * 6
    assert "HTTP 503" in seen(body, ports).failed
    assert body["status"]["conditions"][0]["reason"] == "Unavailable"
    cluster.failures = []
    assert seen(body, ports).failed == ""
    assert services(cluster) == {"checkout-control", "checkout-treatment"}


def test_a_right_that_is_missing_is_named_in_the_status(
    body: dict[str, Any], ports: Ports, cluster: KubernetesDouble
) -> None:
    seen(body, ports)
    cluster.forbidden = {("create", "configmaps")}
    assert "may not create configmaps" in seen(body, ports).failed
    cluster.forbidden = set()
    assert seen(body, ports).failed == ""


def test_a_version_that_does_not_start_says_why_and_meets_nobody(
    body: dict[str, Any], ports: Ports, cluster: KubernetesDouble, node: PaperNode
) -> None:
    node.broken = {"2": "the bundle has no weights"}
    seen(body, ports)
    assert "the bundle has no weights" in seen(body, ports).failed
    assert ports.routes.get("shop") is None
    assert services(cluster) == {"checkout-control"}


def test_an_experiment_that_is_over_removes_the_services_of_those_before(
    body: dict[str, Any], ports: Ports, cluster: KubernetesDouble, tmp_path: Path
) -> None:
    """Also where their resources are gone, so that nobody else would."""
    seen(body, ports)
    seen(body, ports)
    for _ in range(2):
        gone = release(read_metadata(body), ports, now=datetime.now(UTC))
        time.sleep(0.01)
    assert gone.done
    assert services(cluster) == {"checkout-control"}  # it answers everyone

    later = cast(Ports, ClusterPorts(tmp_path, cluster, rollout="second"))
    body["metadata"] = {**body["metadata"], "name": "second"}
    body["status"] = {}
    for _ in range(2):
        seen(body, later)
    assert services(cluster) == {"checkout-control", "second-control", "second-treatment"}
    for _ in range(2):
        gone = release(read_metadata(body), later, now=datetime.now(UTC))
        time.sleep(0.01)
    assert gone.done
    assert services(cluster) == {"second-control"}


def _profile(folder: Path, cluster: KubernetesDouble) -> Path:
    shipped = yaml.safe_load(Path("trimtab/profiles/local.yaml").read_text(encoding="utf-8"))
    shipped["routes"] = {"kind": "configmap", "hearing_seconds": 45}
    deployer = {**SERVING, "kubeconfig": str(cluster.kubeconfig(folder / "config"))}
    path = folder / "profile.yaml"
    path.write_text(yaml.safe_dump({**shipped, "deployer": deployer}), encoding="utf-8")
    return path


def test_a_rollout_s_ports_are_made_once_and_have_its_own_resources(
    tmp_path: Path, cluster: KubernetesDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "home"))
    of = RolloutPorts(load(str(_profile(tmp_path, cluster)), routes_in_config_map=("shop", "routes")))
    first = of("checkout", ServingResources(max_replicas=7))
    assert isinstance(first, Runtime)
    assert of("checkout", ServingResources(max_replicas=7)) is first
    assert isinstance(first.profile.deployer, KserveDeployer)
    assert (first.profile.deployer.max_replicas, first.profile.deployer.min_replicas) == (7, 1)
    assert isinstance(first.routes, KubernetesRoutes)
    assert first.routes.hearing == timedelta(seconds=45)
    with pytest.raises(BadInput, match="min_replicas 9 is more than max_replicas 3"):
        of("checkout", ServingResources(min_replicas=9))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "code", "said"),
    [("definition", 2, "the chart trimtab-crds is not installed"), ("api", 3, "does not answer")],
)
def test_the_process_says_what_it_lacks(
    tmp_path: Path, cluster: KubernetesDouble, missing: str, code: int, said: str
) -> None:
    profile = _profile(tmp_path, cluster)
    if missing == "definition":
        cluster.plurals.remove("modelexperiments")
    else:
        KubernetesDouble(url="http://127.0.0.1:1").kubeconfig(tmp_path / "config")
    command = [sys.executable, "-m", "trimtab.controller", "--namespace", "default", "--profile", str(profile)]
    environment = {**os.environ, "TRIMTAB_HOME": str(tmp_path / "home")}
    ended = subprocess.run(
        [*command, "--health-host", "127.0.0.1", "--health-port", "0"],
        env=environment, capture_output=True, text=True, timeout=timedelta(minutes=2).total_seconds(), check=False,
    )  # fmt: skip
    assert ended.returncode == code
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
