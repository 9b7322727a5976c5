"""The composition root: a profile becomes ports. Only here (and in the contract suites) are adapters named.

Each port is built on first use and imports its adapter then, so that a process loads only what it touches.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trimtab.errors import BadInput
from trimtab.ports import (
    ClusterLogin,
    Deployer,
    DriftReporter,
    ExperimentResources,
    FeatureStore,
    Launcher,
    Lease,
    Predictor,
    Progress,
    Registry,
    RolloutStore,
    RouterClient,
    RouterHost,
    Routes,
    SnapshotStore,
    Tracker,
    Warehouse,
)
from trimtab.profile import ConfigMapRoutes, KserveDeployer, KubeflowPipelines, Profile, RouterProcess, load_profile

if TYPE_CHECKING:
    from trimtab.adapters.event_buffer import BufferedEventLog
    from trimtab.adapters.events import SegmentEventLog
    from trimtab.adapters.kubernetes import Kind, Objects


def _silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Report progress to nobody."""


class Runtime:
    """The ports of one profile; satisfies `trimtab.ports.Ports`."""

    def __init__(self, profile: Profile, *, profile_name: str, progress: Progress = _silent, rollout: str = "") -> None:
        self.profile = profile
        self.profile_name = profile_name
        self.progress = progress
        self._rollout = rollout
        _make(profile.home)

    @property
    def home(self) -> Path:
        """The state folder."""
        return self.profile.home

    @property
    def study_storage(self) -> str:
        """Where tuning keeps its study."""
        return self.profile.study_storage

    @cached_property
    def snapshots(self) -> SnapshotStore:
        """Snapshots of sessions, in the state folder."""
        from trimtab.adapters.files import FileSnapshotStore

        return FileSnapshotStore(self.home / "snapshots")

    @cached_property
    def features(self) -> FeatureStore:
        """The Feast feature store."""
        from trimtab.adapters.feast import FeastFeatureStore

        return FeastFeatureStore(
            self.home / "features",
            registry=self.profile.feature_registry,
            online_store=self.profile.online_store,
            batch_engine=self.profile.features.batch_engine,
        )

    @cached_property
    def tracker(self) -> Tracker:
        """MLflow tracking."""
        from trimtab.adapters.mlflow import MlflowTracker

        return MlflowTracker(self.profile.tracking_uri, artifact_root=self.profile.artifact_root)

    @cached_property
    def registry(self) -> Registry:
        """The MLflow model registry."""
        from trimtab.adapters.mlflow import MlflowRegistry

        return MlflowRegistry(
            self.profile.tracking_uri, artifact_root=self.profile.artifact_root, cache=self.home / "models"
        )

    @cached_property
    def events(self) -> "SegmentEventLog":
        """The event log, with its segments."""
        from trimtab.adapters.events import open_event_log

        return open_event_log(self.profile.events, cache=self.home / "events-mirror")

    def event_writer(self, spool: Path) -> "BufferedEventLog":
        """A writer to the event log that never makes its caller wait.

        Args:
            spool: Folder of this machine for what the log does not take.
        """
        from trimtab.adapters.event_buffer import BufferedEventLog

        return BufferedEventLog(self.events, spool=spool)

    @cached_property
    def routes(self) -> Routes:
        """Where routers read what they are told."""
        settings = self.profile.routes
        if isinstance(settings, ConfigMapRoutes):
            from trimtab.adapters.kubernetes_routes import CONFIG_MAPS, KubernetesRoutes

            return KubernetesRoutes(
                self._objects(CONFIG_MAPS, settings.namespace),
                name=settings.name,
                hearing=timedelta(seconds=settings.hearing_seconds),
            )
        from trimtab.adapters.routes import FileRoutes

        return FileRoutes(self.home / "routes")

    def experiments(self, namespace: str = "") -> ExperimentResources:
        """ModelExperiments in the cluster that the profile's deployer serves in.

        Args:
            namespace: Where; the pod's own or the kubeconfig's, where empty.
        """
        from trimtab.adapters.kubernetes import current_namespace
        from trimtab.adapters.kubernetes_experiments import EXPERIMENTS, KubernetesExperiments

        namespace = namespace or current_namespace(**self._cluster)
        return KubernetesExperiments(self._objects(EXPERIMENTS, namespace), namespace=namespace)

    def cluster_login(self) -> ClusterLogin:
        """How another client reaches that cluster, by the account as it is now."""
        from trimtab.adapters.kubernetes import log_in

        return log_in(**self._cluster)

    def lease(self, name: str, *, namespace: str, holder: str) -> Lease:
        """A lease that only one of several controllers holds.

        Args:
            name: Its name.
            namespace: Its namespace.
            holder: Who asks, unique among all who do.
        """
        from trimtab.adapters.kubernetes_lease import LEASES, KubernetesLease

        return KubernetesLease(self._objects(LEASES, namespace), name=name, holder=holder)

    def of_rollout(self, name: str, *, serving: Mapping[str, Any]) -> "Runtime":
        """The same ports, but that arms belong to a rollout and run with resources of its own.

        Args:
            name: Name of the rollout.
            serving: Fields of the KServe deployer that it has otherwise; empty for none.

        Raises:
            BadInput: They do not go with the profile's.
        """
        settings = self.profile.deployer
        if isinstance(settings, KserveDeployer) and serving:
            try:
                settings = KserveDeployer.model_validate({**settings.model_dump(), **serving})
            except ValidationError as error:
                raise BadInput(f"the serving resources of '{name}': {error.errors()[0]['msg']}.") from error
        profile = self.profile.model_copy(update={"deployer": settings})
        return Runtime(profile, profile_name=self.profile_name, progress=self.progress, rollout=name)

    @property
    def _cluster(self) -> dict[str, str]:
        """How to reach the cluster: as the deployer does."""
        settings = self.profile.deployer
        if isinstance(settings, KserveDeployer):
            return {"kubeconfig": settings.kubeconfig, "context": settings.context}
        return {"kubeconfig": "", "context": ""}

    def _objects(self, kind: "Kind", namespace: str) -> "Objects":
        from trimtab.adapters.kubernetes import Objects, connect

        return Objects(connect(**self._cluster), kind, namespace=namespace)

    @cached_property
    def rollouts(self) -> RolloutStore:
        """Rollouts in files."""
        from trimtab.adapters.rollouts import FileRolloutStore

        return FileRolloutStore(self.home / "rollouts")

    def routes_in(self, folder: Path) -> Routes:
        """Routes in a folder of the caller's choice.

        Args:
            folder: Where the documents lie, in a pod the mount of a ConfigMap.
        """
        from trimtab.adapters.routes import FileRoutes

        return FileRoutes(folder)

    @cached_property
    def router(self) -> RouterHost:
        """Where the router runs."""
        router = self.profile.router
        if isinstance(router, RouterProcess):
            from trimtab.adapters.router_process import ProcessRouter

            return ProcessRouter(
                self.home / "router",
                routes=self.home / "routes",
                events=self.profile.events,
                profile_name=self.profile_name,
                port=router.port,
            )
        from trimtab.adapters.router_url import RunningRouter

        return RunningRouter(router.url)

    @cached_property
    def app(self) -> RouterClient:
        """A client of the router."""
        from trimtab.adapters.router_client import HttpRouterClient

        router = self.profile.router
        return HttpRouterClient(token="" if isinstance(router, RouterProcess) else router.outcomes_token)

    @cached_property
    def deployer(self) -> Deployer:
        """Where arms are served."""
        settings = self.profile.deployer
        if isinstance(settings, KserveDeployer):
            from trimtab.adapters.kserve import KserveArmDeployer

            return KserveArmDeployer(settings, rollout=self._rollout)
        from trimtab.adapters.processes import ProcessArmDeployer

        return ProcessArmDeployer(self.home / "servers", profile_name=self.profile_name, fetch=self.registry.download)

    @cached_property
    def predictor(self) -> Predictor:
        """Client of the arms."""
        from trimtab.adapters.inference import HttpPredictor

        return HttpPredictor()

    @cached_property
    def drift(self) -> DriftReporter:
        """Evidently."""
        from trimtab.adapters.evidently import EvidentlyDriftReporter

        return EvidentlyDriftReporter()

    @cached_property
    def warehouse(self) -> Warehouse:
        """Ibis: files by DuckDB, other engines by their URI."""
        from trimtab.adapters.ibis import IbisWarehouse

        return IbisWarehouse()

    @cached_property
    def launcher(self) -> Launcher:
        """Where pipelines run."""
        pipelines = self.profile.pipelines
        if isinstance(pipelines, KubeflowPipelines):
            from trimtab.adapters.kubeflow import KubeflowLauncher

            return KubeflowLauncher(pipelines, progress=self.progress)
        from trimtab.adapters.kfp_local import LocalLauncher

        return LocalLauncher(self.home, profile_name=self.profile_name, progress=self.progress)


