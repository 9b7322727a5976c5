"""The controller and its chart on a real API server, whose rules no double of ours decides.

KServe's controller is played by a thread that says that pods are ready. The controller is a process that speaks by the
chart's own account, so that each right that it misses fails here.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import yaml
from kubernetes.client.exceptions import ApiException
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

from tests.charts.rendering import DEFINITIONS, NAMESPACE, SHAPES, render, shape
from tests.e2e.kube_api import ADMIN, NEEDS_SERVER, ApiServer, Hand, Object, api_server
from trimtab import runtime
from trimtab.adapters.kubernetes import Objects
from trimtab.adapters.kubernetes_experiments import EXPERIMENTS, KubernetesExperiments
from trimtab.adapters.kubernetes_lease import LEASES, KubernetesLease
from trimtab.adapters.kubernetes_routes import CONFIG_MAPS
from trimtab.errors import BadInput
from trimtab.rollout.resource import read_resource
from trimtab.testing.model_experiment import model_experiment
from trimtab.testing.registry import mlflow_database, register_version
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:trimtab-controller"
GROUPS = ("system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated")
OURS, SERVICE, DEPLOYMENT = "trimtab.dev/v1alpha1", "serving.kserve.io/v1beta1", "apps/v1"
# Namespaces that the charts' examples speak of; they are there before anything is installed.
NAMESPACES = (NAMESPACE, "shop-models", "shop-gaudi")
PATIENCE_SECONDS = 90.0

pytestmark = NEEDS_SERVER


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("api"), users={ACCOUNT: GROUPS}) as running:
        admin = Hand(running.client())
        admin.create_namespaces(*NAMESPACES)
        admin.apply_all([*render(chart=DEFINITIONS), _services()])
        _await(lambda: Hand(running.client()).kind({"apiVersion": SERVICE, "kind": "InferenceService"}) is not None)
        yield running


@pytest.fixture
def profile(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The controller's profile, with two versions in a registry whose artifacts are in an object store."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    store = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    S3FileSystem(endpoint_override=f"{host}:{port}", scheme="http", allow_bucket_creation=True).create_dir("shop")
    deployer = {
        "kind": "kserve",
        "namespace": NAMESPACE,
        "mode": "Standard",
        "kubeconfig": str(server.kubeconfig(ACCOUNT, namespace=NAMESPACE)),
    }
    document = {
        "name": "here",
        "home": str(tmp_path / "home"),
        "tracking_uri": mlflow_database(tmp_path),
        "artifact_root": "s3://shop/artifacts",
        "events": "s3://shop/events",
        **dict.fromkeys(("study_storage", "feature_registry", "online_store"), ""),  # as in the chart's container
        "routes": {"kind": "configmap", "hearing_seconds": 2},  # no router listens
        "pipelines": {"kind": "local"},
        "deployer": deployer,
    }
    path = tmp_path / "profile.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    ports = runtime.load(str(path))
    rng, spec = np.random.default_rng(4), shop_spec(users=False)
    bundle = shop_bundle(tmp_path / "shop", shop_sessions(rng, spec), spec, rng=rng)
    for alias in ("champion", "challenger"):
        ports.registry.set_alias("shop", alias, register_version(ports.registry, ports.tracker, bundle).version)
    yield path
    store.stop()


@pytest.fixture
def installed(server: ApiServer) -> Hand:
    """The chart as `helm install` leaves it, but for kinds that this version of Kubernetes lacks."""
    admin = Hand(server.client())
    objects = [one for one in render() if one["kind"] not in ("Pod", "Job")]
    for one in objects:
        one["metadata"].setdefault("namespace", NAMESPACE)
        if (
            admin.kind(one)
            and admin.call("get", one["apiVersion"], one["kind"], one["metadata"]["name"], namespace=NAMESPACE) is None
        ):
            admin.create(one)
    return admin


@pytest.mark.parametrize("name", ["defaults", *SHAPES])
def test_the_api_server_admits_what_the_chart_makes(server: ApiServer, name: str) -> None:
    admin, admitted = Hand(server.client()), 0
    for one in render(shape(name)):
        one["metadata"].setdefault("namespace", NAMESPACE)
        if admin.kind(one) is not None:
            admin.create(one, dry=True)
            admitted += 1
    assert admitted > 10


def test_a_resource_that_the_definition_forbids_is_refused_with_its_field(server: ApiServer) -> None:
    resources = KubernetesExperiments(Objects(server.client(), EXPERIMENTS, namespace=NAMESPACE), namespace=NAMESPACE)
    with pytest.raises(BadInput, match=r"spec\.plannedUnits"):
        resources.apply(model_experiment("forbidden", namespace=NAMESPACE, plannedUnits=-1))
    with pytest.raises(BadInput, match=r"spec\.ramp"):
        resources.apply(model_experiment("forbidden", namespace=NAMESPACE, ramp=[{"weight": 2}]))


def test_the_chart_s_account_may_do_what_the_controller_does_and_no_more(server: ApiServer, installed: Hand) -> None:
    mine = server.client(ACCOUNT)
    for own, name in ((CONFIG_MAPS, "trimtab-routes"), (LEASES, "trimtab-controller")):
        Objects(mine, own, namespace=NAMESPACE).get(name)
    account = Hand(mine)
    for verb, version, kind, name in (
        ("get", "v1", "Secret", "trimtab-environment"),
        ("get", "v1", "ConfigMap", "another"),
        ("delete", OURS, "ModelExperiment", "checkout"),
        ("get", "v1", "Pod", "any"),
    ):
        with pytest.raises(ApiException) as refused:
            account.call(verb, version, kind, name, namespace=NAMESPACE)
        assert refused.value.status == 403, (verb, kind)


def test_only_one_controller_holds_the_lease(server: ApiServer, installed: Hand) -> None:
    first, second = (
        KubernetesLease(
            Objects(server.client(ACCOUNT), LEASES, namespace=NAMESPACE), name="trimtab-controller", holder=holder
        )
        for holder in ("first", "second")
    )
    now = datetime.now(UTC)
    assert first.claim(now=now)
    assert not second.claim(now=now)
    assert first.claim(now=now)
    first.let_go()
    assert second.claim(now=now)
    second.let_go()


def test_from_apply_over_a_kill_to_shipped_and_gone(server: ApiServer, installed: Hand, profile: Path) -> None:
    experiment = Experiment(installed, "checkout")
    with kserve(server), controller(profile) as killed:
        experiment.apply(server)
        experiment.until_phase("Ramping")
        assert experiment.resource["metadata"]["finalizers"] == ["trimtab.dev/drain"]
        assert {arm["name"]: arm["version"] for arm in experiment.status["arms"]} == {"control": 1, "treatment": 2}
        assert _versions(installed) == ["1", "2"]
        [route] = installed.call("get", "v1", "ConfigMap", "trimtab-routes", namespace=NAMESPACE)["data"].values()
        assert '"treatment"' in route
        killed.kill()

    asked = {"trimtab.dev/command": "promote", "trimtab.dev/by": "ann", "trimtab.dev/reason": "law."}
    experiment.patch({"metadata": {"annotations": asked}})  # while no controller runs
    with kserve(server), controller(profile):  # waits until the lease of the one that was killed is over
        experiment.until_phase("Shipped")
        _await(lambda: experiment.status.get("drained") is True, told=lambda: experiment.status)
        assert "trimtab.dev/command" not in experiment.resource["metadata"].get("annotations", {})
        assert _versions(installed) == ["2"]
        events = [one["reason"] for one in installed.all("v1", "Event", namespace=NAMESPACE)]
        assert [events.count(reason) for reason in ("Started", "StartRamp", "Ship")] == [1, 1, 1]
        experiment.delete()
        _await(lambda: experiment.gone, told=lambda: experiment.resource)
    assert runtime.load(str(profile)).registry.resolve("shop", "champion").version == 2


def _versions(admin: Hand) -> list[str]:
    """Versions that are served, in order."""
    services = admin.all(SERVICE, "InferenceService", namespace=NAMESPACE)
    return sorted(one["spec"]["predictor"]["labels"]["trimtab.dev/version"] for one in services)


class Experiment:
    """A ModelExperiment, and a person who looks after it."""

    def __init__(self, admin: Hand, name: str) -> None:
        self._admin = admin
        self._name = name

    def apply(self, server: ApiServer) -> None:
        """As `trimtab experiment apply` does."""
        wanted = model_experiment(self._name, namespace=NAMESPACE)
        read_resource(wanted)
        objects = Objects(server.client(ADMIN), EXPERIMENTS, namespace=NAMESPACE)
        KubernetesExperiments(objects, namespace=NAMESPACE).apply(wanted)

    def patch(self, body: Object) -> None:
        """Patch it."""
        self._admin.call(
            "patch", OURS, "ModelExperiment", self._name, namespace=NAMESPACE, body=body,
            content_type="application/merge-patch+json",
        )  # fmt: skip

    def delete(self) -> None:
        """Ask for its deletion."""
        self._admin.call("delete", OURS, "ModelExperiment", self._name, namespace=NAMESPACE)

    @property
    def gone(self) -> bool:
        """Whether it is not there any more."""
        return self._admin.call("get", OURS, "ModelExperiment", self._name, namespace=NAMESPACE) is None

    @property
    def resource(self) -> Object:
        """It, as it stands."""
        return cast(Object, self._admin.call("get", OURS, "ModelExperiment", self._name, namespace=NAMESPACE))

    @property
    def status(self) -> Object:
        """Its status."""
        return cast(Object, self.resource.get("status") or {})

    def until_phase(self, phase: str) -> None:
        """Wait for a phase."""
        _await(lambda: self.status.get("phase") == phase, told=lambda: self.status)


@contextmanager
def controller(profile: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A controller's process, which is stopped at the end of the block."""
    command = [sys.executable, "-m", "trimtab.controller", "--namespace", NAMESPACE, "--profile", str(profile)]
    lease = ["--routes", "trimtab-routes", "--lease", "trimtab-controller", "--every", "0.5"]
    with (profile.parent / "controller.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, *lease, "--health-host", "127.0.0.1", "--health-port", "0"], stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.terminate()
            code = process.wait(timeout=PATIENCE_SECONDS)
    assert code in (0, -signal.SIGKILL), (profile.parent / "controller.log").read_text(encoding="utf-8")


@contextmanager
def kserve(server: ApiServer) -> Iterator[None]:
    """Says of each InferenceService that its pods are ready, and collects those that are deleted, as others do."""
    over = threading.Event()

    def act() -> None:
        admin = Hand(server.client())
        while not over.wait(0.2):
            services = admin.all(SERVICE, "InferenceService", namespace=NAMESPACE)
            for one in services:
                (_collect if "deletionTimestamp" in one["metadata"] else _serve)(admin, one)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=PATIENCE_SECONDS)


