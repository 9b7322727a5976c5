"""Profiles: which technology stands behind each port, as URIs a person writes.

`{home}` in a value is the state folder (`TRIMTAB_HOME`, default `.trimtab`); `${NAME}` is an environment variable,
which is how secrets come in.
"""

import os
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

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


class KserveDeployer(_Strict):
    """Arms are InferenceServices."""

    kind: Literal["kserve"]
    namespace: str = "default"


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
        events: Folder URI of the event log.
        pipelines: Where pipelines run.
        deployer: Where arms are served.
        router: Where the router runs.
    """

    name: str
    home: Path
    tracking_uri: str
    artifact_root: str
    study_storage: str
    feature_registry: str
    online_store: str
    events: str
    pipelines: Annotated[LocalPipelines | KubeflowPipelines, Field(discriminator="kind")]
    deployer: Annotated[ProcessDeployer | KserveDeployer, Field(discriminator="kind")]
    router: Annotated[RouterProcess | RouterUrl, Field(discriminator="kind")] = RouterProcess(kind="process")


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
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(3)
        found = os.environ.get(name, default)
        if found is None:
            raise BadInput(f"profile '{path}' needs the environment variable {name}, which is not set.")
        return found

    return re.sub(r"\$\{(\w+)(:-([^}]*))?\}", variable, value).replace("{home}", home)
