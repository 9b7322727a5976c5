"""The operator itself against a double of the API server: what kopf reads, writes and waits for."""

import asyncio
import contextlib
import gc
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import kmock
import numpy as np
import pytest

from tests.unit.controller.users import come
from trimtab.adapters.kubernetes import Objects, connect, log_in
from trimtab.adapters.kubernetes_experiments import EXPERIMENTS, KubernetesExperiments
from trimtab.controller.handlers import handlers
from trimtab.controller.health import Pulse
from trimtab.controller.metrics import Standings
from trimtab.controller.operator import operate
from trimtab.errors import Unavailable
from trimtab.ports import Ports
from trimtab.rollout.plan import CONTROL
from trimtab.rollout.resource import ServingResources
from trimtab.testing.kubernetes_double import KubernetesDouble
from trimtab.testing.model_experiment import model_experiment
from trimtab.testing.ports import StepPorts
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec
from trimtab.types import Endpoint, ModelVersion

RESOURCE = "trimtab.dev/v1alpha1/modelexperiments"
PATH = "/apis/trimtab.dev/v1alpha1/namespaces/default/modelexperiments"
KEY = (RESOURCE, "default", "checkout")
PATIENCE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Both kopf and its double leave sessions to the collector; they must not end as warnings of another test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, spec = np.random.default_rng(4), shop_spec(users=False)
    return shop_bundle(tmp_path_factory.mktemp("bundle") / "shop", shop_sessions(rng, spec), spec, rng=rng)


@pytest.fixture
def ports(tmp_path: Path, bundle: Path) -> StepPorts:
    found = StepPorts(tmp_path)
    found.registry.put("shop", 1, bundle, "champion")
    found.registry.put("shop", 2, bundle, "challenger")
    return found