def _serve(admin: Hand, service: Object) -> None:
    name, predictor = service["metadata"]["name"], service["spec"]["predictor"]
    labels = {**predictor["labels"], "serving.kserve.io/inferenceservice": name}
    workload = f"{name}-predictor"
    if admin.call("get", DEPLOYMENT, "Deployment", workload, namespace=NAMESPACE) is None:
        container = {"name": "kserve-container", "image": "none"}
        spec = {
            "replicas": 1,
            "selector": {"matchLabels": {"serving.kserve.io/inferenceservice": name}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        }
        metadata = {"name": workload, "namespace": NAMESPACE, "labels": labels}
        admin.create({"apiVersion": DEPLOYMENT, "kind": "Deployment", "metadata": metadata, "spec": spec})
    counts = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}
    admin.write_status(DEPLOYMENT, "Deployment", workload, counts, namespace=NAMESPACE)
    ready = {
        "address": {"url": f"http://{workload}.{NAMESPACE}.svc.cluster.local"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    try:
        admin.write_status(SERVICE, "InferenceService", name, ready, namespace=NAMESPACE)
    except ApiException as error:
        if error.status != 404:  # it was just deleted
            raise


def _collect(admin: Hand, service: Object) -> None:
    name = service["metadata"]["name"]
    admin.call("delete", DEPLOYMENT, "Deployment", f"{name}-predictor", namespace=NAMESPACE)
    admin.call(
        "patch", SERVICE, "InferenceService", name, namespace=NAMESPACE,
        body={"metadata": {"finalizers": None}}, content_type="application/merge-patch+json",
    )  # fmt: skip


def _services() -> Object:
    """A definition of InferenceServices that takes whatever is in them; KServe's own is held against elsewhere."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1beta1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": free, "status": free}}},
    }
    names = {"plural": "inferenceservices", "singular": "inferenceservice", "kind": "InferenceService"}
    spec = {"group": "serving.kserve.io", "names": names, "scope": "Namespaced", "versions": [version]}
    metadata = {"name": "inferenceservices.serving.kserve.io"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": spec,
    }


def _await(there: Callable[[], bool], *, told: Callable[[], object] = str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not there():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)
