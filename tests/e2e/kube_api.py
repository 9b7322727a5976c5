"""A private API server of Kubernetes with its etcd, where both programs are installed, and a person's hand in it."""

import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kubernetes import dynamic
from kubernetes.dynamic.exceptions import ResourceNotFoundError

from trimtab.adapters.kubernetes import connect

PROGRAMS = ("kube-apiserver", "etcd")
ADMIN = "admin"
_PATIENCE_SECONDS = 90.0
_LIFETIME_SECONDS = 600  # after which both end by themselves
Object = dict[str, Any]


def _program(name: str) -> str | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    return shutil.which(name, path=assets) or shutil.which(name) if assets else shutil.which(name)


_MISSING = ", ".join(name for name in PROGRAMS if _program(name) is None)
# Marks of a module that starts a server.
NEEDS_SERVER = [pytest.mark.slow, pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {_MISSING}")]


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A running server.

    Attributes:
        url: Its address.
        folder: Its files, and the kubeconfigs of those who speak to it.
    """

    url: str
    folder: Path

    def kubeconfig(self, user: str, *, namespace: str = "default") -> Path:
        """A file by which a user speaks to it.

        Args:
            user: One of those that the server was started with.
            namespace: The context's.
        """
        path = self.folder / f"{user.replace(':', '-')}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.folder / "certificates" / "apiserver.crt")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": _token(user)}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": user, "namespace": namespace}}],
        }
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def client(self, user: str = ADMIN) -> Any:
        """A client by which a user speaks to it."""
        return connect(kubeconfig=str(self.kubeconfig(user)))


class Hand:
    """Whoever applies documents, as a user of the server.

    Args:
        client: A client.
    """

    def __init__(self, client: Any) -> None:
        self._dynamic = dynamic.DynamicClient(client)

    def kind(self, one: Object) -> Any:
        """The server's resource for an object; None where this version of Kubernetes has none."""
        try:
            return self._dynamic.resources.get(api_version=one["apiVersion"], kind=one["kind"])
        except ResourceNotFoundError:
            return None

    def create(self, one: Object, *, dry: bool = False) -> Object:
        """Create an object; a dry run only has it checked and admitted."""
        options = {"query_params": [("dryRun", "All"), ("fieldValidation", "Strict")]} if dry else {}
        namespace = one["metadata"].get("namespace", "default")
        made = self.kind(one).create(body=one, namespace=namespace, **options)
        return dict(made.to_dict())

    def create_namespaces(self, *names: str) -> None:
        """Create namespaces."""
        for name in names:
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def apply_all(self, objects: Sequence[Object]) -> list[Object]:
        """Create what the server has a kind for; gives the rest."""
        unknown = [one for one in objects if self.kind(one) is None]
        for one in objects:
            if one not in unknown:
                self.create(one)
        return unknown

    def call(
        self, verb: str, api_version: str, kind: str, name: str, *, namespace: str = "default", **more: Any
    ) -> Any:
        """Any other call for one object: `get`, `patch`, `delete`; None where it is not there."""
        resource = self._dynamic.resources.get(api_version=api_version, kind=kind)
        try:
            return getattr(resource, verb)(name=name, namespace=namespace, **more).to_dict()
        except dynamic.exceptions.NotFoundError:
            return None

    def all(self, api_version: str, kind: str, *, namespace: str = "default") -> list[Object]:
        """All objects of a kind."""
        resource = self._dynamic.resources.get(api_version=api_version, kind=kind)
        return list(resource.get(namespace=namespace).to_dict()["items"])

    def write_status(
        self, api_version: str, kind: str, name: str, status: Mapping[str, Any], *, namespace: str
    ) -> None:
        """Write an object's status, as its controller does."""
        resource = self._dynamic.resources.get(api_version=api_version, kind=kind)
        resource.status.patch(
            name=name,
            namespace=namespace,
            body={"apiVersion": api_version, "kind": kind, "status": dict(status)},
            content_type="application/merge-patch+json",
        )


@contextmanager
def api_server(folder: Path, *, users: Mapping[str, Sequence[str]]) -> Iterator[ApiServer]:
    """A server that lives as long as the block.

    Args:
        folder: An empty folder.
        users: Names of those who may speak to it beside the administrator, with their groups.
    """
    etcd, peer, port = _free_port(), _free_port(), _free_port()
    store = f"http://127.0.0.1:{etcd}"
    with ExitStack() as running:
        _run(
            running, folder, "etcd",
            f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={store}", f"--advertise-client-urls={store}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
        )  # fmt: skip
        key = folder / "accounts.pem"
        key.write_bytes(_private_key())
        tokens = folder / "tokens.csv"
        groups = {ADMIN: ("system:masters",), **users}
        lines = [f'{_token(user)},{user},{user},"{",".join(of)}"' for user, of in groups.items()]
        tokens.write_text("\n".join(lines) + "\n", encoding="utf-8")
        server = _run(
            running, folder, "kube-apiserver",
            f"--etcd-servers={store}", f"--cert-dir={folder / 'certificates'}", "--bind-address=127.0.0.1",
            f"--secure-port={port}", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
            f"--token-auth-file={tokens}", "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc", "--disable-admission-plugins=ServiceAccount",
        )  # fmt: skip
        found = ApiServer(f"https://127.0.0.1:{port}", folder)
        _await_ready(found, server)
        yield found


def _await_ready(server: ApiServer, process: subprocess.Popen[bytes]) -> None:
    request = urllib.request.Request(f"{server.url}/readyz", headers={"Authorization": f"Bearer {_token(ADMIN)}"})
    deadline, certificate = time.monotonic() + _PATIENCE_SECONDS, server.folder / "certificates" / "apiserver.crt"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            context = ssl.create_default_context(cafile=str(certificate))
            with urllib.request.urlopen(request, timeout=5, context=context):
                return
        except OSError:
            time.sleep(0.2)
    log = (server.folder / "kube-apiserver.log").read_text(encoding="utf-8", errors="replace")
    raise AssertionError(f"the API server is not ready:\n{log[-2000:]}")


def _run(running: ExitStack, folder: Path, name: str, *options: str) -> subprocess.Popen[bytes]:
    log = running.enter_context((folder / f"{name}.log").open("wb"))
    command = ["timeout", str(_LIFETIME_SECONDS), str(_program(name)), *options]
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    running.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=20)


def _token(user: str) -> str:
    return f"token-of-{user.replace(':', '-')}"


def _private_key() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
