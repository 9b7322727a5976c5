"""The Kubernetes API: one connection, one gateway to objects of a kind, and its errors as Trimtab's.

Other adapters speak to the cluster through `Objects` only, so that what a 403, a 404 or a 409 means to a reader is said
in one place. A write carries the resource version that it was computed from: a rival's change is never overwritten, it
is read again and the change is made anew.
"""

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import urllib3

from trimtab.adapters.kubernetes_calls import Body, ObjectCalls
from trimtab.errors import BadInput, NotFound, TrimtabError, Unavailable
from trimtab.ports import ClusterLogin

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from kubernetes import client, config
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config.config_exception import ConfigException

__all__ = ["Body", "Kind", "Objects", "connect", "current_namespace", "log_in", "serialise"]

ResultT = TypeVar("ResultT")

_ATTEMPTS = 5  # of one call that the API fails to answer
_CONFLICTS = 10  # of one change that rivals were faster at
_POD = "KUBERNETES_SERVICE_HOST"  # set in every pod
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object, and what puts it into a cluster; the group is empty for core objects."""

    group: str
    version: str
    plural: str
    provider: str


def connect(*, kubeconfig: str = "", context: str = "") -> Any:
    """A client of the cluster: the pod's own account inside one, a kubeconfig elsewhere or where either is named.

    Args:
        kubeconfig: A kubeconfig file; empty for the usual one.
        context: A context of it; empty for its current one.

    Raises:
        BadInput: There is no usable configuration.
    """
    made = client.Configuration()
    try:
        if os.environ.get(_POD) and not (kubeconfig or context):
            config.load_incluster_config(client_configuration=made)
        else:
            config.load_kube_config(kubeconfig or None, context=context or None, client_configuration=made)
    except (ConfigException, OSError, ValueError) as error:
        raise BadInput(
            f"no Kubernetes cluster is configured: {str(error).rstrip('.')}.",
            remedy="Set the deployer's kubeconfig and context in the profile, or KUBECONFIG.",
        ) from error
    made.retries = False  # `Objects` decides what may be tried again
    return client.ApiClient(made)


def log_in(*, kubeconfig: str = "", context: str = "") -> ClusterLogin:
    """What another client needs for the same cluster and account as `connect`.

    Args:
        kubeconfig: A kubeconfig file; empty for the usual one.
        context: A context of it; empty for its current one.

    Raises:
        BadInput: There is no usable configuration.
    """
    made = connect(kubeconfig=kubeconfig, context=context).configuration
    return ClusterLogin(
        server=made.host,
        authorization=str(made.auth_settings().get("BearerToken", {}).get("value") or ""),
        ca_file=made.ssl_ca_cert or "",
        verify=bool(made.verify_ssl),
        certificate_file=made.cert_file or "",
        key_file=made.key_file or "",
    )


def current_namespace(*, kubeconfig: str = "", context: str = "") -> str:
    """The namespace that is meant where none is named: the pod's own inside a cluster, else the context's.

    Args:
        kubeconfig: A kubeconfig file; empty for the usual one.
        context: A context of it; empty for its current one.
    """
    if os.environ.get(_POD) and not (kubeconfig or context) and _ACCOUNT.is_file():
        return _ACCOUNT.read_text(encoding="utf-8").strip()
    try:
        contexts, current = config.list_kube_config_contexts(kubeconfig or None)
    except (ConfigException, OSError, ValueError):
        return "default"  # `connect` says what is wrong with it
    found = next((one for one in contexts if one["name"] == context), current)
    return str(found["context"].get("namespace") or "default")


def serialise(model: Any) -> Body:
    """A client model as the API takes it, without its empty fields."""
    return dict(client.ApiClient(client.Configuration()).sanitize_for_serialization(model))


class Objects:
    """The objects of one kind in one namespace, as plain documents.

    Args:
        api: A client, as `connect` gives it.
        kind: Which objects.
        namespace: Where.
        pause_seconds: Before a call is tried again; doubled each time.
    """

    def __init__(self, api: Any, kind: Kind, *, namespace: str, pause_seconds: float = 0.2) -> None:
        self._api = api
        self._calls = ObjectCalls(api, group=kind.group, version=kind.version, namespace=namespace, plural=kind.plural)
        self._kind = kind
        self._namespace = namespace
        self._pause_seconds = pause_seconds

    def get(self, name: str) -> Body | None:
        """One object; None where there is none."""
        try:
            return self._call("get", partial(self._calls.get, name), name)
        except NotFound:
            return None

    def select(self, labels: Mapping[str, str]) -> list[Body]:
        """All objects with these labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return list(self._call("list", partial(self._calls.list, selector))["items"])

    def apply(self, name: str, change: Callable[[Body | None], Body]) -> Body:
        """Write what `change` makes of the object as it is now; None where it is not there.

        `change` is called again where somebody else wrote in between, so it must not act on anything else. An object
        that it gives back as it was is not written.

        Raises:
            BadInput: The API refuses the object.
            Unavailable: The API does not answer, or others write without end.
        """
        for _ in range(_CONFLICTS):
            found = self.get(name)
            wanted = change(found)
            if wanted == found:
                return wanted
            try:
                if found is None:
                    return self._call("create", partial(self._calls.create, wanted))
                return self._call("update", partial(self._calls.replace, name, wanted), name)
            except (_Conflict, NotFound):  # changed, made or deleted meanwhile
                time.sleep(self._pause_seconds)
        raise self._contended(name)

    def merge(self, name: str, change: Mapping[str, Any], *, part: str = "") -> None:
        """Write some fields of one object, whatever others write; None removes a field.

        Args:
            name: Name of the object.
            change: The fields.
            part: A part of it that is written apart, such as `status`.

        Raises:
            NotFound: There is no such object.
            BadInput: The API refuses the change.
            Unavailable: The API does not answer.
        """
        self._call("patch", partial(self._calls.merge, name, dict(change), part=part), name)

    def amend(self, name: str, change: Callable[[Body], Mapping[str, Any]]) -> None:
        """Write the fields that `change` gives for the object as it is now; None removes one, no field is no write.

        Raises:
            NotFound: There is no such object.
            BadInput: The API refuses the change.
            Unavailable: The API does not answer, or others write without end.
        """
        for _ in range(_CONFLICTS):
            found = self._call("get", partial(self._calls.get, name), name)
            wanted = change(found)
            if not wanted:
                return
            version = {"resourceVersion": found["metadata"]["resourceVersion"]}
            try:
                self.merge(name, {**wanted, "metadata": {**wanted.get("metadata", {}), **version}})
            except _Conflict:
                time.sleep(self._pause_seconds)
            else:
                return
        raise self._contended(name)

    def delete(self, name: str) -> None:
        """Delete one object and what it owns; nothing happens where there is none."""
        try:
            self._call("delete", partial(self._calls.delete, name), name)
        except NotFound:
            return

    def _call(self, verb: str, call: Callable[[], ResultT], name: str = "") -> ResultT:
        for attempt in range(_ATTEMPTS):
            try:
                with self._translated(verb, name):
                    return call()
            except Unavailable:
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(self._pause_seconds * 2**attempt)
        raise AssertionError  # the last attempt returns or raises

    @contextmanager
    def _translated(self, verb: str, name: str = "") -> Iterator[None]:
        try:
            yield
        except ApiException as error:
            raise self._translate(error, verb, name) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise Unavailable(
                f"the Kubernetes API at {self._api.configuration.host} does not answer: {reason}.",
                remedy="Check the profile's kubeconfig and context.",
            ) from error

    def _translate(self, error: Any, verb: str, name: str) -> TrimtabError:  # noqa: PLR0911 - one per meaning
        status, reason = error.status or 0, _message(error)
        if status == 401:
            return BadInput(
                f"the Kubernetes API at {self._api.configuration.host} refuses the credentials: {reason}",
                remedy="Renew the kubeconfig's login or the pod's service account.",
            )
        if status == 403:
            return BadInput(
                f"the account may not {verb} {self._kind.plural} in namespace '{self._namespace}': {reason}",
                remedy="Grant its service account that verb on that resource; see docs/kserve.md.",
            )
        if status == 404 and _details(error).get("kind") == "namespaces":
            return BadInput(f"namespace '{self._namespace}' does not exist.", remedy="Create it, or mend the profile.")
        if status == 404 and not _details(error).get("name"):
            return BadInput(
                f"{self._kind.provider} is not installed in the cluster: it does not know {self._kind.plural}.",
                remedy=f"Install {self._kind.provider}, or check the kubeconfig's context.",
            )
        if status == 404:
            return NotFound(f"{self._named(name)} does not exist: {reason}")
        if status == 409:
            return _Conflict(f"{self._named(name)} was changed by somebody else: {reason}")
        if status == 429 or status >= 500 or status == 0:
            return Unavailable(f"the Kubernetes API failed (HTTP {status}): {reason}", remedy="Try again later.")
        return BadInput(f"the Kubernetes API refuses {self._named(name)}: {reason}")

    def _contended(self, name: str) -> TrimtabError:
        return Unavailable(f"{self._named(name)} is being changed by somebody else all the time.", remedy="Try again.")

    def _named(self, name: str) -> str:
        return f"{self._kind.plural} '{name}' in namespace '{self._namespace}'" if name else self._kind.plural


class _Conflict(TrimtabError):
    """Somebody else wrote first; read again."""


def _message(error: Any) -> str:
    """The API's own words, on one line."""
    return " ".join(str(_body(error).get("message") or error.reason or "").split())[:600]


def _details(error: Any) -> dict[str, Any]:
    details = _body(error).get("details")
    return details if isinstance(details, dict) else {}


def _body(error: Any) -> dict[str, Any]:
    try:
        body = json.loads(error.body or "{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
