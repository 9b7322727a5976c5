"""One place that imports MLflow: quiet, without telemetry, its errors translated.

MLflow logs every schema migration, draws progress bars over one-file copies and sends usage records. All of that is
decided by environment variables that it reads when it is imported, so they are set first; what a user has set stays.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trimtab.errors import BadInput, NotFound, TrimtabError, Unavailable

_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # An unreachable server is reported after seconds, not after MLflow's default of seven doubling waits.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
_MISSING = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "ENDPOINT_NOT_FOUND"}
_AWAY = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED"}
_REFUSED = {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}

for _name, _value in _DEFAULTS.items():
    os.environ.setdefault(_name, _value)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop the warnings that MLflow raises about its own modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


with quiet():
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

__all__ = ["client", "mlflow", "quiet", "translated"]

logging.getLogger("alembic").setLevel(logging.WARNING)


def client(uri: str) -> Any:
    """A client of a tracking server or SQLite file that is also the registry.

    The process-wide URI is set too: MLflow's SQL registry resolves `models:/m-...` through it, whatever the client.

    Raises:
        BadInput: The URI is a plain folder, which MLflow 3 no longer accepts.
        Unavailable: The server or database does not answer.
    """
    if uri.startswith("file:") or "://" not in uri:
        raise BadInput(
            f"tracking_uri '{uri}' is a folder, which MLflow no longer tracks in.",
            remedy="Use sqlite:///PATH/mlflow.db or the URL of a tracking server.",
        )
    with translated(uri):
        mlflow.set_tracking_uri(uri)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn MLflow's errors into Trimtab's; `what` names the thing that was asked for."""
    try:
        yield
    except MlflowException as error:
        raise _translate(error, what) from error
    except OSError as error:
        raise Unavailable(f"{what}: {error}", remedy="Check the profile's tracking_uri and artifact_root.") from error


def _translate(error: MlflowException, what: str) -> TrimtabError:
    code, reason = str(error.error_code), str(error.message).splitlines()[0].split(" with url: ")[0]
    # An alias that is not set comes as INVALID_PARAMETER_VALUE.
    if code in _MISSING or (reason.startswith("Registered model alias") and reason.endswith("not found.")):
        return NotFound(f"{what} does not exist: {reason}", remedy="See `trimtab models list`.")
    if code in _REFUSED:
        return BadInput(f"{what}: the tracking server refused: {reason}", remedy="Check the credentials of MLflow.")
    if code in _AWAY or "API request to" in reason:
        return Unavailable(f"{what}: MLflow did not answer: {reason}", remedy="Check the profile's tracking_uri.")
    return TrimtabError(f"{what}: MLflow failed: {reason}")
