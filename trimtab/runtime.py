"""The composition root: a profile becomes ports. Only here (and in the contract suites) are adapters named.

Each port is built on first use and imports its adapter then, so that a process loads only what it touches.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.errors import BadInput
from trimtab.ports import (
    Deployer,
    DriftReporter,
    FeatureStore,
    Launcher,
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
from trimtab.profile import KserveDeployer, KubeflowPipelines, Profile, RouterProcess, load_profile

if TYPE_CHECKING:
    from trimtab.adapters.event_buffer import BufferedEventLog
    from trimtab.adapters.events import SegmentEventLog


def _silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Report progress to nobody."""


class Runtime:
    """The ports of one profile; satisfies `trimtab.ports.Ports`."""

    def __init__(self, profile: Profile, *, profile_name: str, progress: Progress = _silent) -> None:
        self.profile = profile
        self.profile_name = profile_name
        self.progress = progress
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
        """Routes in files."""
        from trimtab.adapters.routes import FileRoutes

        return FileRoutes(self.home / "routes")

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

            return KserveArmDeployer(settings)
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


def load(profile: str = "local", *, progress: Progress = _silent) -> Runtime:
    """The ports of a profile.

    Args:
        profile: Name of a shipped profile, or a YAML file.
        progress: Hears how far stages are.

    Raises:
        BadInput: The profile is absent or wrong, or its state folder cannot be written.
    """
    return Runtime(load_profile(profile), profile_name=profile, progress=progress)


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
