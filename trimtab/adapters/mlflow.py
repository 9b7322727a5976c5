"""MLflow as tracker and as model registry.

A version is made visible in one order: files are uploaded, the logged model is finalised, the version is created with
its tags in one transaction, and only then may a caller set an alias. A process that dies on the way leaves at most an
unreferenced upload.
"""

import hashlib
import math
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

import trimtab
from trimtab.adapters.mlflow_session import client, mlflow, quiet, translated
from trimtab.errors import BadInput, NotFound
from trimtab.types import ModelVersion

# Limits of MLflow's batch call, by entity.
_BATCH = {"metrics": 1000, "params": 100, "tags": 100}
_PARAM_LENGTH = 6000
_BUNDLE = "artifacts/bundle"  # where a pyfunc keeps the artifact that it was given as "bundle"
_EXAMPLE_ROWS = 5

ItemT = TypeVar("ItemT")


class MlflowRun:
    """One open MLflow run; satisfies `trimtab.ports.TrackedRun`."""

    def __init__(self, tracking: Any, run_id: str) -> None:
        self._client = tracking
        self._id = run_id

    @property
    def id(self) -> str:
        """MLflow's id of the run."""
        return self._id

    def params(self, values: Mapping[str, object]) -> None:
        """Record parameters; a value longer than MLflow holds is cut."""
        entities = [mlflow.entities.Param(key, str(value)[:_PARAM_LENGTH]) for key, value in values.items()]
        self._log("params", entities)

    def metrics(self, values: Mapping[str, float], *, step: int | None = None) -> None:
        """Record metrics."""
        self._log("metrics", _metrics(values, step=step or 0))

    def tags(self, values: Mapping[str, str]) -> None:
        """Record tags."""
        self._log("tags", [mlflow.entities.RunTag(key, value) for key, value in values.items()])

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Keep a file or folder with the run."""
        with translated(f"artifact {path}"):
            if path.is_dir():
                self._client.log_artifacts(self._id, str(path), artifact_path=folder or None)
            else:
                self._client.log_artifact(self._id, str(path), artifact_path=folder or None)

    def _log(self, kind: str, entities: Sequence[Any]) -> None:
        with translated(f"run {self._id}"):
            for part in _batches(entities, _BATCH[kind]):
                self._client.log_batch(self._id, **{kind: part})


class MlflowTracker:
    """Runs in an MLflow tracking server or SQLite file.

    Args:
        tracking_uri: `sqlite:///PATH` or the URL of a server.
        artifact_root: Folder URI under which each experiment keeps its files.
    """

    def __init__(self, tracking_uri: str, *, artifact_root: str) -> None:
        self._uri = tracking_uri
        self._artifact_root = artifact_root.rstrip("/")

    @cached_property
    def _client(self) -> Any:
        return client(self._uri)

    @contextmanager
    def run(self, name: str, *, experiment: str, resume: bool = False) -> Iterator[MlflowRun]:
        """Open a run, tagged with the version of the code; it ends as failed when the block raises.

        Args:
            name: Name of the run.
            experiment: Name of the experiment; made where absent.
            resume: Go on with the newest run of that name, where there is one.
        """
        with translated(f"run {name}"):
            place = self._experiment(experiment)
            opened = self._newest(place, name) if resume else None
            opened = opened or self._client.create_run(place, run_name=name, tags=code_version())
        run = MlflowRun(self._client, opened.info.run_id)
        status = "FAILED"
        try:
            yield run
            status = "FINISHED"
        finally:
            with translated(f"run {name}"):
                self._client.set_terminated(run.id, status)

    def _newest(self, experiment: str, name: str) -> Any:
        """The newest run of a name, set to running again; None where there is none."""
        quoted = name.replace("'", "\\'")
        found = self._client.search_runs([experiment], f"attributes.run_name = '{quoted}'", max_results=1)
        if not found:
            return None
        self._client.update_run(found[0].info.run_id, status="RUNNING")
        return found[0]

    def _experiment(self, name: str) -> str:
        """Id of the experiment, made where absent; two processes may race to make it."""
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, artifact_location=f"{self._artifact_root}/{name}"))
            except mlflow.exceptions.MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id)


class MlflowRegistry:
    """Versions of models in the MLflow model registry.

    Args:
        tracking_uri: `sqlite:///PATH` or the URL of a server.
        artifact_root: Folder URI of the artifacts; the side that serves must be able to read it.
        cache: Local folder for downloaded bundles.
    """

    def __init__(self, tracking_uri: str, *, artifact_root: str, cache: Path) -> None:
        self._uri = tracking_uri
        self._artifact_root = artifact_root
        self._cache = cache

    @cached_property
    def _client(self) -> Any:
        return client(self._uri)

    def register(
        self,
        name: str,
        bundle: Path,
        *,
        run_id: str,
        example: pd.DataFrame,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
    ) -> ModelVersion:
        """Log the bundle folder as a pyfunc and make it a version, without an alias.

        Args:
            name: Name of the registered model.
            bundle: Folder written by a model's `save`.
            run_id: The tracker's run that trained it.
            example: A few rows of model input. Columns with a missing value are optional in the signature.
            tags: Tags of the version.
            metrics: Metrics of the version; recorded with the run as well.

        Raises:
            BadInput: The bundle is not a folder.
            NotFound: The run does not exist.
        """
        if not bundle.is_dir():
            raise BadInput(f"model bundle '{bundle}' is not a folder.", remedy="Train the model first.")
        with translated(f"run {run_id}"):
            experiment = self._client.get_run(run_id).info.experiment_id
        with translated(f"model {name}"):
            logged = self._client.create_logged_model(experiment, name=name, source_run_id=run_id)
            self._upload(logged, bundle, run_id=run_id, example=example)
            self._client.finalize_logged_model(logged.model_id, "READY")
            self._client.log_outputs(run_id, [mlflow.entities.LoggedModelOutput(logged.model_id, step=0)])
            for part in _batches(_metrics(metrics, model_id=logged.model_id), _BATCH["metrics"]):
                self._client.log_batch(run_id, metrics=part)
            self._ensure_model(name)
            mlflow.set_tracking_uri(self._uri)
            made = self._client.create_model_version(
                name,
                source=f"models:/{logged.model_id}",
                run_id=run_id,
                model_id=logged.model_id,
                tags=dict(tags),
            )
        return self._describe(made)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias at a version. Raises NotFound."""
        with translated(f"version {version} of model '{name}'"):
            self._client.get_model_version(name, str(version))
            self._client.set_registered_model_alias(name, alias, str(version))

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias; nothing happens where it is not set."""
        try:
            with translated(f"model '{name}'"):
                self._client.delete_registered_model_alias(name, alias)
        except NotFound:
            return

    def set_tags(self, name: str, version: int, tags: Mapping[str, str]) -> None:
        """Add or replace tags of a version. Raises NotFound."""
        with translated(f"version {version} of model '{name}'"):
            for key, value in tags.items():
                self._client.set_model_version_tag(name, str(version), key, value)

    def resolve(self, name: str, alias_or_version: str) -> ModelVersion:
        """The version behind an alias or number. Raises NotFound."""
        if alias_or_version.isdigit():
            with translated(f"version {alias_or_version} of model '{name}'"):
                return self._describe(self._client.get_model_version(name, alias_or_version))
        with translated(f"alias '{alias_or_version}' of model '{name}'"):
            return self._describe(self._client.get_model_version_by_alias(name, alias_or_version))

    def versions(self, name: str | None = None) -> list[ModelVersion]:
        """All versions, newest first, of one model or of all."""
        found: list[Any] = []
        token = None
        with translated("models"):
            while True:
                page = self._client.search_model_versions(
                    None if name is None else f"name='{name}'",
                    max_results=200,
                    order_by=["creation_timestamp DESC", "version_number DESC"],
                    page_token=token,
                )
                found += page
                token = page.token
                if not token:
                    return [self._describe(version) for version in found]

    def download(self, model: ModelVersion) -> Path:
        """A local folder with the version's bundle; fetched once per version."""
        digest = hashlib.sha256(model.uri.encode()).hexdigest()[:8]
        target = self._cache / model.name / f"{model.version}-{digest}"
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as part,
            translated(f"bundle of {model.name} version {model.version}"),
        ):
            fetched = mlflow.artifacts.download_artifacts(artifact_uri=model.uri, dst_path=part, tracking_uri=self._uri)
            try:
                Path(fetched).replace(target)
            except OSError:
                if not target.is_dir():  # another process was faster, which is as good
                    raise
        return target

    def _upload(self, logged: Any, bundle: Path, *, run_id: str, example: pd.DataFrame) -> None:
        model = mlflow.models.Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
            run_id=run_id,
        )
        with tempfile.TemporaryDirectory() as folder, quiet():
            staged = Path(folder) / Path(_BUNDLE).name  # MLflow keeps the name of the folder that it is given
            shutil.copytree(bundle, staged)
            mlflow.pyfunc.save_model(
                path=f"{folder}/model",
                python_model=str(Path(__file__).with_name("mlflow_model.py")),
                artifacts={"bundle": str(staged)},
                signature=_signature(example),
                input_example=example.head(_EXAMPLE_ROWS).reset_index(drop=True),
                pip_requirements=[f"trimtab[train,track]=={package_version('trimtab')}"],
                mlflow_model=model,
            )
            self._client.log_model_artifacts(logged.model_id, f"{folder}/model")

    def _ensure_model(self, name: str) -> None:
        try:
            self._client.create_registered_model(name)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _describe(self, found: Any) -> ModelVersion:
        number = str(found.version)
        root = self._client.get_model_version_download_uri(found.name, number)
        aliases = self._client.get_registered_model(found.name).aliases
        logged = self._client.get_logged_model(found.source.rpartition("/")[2])
        return ModelVersion(
            name=found.name,
            version=int(number),
            uri=f"{root}/{_BUNDLE}",
            aliases=tuple(sorted(alias for alias, at in aliases.items() if str(at) == number)),
            tags=dict(found.tags),
            metrics={metric.key: metric.value for metric in logged.metrics or ()},
            created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, tz=UTC),
        )