def _make(home: Path) -> None:
    """Make the state folder, and know that it can be written."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        problem = "" if os.access(home, os.W_OK | os.X_OK) else "it cannot be written"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise BadInput(
            f"the state folder '{home}' cannot be used: {problem}.", remedy="Set TRIMTAB_HOME to a folder of yours."
        )


def load(
    profile: str = "local", *, progress: Progress = _silent, routes_in_config_map: tuple[str, str] | None = None
) -> Runtime:
    """The ports of a profile.

    Args:
        profile: Name of a shipped profile, or a YAML file.
        progress: Hears how far stages are.
        routes_in_config_map: Namespace and name of the ConfigMap that routes go to, whatever the profile says.

    Raises:
        BadInput: The profile is absent or wrong, or its state folder cannot be written.
    """
    found = load_profile(profile)
    if routes_in_config_map is not None:
        namespace, name = routes_in_config_map
        settings = found.routes if isinstance(found.routes, ConfigMapRoutes) else ConfigMapRoutes(kind="configmap")
        named = settings.model_copy(update={"namespace": namespace, "name": name})
        found = found.model_copy(update={"routes": named})
    return Runtime(found, profile_name=profile, progress=progress)


@contextmanager
def stage(profile: str, *, run: str, name: str) -> Iterator[Runtime]:
    """The ports of one task of a pipeline run, whose progress and failure reach whoever started the run.

    Args:
        profile: Name of a shipped profile, or a YAML file.
        run: Key of the run.
        name: Name of the stage.

    Raises:
        SystemExit: The task raised an error of Trimtab's; the reason is kept with the run.
    """
    from trimtab.adapters.run_files import RunFiles

    ports = load(profile)
    files = RunFiles(ports.home, run)
    ports.progress = files.progress
    with files.failures(name):
        yield ports