class Cluster:
    """The API server, and a person at it.

    Attributes:
        kubeconfig: Leads there, and is not where kubeconfigs usually lie.
        refusals: HTTP statuses that the next writes of a status are answered with.
    """

    def __init__(self, server: Any, kubeconfig: Path) -> None:
        self.kubeconfig = str(kubeconfig)
        self.refusals: list[int] = []
        self._server = server
        server[f"{PATH}/checkout/status"] << self._refuse
        server.resources[RESOURCE] = kmock.ResourceInfo(
            namespaced=True,
            kind="ModelExperiment",
            singular="modelexperiment",
            verbs={"get", "list", "watch", "patch"},
            subresources={"status"},
        )
        for core in ("v1/events", "v1/namespaces", "apiextensions.k8s.io/v1/customresourcedefinitions"):
            server.resources[core] = kmock.ResourceInfo(namespaced=core == "v1/events", verbs={"list", "watch"})

    def _refuse(self, request: Any) -> None:
        if request.method == kmock.method.PATCH and self.refusals:
            raise kmock.KubernetesError(status=self.refusals.pop(0), message="not now")
        raise NotImplementedError  # the double goes on

    @property
    def resource(self) -> dict[str, Any]:
        """The resource as it stands."""
        return dict(self._server.objects[KEY].raw)

    @property
    def status(self) -> dict[str, Any]:
        """Its status; empty before the first."""
        return dict(self.resource.get("status") or {})

    @property
    def there(self) -> bool:
        """Whether the resource exists."""
        return not self._server.objects[KEY].deleted

    @property
    def events(self) -> list[str]:
        """Reasons of the events that were posted."""
        return [request.data["reason"] for request in self._server[kmock.resource("v1/events")] if request.data]

    async def create(self, **spec: Any) -> None:
        """Apply the resource."""
        body = model_experiment(**spec)
        body["metadata"] |= {
            "uid": "1",
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": "2026-03-01T00:00:00Z",
        }
        async with self._server.post(PATH, json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def patch(self, body: dict[str, Any]) -> None:
        """Patch the resource."""
        headers = {"Content-Type": "application/merge-patch+json"}
        async with self._server.patch(f"{PATH}/checkout", json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def delete(self) -> None:
        """Ask for its deletion."""
        async with self._server.delete(f"{PATH}/checkout") as answer:
            assert answer.status == 200, await answer.text()

    async def until(self, there: Callable[[], bool]) -> None:
        """Wait for something to be so."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not there():
                await asyncio.sleep(0.05)


@pytest.fixture
def cluster(kmock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "nowhere"))
    config = KubernetesDouble(url=str(kmock.url).rstrip("/")).kubeconfig(tmp_path / "kubeconfig")
    return Cluster(kmock, config)


class OnePorts:
    """The same ports for every rollout."""

    def __init__(self, ports: StepPorts) -> None:
        self._ports = ports.as_ports()

    def __call__(self, name: str, serving: ServingResources) -> Ports:
        """The ports."""
        return self._ports

    def forget(self, name: str) -> None:
        """Nothing was kept."""


@asynccontextmanager
async def running(cluster: Cluster, ports: StepPorts, standings: Standings | None = None) -> AsyncIterator[Pulse]:
    """A controller, which is stopped at the end of the block."""
    stop, pulse, standings = threading.Event(), Pulse(), standings or Standings()
    config = cluster.kubeconfig
    objects = Objects(connect(kubeconfig=config), EXPERIMENTS, namespace="default", pause_seconds=0.01)
    registry = handlers(
        OnePorts(ports),
        KubernetesExperiments(objects, namespace="default"),
        lambda: log_in(kubeconfig=config),
        every_seconds=0.2,
        standings=standings,
    )
    task = asyncio.create_task(asyncio.to_thread(operate, registry, namespace="default", stop=stop, pulse=pulse))
    try:
        yield pulse
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_SECONDS)


@pytest.mark.asyncio
async def test_from_the_resource_to_the_ramp_and_over_a_restart_to_the_end(cluster: Cluster, ports: StepPorts) -> None:
    async with running(cluster, ports) as pulse:
        await cluster.create()
        await cluster.until(lambda: cluster.status.get("phase") == "Ramping")
        assert pulse.alive
        assert cluster.resource["metadata"]["finalizers"] == ["trimtab.dev/drain"]
        assert {arm["name"] for arm in cluster.status["arms"]} == {"control", "treatment"}
    assert ports.rollouts.state("checkout").status == "ramping"

    annotations = {"trimtab.dev/command": "promote", "trimtab.dev/by": "ann", "trimtab.dev/reason": "law."}
    await cluster.patch({"metadata": {"annotations": annotations}})  # while nobody looks
    async with running(cluster, ports):
        await cluster.until(lambda: cluster.status.get("phase") == "Shipped")
        await cluster.until(lambda: "trimtab.dev/command" not in cluster.resource["metadata"].get("annotations", {}))
        await cluster.until(lambda: cluster.events.count("Ship") == 1)
    assert cluster.events.count("Started") == cluster.events.count("StartRamp") == 1
    assert ports.registry.resolve("shop", "champion").version == 2


@pytest.mark.slow
@pytest.mark.asyncio
async def test_from_the_resource_over_looks_to_the_verdict_and_to_rest(cluster: Cluster, ports: StepPorts) -> None:
    standings = Standings()
    async with running(cluster, ports, standings):
        await cluster.create(windowHours=1 / 3_600, reportingMinutes=0, looks={"units": 900})
        await cluster.until(lambda: cluster.status.get("phase") == "Ramping")
        for batch in range(20):
            if cluster.status["phase"] == "Shipped":
                break
            await asyncio.to_thread(come, ports, batch * 2_000, 2_000)
        await cluster.until(lambda: cluster.status.get("drained") is True)
        assert (cluster.status["phase"], cluster.status["verdict"]) == ("Shipped", "ship")
        assert [look["number"] for look in cluster.status["looks"]] == [*range(1, len(cluster.status["looks"]) + 1)]
        assert cluster.events.count("Ship") == 1
        assert ports.registry.resolve("shop", "champion").version == 2
        assert ports.arms.running == {"checkout-treatment"}

        looked = _reconciles(standings)
        await asyncio.sleep(1)
        assert _reconciles(standings) <= looked + 1  # one was under way
        await cluster.patch({"metadata": {"annotations": {"trimtab.dev/command": "abort"}}})
        await cluster.until(lambda: "CommandTooLate" in cluster.events)


def _reconciles(standings: Standings) -> float:
    """How often the controller has looked."""
    lines = standings.exposition().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if line.startswith("trimtab_controller_reconciles_total")
    )


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_deletion_waits_for_the_drained_arm(cluster: Cluster, ports: StepPorts) -> None:
    async with running(cluster, ports):
        await cluster.create(timeoutMs=500)
        await cluster.until(lambda: cluster.status.get("phase") == "Ramping")
        await cluster.delete()
        await cluster.until(lambda: cluster.status.get("phase") == "Aborted")
        route = ports.routes.get("shop")
        assert route is not None
        assert set(route.arms) == {CONTROL}
        assert cluster.there
        assert "checkout-treatment" in ports.arms.running
        await cluster.until(lambda: not cluster.there)
    assert ports.arms.running == {"checkout-control"}


@pytest.mark.asyncio
async def test_a_resource_that_cannot_be_read_says_so_and_can_be_deleted(cluster: Cluster, ports: StepPorts) -> None:
    standings = Standings()
    async with running(cluster, ports, standings):
        await cluster.create(ramp=[{"weight": 0.5}, {"weight": 0.25}])
        await cluster.until(lambda: bool(cluster.status.get("conditions")))
        ready = next(one for one in cluster.status["conditions"] if one["type"] == "Ready")
        assert ready["reason"] == "Invalid"
        assert "a ramp grows" in ready["message"]
        assert (
            b'trimtab_experiment_condition{experiment="checkout",model="",type="Ready"} 0.0' in standings.exposition()
        )
        await cluster.delete()
        await cluster.until(lambda: not cluster.there)
        await cluster.until(lambda: b"checkout" not in standings.exposition())


@pytest.mark.asyncio
async def test_a_failure_is_told_and_tried_again(
    cluster: Cluster, ports: StepPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: ModelVersion, *, arm: str) -> Endpoint:
        raise Unavailable(f"arm '{arm}' has no node.")

    monkeypatch.setattr("trimtab.controller.reconcile._SOON", timedelta(seconds=0.2))
    with contextlib.ExitStack() as mended:
        patched = mended.enter_context(monkeypatch.context())
        patched.setattr(ports.arms, "deploy", broken)
        async with running(cluster, ports):
            await cluster.create()
            await cluster.until(lambda: "Unavailable" in cluster.events)
            mended.close()
            await cluster.until(lambda: bool(cluster.status.get("arms")))


@pytest.mark.asyncio
@pytest.mark.parametrize("refusals", [[422], [409], [503] * 5], ids=["refused", "conflict", "away"])
async def test_a_status_that_is_not_taken_ends_no_experiment_s_looks(
    cluster: Cluster, ports: StepPorts, refusals: list[int]
) -> None:
    async with running(cluster, ports):
        await cluster.create()
        await cluster.until(lambda: cluster.status.get("phase") == "Ramping")
        cluster.refusals = list(refusals)
        await cluster.patch({"spec": {"suspend": True}})
        await cluster.until(lambda: not cluster.refusals)
        await cluster.patch({"spec": {"suspend": False, "plannedUnits": 5_000}})
        await cluster.until(lambda: _condition(cluster, "Ready") == "SpecChanged")


@pytest.mark.asyncio
async def test_a_command_that_comes_while_another_is_obeyed_is_answered_too(
    cluster: Cluster, ports: StepPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy, busy, go_on = ports.arms.deploy, threading.Event(), threading.Event()

    def slow(model: ModelVersion, *, arm: str) -> Endpoint:
        if ports.rollouts.state("checkout").over:  # the command is being obeyed
            busy.set()
            go_on.wait(PATIENCE_SECONDS)
        return deploy(model, arm=arm)

    async with running(cluster, ports):
        await cluster.create()
        await cluster.until(lambda: cluster.status.get("phase") == "Ramping")
        monkeypatch.setattr(ports.arms, "deploy", slow)
        await cluster.patch({"metadata": {"annotations": {"trimtab.dev/command": "promote"}}})
        await cluster.until(busy.is_set)
        await cluster.patch({"metadata": {"annotations": {"trimtab.dev/command": "abort"}}})
        go_on.set()
        await cluster.until(lambda: "CommandTooLate" in cluster.events)
        await cluster.until(lambda: "trimtab.dev/command" not in cluster.resource["metadata"].get("annotations", {}))


def _condition(cluster: Cluster, kind: str) -> str:
    """The reason of a condition."""
    return next(one["reason"] for one in cluster.status["conditions"] if one["type"] == kind)