@cache
def code_version() -> dict[str, str]:
    """Tags that name the code: the package's version and, in a checkout, the git commit."""
    tags = {"trimtab.version": package_version("trimtab")}
    source = Path(trimtab.__file__)
    git = ["git", "-C", str(source.parent)]
    try:
        # A package installed into somebody else's repository is not tracked there, and their commit is not ours.
        subprocess.run([*git, "ls-files", "--error-unmatch", source.name], capture_output=True, check=True, timeout=5)
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=True, timeout=5, text=True)
    except (OSError, subprocess.SubprocessError):
        return tags
    return {**tags, "mlflow.source.git.commit": head.stdout.strip()}


def _signature(example: pd.DataFrame) -> Any:
    types = mlflow.types
    columns = [
        types.ColSpec(_type_of(column), name=str(name), required=not column.isna().any())
        for name, column in example.items()
    ]
    outputs = [types.ColSpec("double", "probability"), types.ColSpec("double", "uplift")]
    return mlflow.models.ModelSignature(
        types.Schema(columns), types.Schema([*outputs, types.ColSpec("boolean", "act")])
    )


def _type_of(column: "pd.Series[Any]") -> str:
    if pd.api.types.is_integer_dtype(column):
        return "long"
    return "double" if pd.api.types.is_float_dtype(column) else "string"


def _metrics(values: Mapping[str, float], *, step: int = 0, model_id: str | None = None) -> list[Any]:
    """Finite values as MLflow metrics; MLflow gives a model's NaN back as 0."""
    now = int(time.time() * 1000)
    return [
        mlflow.entities.Metric(key, float(value), now, step, model_id=model_id)
        for key, value in values.items()
        if math.isfinite(value)
    ]


def _batches(items: Sequence[ItemT], size: int) -> Iterator[Sequence[ItemT]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
