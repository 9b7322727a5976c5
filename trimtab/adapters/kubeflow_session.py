"""A checked connection to Kubeflow Pipelines, and its errors as Trimtab's.

The KFP client waits without limit for an endpoint that does not answer, prints links to standard output and shows HTTP
errors as stack traces. So the connection is tried first with a time limit, and every call goes through `translated`.
"""

import contextlib
import io
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from trimtab.errors import BadInput, NotFound, TrimtabError, Unavailable
from trimtab.profile import KubeflowPipelines

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kfp_server_api
    from kfp.client import Client
    from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

__all__ = ["connect", "kfp_server_api", "translated"]

_CONNECT_SECONDS, _READ_SECONDS = 5.0, 15.0
# Where Kubernetes projects a pod's token for KFP; the variable is KFP's own.
_POD_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105 - a path
_POD_TOKEN_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105 - a name


def connect(settings: KubeflowPipelines) -> tuple[Any, str | None]:
    """A client of the endpoint, and the namespace to name in its calls (None where it has a single user).

    Raises:
        Unavailable: Nothing answers.
        BadInput: The endpoint refuses the token, or is not Kubeflow Pipelines 2.
    """
    host, token = settings.endpoint.rstrip("/"), settings.token.strip()  # a Secret made of a file ends in a line break
    if not host.startswith(("http://", "https://")):
        raise BadInput(f"pipelines endpoint '{settings.endpoint}' is not an http(s) URL.")
    credentials = _pod_credentials() if not token else None
    multi_user = _multi_user(host, token, credentials)
    namespace = settings.namespace if multi_user else None
    with translated(host), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = Client(
            host=host,
            existing_token=token or None,
            credentials=credentials,
            namespace=namespace or "kubeflow",  # the client's own word for "not given"
        )
    _limit(client)
    return client, namespace


def _limit(client: Any) -> None:
    """Give each call a time limit: the client has none, and waits for ever where a connection was cut silently."""
    pool = client._run_api.api_client.rest_client.pool_manager  # all its APIs share it
    unlimited = pool.request

    def request(method: str, url: str, **options: Any) -> Any:
        limit = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
        return unlimited(method, url, **{**options, "timeout": options.get("timeout") or limit})

    pool.request = request


@contextmanager
def translated(endpoint: str) -> Iterator[None]:
    """Turn the client's errors into Trimtab's, and keep its prints off standard output."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except kfp_server_api.ApiException as error:
        raise _translate(error, endpoint) from error
    except (urllib3.exceptions.HTTPError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unavailable(
            f"Kubeflow Pipelines at {endpoint} does not answer: {reason}.", remedy="Check the profile's endpoint."
        ) from error


def _translate(error: Any, endpoint: str) -> TrimtabError:
    status, where = error.status or 0, f"Kubeflow Pipelines at {endpoint}"
    if status in (401, 403):
        return BadInput(
            f"{where} refuses the token (HTTP {status}): {_reason(error)}",
            remedy="Set KFP_TOKEN to a token that may use the profile's namespace.",
        )
    if status == 404 and _is_from_kfp(error):
        return NotFound(f"{where} does not know it: {_reason(error)}")
    if status == 404:
        return BadInput(
            f"{where} has no v2beta1 API (HTTP 404).",
            remedy="Trimtab needs Kubeflow Pipelines 2 or later; check the endpoint's path.",
        )
    if status == 429 or status >= 500 or status == 0:
        return Unavailable(f"{where} failed (HTTP {status}): {_reason(error)}", remedy="Try again later.")
    return BadInput(f"{where} refuses the request (HTTP {status}): {_reason(error)}")


def _reason(error: Any) -> str:
    """The server's own words, on one line."""
    body = _json(error)
    text = str(body.get("error") or body.get("message") or "") or str(error.reason)
    return " ".join(text.split())[:300]


def _is_from_kfp(error: Any) -> bool:
    """Whether KFP itself said 404 (with a gRPC code) rather than a proxy that knows no such path."""
    return _json(error).get("code") == 5


def _json(error: Any) -> dict[str, Any]:
    try:
        body = json.loads(error.body or "{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _pod_credentials() -> Any:
    path = os.environ.get(_POD_TOKEN_VARIABLE, _POD_TOKEN)
    return ServiceAccountTokenVolumeCredentials(path) if Path(path).is_file() else None


def _multi_user(host: str, token: str, credentials: Any) -> bool:
    """Ask the endpoint how it is; the answer also says whether it has many users."""
    configuration = kfp_server_api.Configuration(host=host)
    configuration.retries = False
    configuration.api_key_prefix["authorization"] = "Bearer"
    if token:
        configuration.api_key["authorization"] = token
    elif credentials:
        credentials.refresh_api_key_hook(configuration)
    api = kfp_server_api.HealthzServiceApi(kfp_server_api.ApiClient(configuration))
    with translated(host):
        health, _, headers = api.healthz_service_get_healthz_with_http_info(
            _request_timeout=(_CONNECT_SECONDS, _READ_SECONDS)
        )
    if not headers.get("Content-Type", "").startswith("application/json"):
        raise BadInput(
            f"{host} answers, but not as Kubeflow Pipelines; it may be a login page.",
            remedy="Set KFP_TOKEN, and check the profile's endpoint.",
        )
    return bool(health.multi_user)
