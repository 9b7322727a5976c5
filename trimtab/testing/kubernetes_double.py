"""A stand-in for the Kubernetes API on loopback, for tests of whatever speaks to it through a real client.

It keeps objects in memory as the API server does: resource versions that refuse a stale write, generations that count
changes of the spec, a status that a plain write cannot touch, label selectors, deletion that may take a while. A
controller may be plugged in, which acts when an object is looked at: tests need no sleep to be in between two states.
It stops with its `with` block, and by itself after a while.
"""

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlparse

import yaml

_LIFETIME_SECONDS = 240.0
_PLURALS = ("inferenceservices", "deployments", "revisions", "configmaps", "leases", "modelexperiments")
Body = dict[str, Any]
Answer = tuple[int, Body]


class Controller(Protocol):
    """Whoever acts on objects in a cluster."""

    def looked_at(self, double: "KubernetesDouble", plural: str, found: Body) -> None:
        """Somebody is about to read the object: change it, or others, as time has passed."""
        ...

    def deleted(self, double: "KubernetesDouble", plural: str, found: Body) -> None:
        """The object is gone: let go of what it owned."""
        ...


@dataclass
class KubernetesDouble:
    """What the double holds, and how it is to behave.

    Attributes:
        url: Its address.
        plurals: Kinds that it knows.
        namespaces: Namespaces that exist.
        controller: Acts on objects; None for nobody.
        objects: Objects by kind, namespace and name.
        failures: HTTP statuses that the next calls are answered with, first one first.
        forbidden: Verb and kind that the account may not use.
        rivals: How many of the next writes find that somebody else wrote just before.
        farewell: How often an object that is being deleted is looked at before it is gone.
        calls: Method and path of all calls.
    """

    url: str = ""
    plurals: set[str] = field(default_factory=lambda: set(_PLURALS))
    namespaces: set[str] = field(default_factory=lambda: {"default"})
    controller: Controller | None = None
    objects: dict[tuple[str, str, str], Body] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    rivals: int = 0
    farewell: int = 0
    calls: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _count: int = 0

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here."""
        text = yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "double",
                "contexts": [{"name": "double", "context": {"cluster": "double", "user": "tester"}}],
                "clusters": [{"name": "double", "cluster": {"server": self.url}}],
                "users": [{"name": "tester", "user": {"token": "secret"}}],
            }
        )
        path.write_text(text, encoding="utf-8")
        return path

    def store(self, plural: str, body: Body) -> Body:
        """Put an object with all of its parts, as a controller may; counts the generation where the spec differs."""
        metadata = body["metadata"]
        key = (plural, metadata["namespace"], metadata["name"])
        found = self.objects.get(key)
        before = found["metadata"]["generation"] if found else 0
        changed = found is None or found.get("spec") != body.get("spec")
        self._count += 1
        stored = copy.deepcopy(body)
        stored["metadata"].update(resourceVersion=str(self._count), generation=before + changed)
        stored["metadata"].setdefault("uid", f"uid-{self._count}")
        self.objects[key] = stored
        return stored

    def respond(self, method: str, path: str, query: dict[str, str], body: Body) -> Answer:
        """Status and body of the answer to one call."""
        self.calls.append((method, path))
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "v1"]:  # core objects
            parts = ["apis", "", *parts[1:]]
        part = "status" if parts[7:] == ["status"] else ""
        parts = parts[:7] if part else parts
        if len(parts) not in (6, 7) or parts[0] != "apis" or parts[5] not in self.plurals:
            return 404, {}
        namespace, plural, name = parts[4], parts[5], "/".join(parts[6:])
        verb = _VERBS[method] if name or method == "POST" else "list"
        if self.failures:
            return _failure(self.failures.pop(0), "the storage is away")
        if (verb, plural) in self.forbidden:
            return _failure(403, f'{plural} is forbidden: User "tester" cannot {verb} resource "{plural}"')
        if verb == "create":
            return self._create(plural, namespace, body)
        if verb == "list":
            wanted = dict(item.split("=") for item in query.get("labelSelector", "").split(",") if item)
            items = [found for key, found in self.objects.items() if key[:2] == (plural, namespace)]
            return 200, {
                "items": [item for item in items if wanted.items() <= item["metadata"].get("labels", {}).items()]
            }
        return self._one(verb, (plural, namespace, name), body, part)

    def _one(self, verb: str, key: tuple[str, str, str], body: Body, part: str) -> Answer:
        if verb == "get" and key in self.objects:
            self._look(key)
        found = self.objects.get(key)
        if found is None:
            return _failure(404, f'{key[0]} "{key[2]}" not found', name=key[2])
        if verb == "get":
            return 200, found
        if verb == "delete":
            found["metadata"]["deletionTimestamp"] = "2026-03-01T00:00:00Z"
            if not self.farewell:
                self._forget(key)
            return 200, found
        expected = body.get("metadata", {}).get("resourceVersion")
        rivalled = self._is_rivalled(key[0], found)
        version = str(self.objects[key]["metadata"]["resourceVersion"])
        if (rivalled or expected != version) and not (verb == "patch" and expected is None):
            return _failure(409, "the object has been modified; please apply your changes to the latest version")
        found = self.objects[key]
        if verb == "patch":
            kept = {name: value for name, value in _merged(found, body).items() if (name == "status") == bool(part)}
            return 200, self.store(key[0], {**found, **kept})
        return 200, self.store(key[0], {**body, "status": found.get("status", {})})

    def _create(self, plural: str, namespace: str, body: Body) -> Answer:
        if namespace not in self.namespaces:
            return _failure(404, f'namespaces "{namespace}" not found', name=namespace, kind="namespaces")
        name = body["metadata"]["name"]
        wanted = {**body, "status": {}}
        wanted["metadata"] = {**body["metadata"], "namespace": namespace}
        if (plural, namespace, name) not in self.objects and self.rivals:
            self.rivals -= 1
            self.store(plural, wanted)
        if (plural, namespace, name) in self.objects:
            return _failure(409, f'{plural} "{name}" already exists', name=name)
        return 201, self.store(plural, wanted)

    def _is_rivalled(self, plural: str, found: Body) -> bool:
        """Whether somebody else writes just now."""
        if not self.rivals:
            return False
        self.rivals -= 1
        rival = copy.deepcopy(found)
        rival["metadata"].setdefault("annotations", {})["rival"] = str(self.rivals)
        self.store(plural, rival)
        return True

    def _look(self, key: tuple[str, str, str]) -> None:
        found = self.objects[key]
        if "deletionTimestamp" in found["metadata"]:
            self.farewell -= 1
            if self.farewell <= 0:
                self._forget(key)
        elif self.controller:
            self.controller.looked_at(self, key[0], found)

    def _forget(self, key: tuple[str, str, str]) -> None:
        found = self.objects.pop(key)
        if self.controller:
            self.controller.deleted(self, key[0], found)


@contextmanager
def kubernetes_double(controller: Controller | None = None) -> Iterator[KubernetesDouble]:
    """Run a double on a free port of loopback."""
    double = KubernetesDouble(controller=controller)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(double))
    double.url = f"http://127.0.0.1:{server.server_port}"
    timer = threading.Timer(_LIFETIME_SECONDS, server.shutdown)
    timer.daemon = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    timer.start()
    thread.start()
    try:
        yield double
    finally:
        timer.cancel()
        server.shutdown()
        server.server_close()
        thread.join()


_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PATCH = "application/merge-patch+json"


def _merged(found: Body, change: Body) -> Body:
    """What a merge patch (RFC 7396) makes of a document."""
    result = dict(found)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            old = result.get(name)
            result[name] = _merged(old if isinstance(old, dict) else {}, value) if isinstance(value, dict) else value
    return result


def _failure(status: int, message: str, **details: str) -> Answer:
    """A `Status`, as the API explains a failure."""
    return status, {"kind": "Status", "apiVersion": "v1", "code": status, "message": message, "details": details}


def _handler(double: KubernetesDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            url = urlparse(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            with double.lock:
                if self.command == "PATCH" and self.headers["Content-Type"] != _PATCH:
                    status, found = _failure(415, "the body of the request was in an unknown format")
                else:
                    status, found = double.respond(self.command, url.path, query, body)
                content = json.dumps(found).encode() if found else b"404 page not found\n"
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if found else "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - names of the base class

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - name of the base class
            """Keep quiet."""

    return Handler
