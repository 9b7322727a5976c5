"""Profiles: which technology stands behind each port, as URIs a person writes.

`{home}` in a value is the state folder (`TRIMTAB_HOME`, default `.trimtab`); `${NAME}` is an environment variable,
which is how secrets come in.
"""

import os
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trimtab.errors import BadInput


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LocalPipelines(_Strict):
    """Pipelines run in this machine's processes (`kfp.local`)."""

    kind: Literal["local"]


class KubeflowPipelines(_Strict):
    """Pipelines run on a Kubeflow Pipelines endpoint.

    Attributes:
        endpoint: URL of the API.
        namespace: Namespace of the runs.
        token: Bearer token, normally `${KFP_TOKEN}`; empty for the pod's service account.
        image: Image of the components.
    """

    kind: Literal["kubeflow"]
    endpoint: str
    namespace: str = "default"
    token: str = ""
    image: str = "trimtab/pipeline-python"


class ProcessDeployer(_Strict):
    """Arms are server processes on loopback."""

    kind: Literal["process"]


class Toleration(_Strict):
    """A taint that the arms' pods may be scheduled in spite of; fields as in Kubernetes."""

    key: str
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class KserveDeployer(_Strict):
    """Arms are InferenceServices.

    Attributes:
        namespace: Namespace of the services.
        instance: Who owns the services; two installations in one namespace need two names.
        image: Image with the model server.
        mode: KServe's deployment mode; must be one that the cluster has, and never changes for a service.
        service_account: Account of the pods, which KServe takes the storage's credentials from; empty for the default.
        serving_profile: Profile that the servers load for their online features; none where empty.
        env_secret: Secret whose keys become the servers' environment, for the variables of `serving_profile`.
        min_replicas: Pods of an arm at least; 0 scales to zero, in Knative mode only.
        max_replicas: Pods of an arm at most.
        requests: Resources to reserve per pod.
        limits: Resources a pod may not exceed, accelerators by their resource name.
        node_selector: Labels of the nodes to run on.
        tolerations: Taints of those nodes.
        ready_seconds: How long an arm may take until it is ready.
        kubeconfig: Kubeconfig file; empty for the pod's own account or, outside a cluster, the usual file.
        context: Context of the kubeconfig; empty for its current one.
    """

    kind: Literal["kserve"]
    namespace: str = "default"
    instance: str = Field("trimtab", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    image: str = "trimtab/serving"
    mode: Literal["Standard", "Knative"] = "Standard"
    service_account: str = ""
    serving_profile: str = ""
    env_secret: str = ""
    min_replicas: int = Field(1, ge=0)
    max_replicas: int = Field(3, ge=1)
    requests: dict[str, str] = Field(default_factory=lambda: {"cpu": "500m", "memory": "1Gi"})
    limits: dict[str, str] = Field(default_factory=lambda: {"memory": "2Gi"})
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    ready_seconds: float = Field(600.0, gt=0)
    kubeconfig: str = ""
    context: str = ""

    @model_validator(mode="after")
    def _replicas(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is more than max_replicas {self.max_replicas}")
        if self.min_replicas == 0 and self.mode == "Standard":
            raise ValueError("min_replicas 0 needs mode Knative: Standard mode does not scale to zero")
        return self


class RouterProcess(_Strict):
    """The router is a process on loopback, while a rollout runs.

    Attributes:
        port: Its port; 0 for a free one.
    """

    kind: Literal["process"]
    port: int = Field(default=0, ge=0, le=65_535)


class RouterUrl(_Strict):
    """The router runs already.

    Attributes:
        url: Where it answers.
        outcomes_token: Bearer token for reporting outcomes, normally `${TRIMTAB_OUTCOMES_TOKEN}`.
    """

    kind: Literal["url"]
    url: str
    outcomes_token: str = ""


class FolderRoutes(_Strict):
    """Routes are files in the state folder."""

    kind: Literal["folder"]


class ConfigMapRoutes(_Strict):
    """Routes are keys of a ConfigMap that routers mount.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        hearing_seconds: How long it takes, at most, until all routers see a change: the kubelet's period and the
            lifetime of its cache.
    """

    kind: Literal["configmap"]
    namespace: str = "default"
    name: str = "trimtab-routes"
    hearing_seconds: float = Field(default=120.0, ge=0)


class Features(_Strict):
    """How histories come into the online store.

    Attributes:
        batch_engine: Feast's settings of the engine that materialises, as `feature_store.yaml` has them, with `type`;
            Trimtab's own where absent.
    """

    batch_engine: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _typed(self) -> Self:
        if self.batch_engine is not None and not isinstance(self.batch_engine.get("type"), str):
            raise ValueError("batch_engine has no type")
        return self


class Profile(_Strict):
    """One place to run in.

    Attributes:
        name: Short name.
        home: State folder.
        tracking_uri: MLflow tracking server or SQLite URL.
        artifact_root: Where model files go; the serving side must be able to read it.
        study_storage: Optuna study: `journal://PATH` or an SQLAlchemy URL.
        feature_registry: Feast registry: a file path or an SQLAlchemy URL.
        online_store: Feast online store: `sqlite:///PATH` or `redis://HOST:PORT`.
        features: How histories come into the online store.
        events: Folder URI of the event log.
        pipelines: Where pipelines run.
        deployer: Where arms are served.
        router: Where the router runs.
        routes: Where routers read what they are told.
    """

    name: str
    home: Path
    tracking_uri: str
    artifact_root: str
    study_storage: str
    feature_registry: str
    online_store: str
    features: Features = Features()
    events: str
    pipelines: Annotated[LocalPipelines | KubeflowPipelines, Field(discriminator="kind")]
    deployer: Annotated[ProcessDeployer | KserveDeployer, Field(discriminator="kind")]
    router: Annotated[RouterProcess | RouterUrl, Field(discriminator="kind")] = RouterProcess(kind="process")
    routes: Annotated[FolderRoutes | ConfigMapRoutes, Field(discriminator="kind")] = FolderRoutes(kind="folder")


def shipped_profiles() -> dict[str, Path]:
    """Profiles that come with the package, by name."""
    folder = Path(str(resources.files("trimtab"))) / "profiles"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_profile(name_or_path: str = "local") -> Profile:
    """Read a profile and fill in `{home}` and `${NAME}`.

    Args:
        name_or_path: A YAML file, or the name of a shipped profile.

    Raises:
        BadInput: The profile is absent or wrong, or an environment variable that it names is unset.
    """
    path = shipped_profiles().get(name_or_path, Path(name_or_path))
    if not path.is_file():
        raise BadInput(
            f"profile '{name_or_path}' is neither a file nor a shipped profile.",
            remedy=f"Give a YAML file or one of: {', '.join(shipped_profiles())}.",
        )
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"profile '{path}' is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise BadInput(f"profile '{path}' is not a mapping.", remedy="See docs/profiles.md.")
    home = Path(os.environ.get("TRIMTAB_HOME") or _fill(str(raw.get("home", ".trimtab")), "", path)).absolute()
    try:
        return Profile.model_validate({**_fill(raw, str(home), path), "home": home})
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise BadInput(f"profile '{path}': {where}: {problem['msg']}.", remedy="See docs/profiles.md.") from error


def _fill(value: Any, home: str, path: Path) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, home, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, home, path) for item in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(3)
        found = os.environ.get(name, default)
        if found is None:
            raise BadInput(f"profile '{path}' needs the environment variable {name}, which is not set.")
        return found

    return re.sub(r"\$\{(\w+)(:-([^}]*))?\}", variable, value).replace("{home}", home)
