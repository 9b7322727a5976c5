"""The server's face: the two paths of predictions straight from ASGI, everything else through KServe's own app.

A framework's routing, validation and response objects cost several times what a prediction does. So the hot paths read
the body, answer it and write the answer, and nothing more; health, metadata, the repository, CloudEvents and whatever
else the protocol knows stay KServe's.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from serving.predictor import v1, v2
from serving.predictor.engine import Engine
from serving.predictor.payload import MAX_BODY_BYTES
from serving.predictor.tracing import Tracing
from trimtab.errors import NotFound, TrimtabError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Mapping[bytes, bytes]

_DISCARDED = 4  # a body of up to so many times the limit is read to its end, so that its sender reads the answer

_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")
_CLOUDEVENTS = b"application/cloudevents"
_MODEL = re.compile(
    r"/v1/models/(?P<v1>[^/]+):(?:predict|explain)"
    r"|/v2/(?P<rest>repository/)?models/(?P<v2>[^/]+)(?P<version>/versions/[^/]+)?(?P<what>/[a-z]+)?"
)

_log = logging.getLogger("kserve.trimtab")


class _TooLarge(TrimtabError):
    """The body is larger than a server takes."""

    http_status = 413


class _Refused(TrimtabError):
    """The server does not do that."""

    http_status = 403


class _Gone(Exception):
    """The caller has hung up."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = (_JSON,)


class Front:
    """An ASGI app that answers for one model.

    Args:
        engine: Answers batches.
        app: KServe's app, for all but predictions.
        tracing: Makes a span of each prediction; None for none.
    """

    def __init__(self, engine: Engine, app: App, *, tracing: Tracing | None = None) -> None:
        self._engine = engine
        self._app = app
        self._tracing = tracing
        name = engine.name
        self._hot: dict[str, Literal["v1", "v2"]] = {
            f"/v1/models/{name}:predict": "v1",
            f"/v2/models/{name}/infer": "v2",
            f"/v2/models/{name}/versions/{engine.version}/infer": "v2",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's next request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        protocol = self._hot.get(scope["path"]) if scope["method"] == "POST" else None
        if protocol is None:
            await self._other(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if _is_cloudevent(headers):
            await self._other(scope, receive, send)
            return
        began = time.perf_counter()
        try:
            body = await _body(receive, headers)
            reply = await self._predicted(protocol, body, headers)
        except _Gone:
            return
        except TrimtabError as error:
            reply = _failure(error)
        except Exception:
            _log.exception("a request to model '%s' failed", self._engine.name)
            reply = _Reply(500, orjson.dumps({"error": "the server failed; its log says why."}))
        self._engine.metrics.answered(protocol, status=reply.status, seconds=time.perf_counter() - began)
        await _write(send, reply)

    async def _predicted(self, protocol: Literal["v1", "v2"], body: bytes, headers: Headers) -> _Reply:
        if self._tracing is None:
            return await self._answered(protocol, body, headers)
        with self._tracing.span(protocol, headers) as span:
            reply = await self._answered(protocol, body, headers)
            span.set_attribute("http.response.status_code", reply.status)
            return reply

    async def _answered(self, protocol: Literal["v1", "v2"], body: bytes, headers: Headers) -> _Reply:
        if protocol == "v1":
            return _Reply(200, await v1.answer(self._engine, body))
        answer, json_length = await v2.answer(self._engine, body, headers.get(b"inference-header-content-length"))
        if json_length is None:
            return _Reply(200, answer)
        return _Reply(200, answer, (_BINARY, (b"inference-header-content-length", b"%d" % json_length)))

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What KServe's app answers, but for metrics, and for what it would answer with its own failure."""
        if scope["path"] == "/metrics" and scope["method"] in ("GET", "HEAD"):
            text, kind = self._engine.metrics.text()
            await _write(send, _Reply(200, text, ((b"content-type", kind.encode()),)))
            return
        try:
            path = self._checked(scope["path"])
            if scope["method"] in ("POST", "PUT", "PATCH"):
                receive = _replay(await _body(receive, dict(scope["headers"])))
        except _Gone:
            return
        except TrimtabError as error:
            await _write(send, _failure(error))
            return
        await self._app({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    def _checked(self, path: str) -> str:
        """The path without a version, which KServe's app knows nothing of.

        Raises:
            NotFound: It names another model or version, or something that the model does not do.
            _Refused: It asks the server to give up its model.
        """
        match = _MODEL.fullmatch(path)
        if match is None:
            return path
        name, engine = match["v1"] or match["v2"], self._engine
        if name != engine.name:
            raise NotFound(f"there is no model {name!r:.80} here.", remedy=f"This server serves '{engine.name}'.")
        if path.endswith(":explain"):
            raise NotFound(f"model '{name}' has no explanations.", remedy="Ask for ':predict'.")
        if match["rest"]:
            if match["what"] == "/unload":
                raise _Refused("a server serves one version for as long as it runs.", remedy="Stop the server instead.")
            return path
        if match["version"] is None:
            return path
        if match["version"] != f"/versions/{engine.version}":
            raise NotFound(f"model '{name}' is served at version {engine.version} here.")
        return f"/v2/models/{name}{match['what'] or ''}"


def _is_cloudevent(headers: Headers) -> bool:
    return b"ce-specversion" in headers or headers.get(b"content-type", b"").startswith(_CLOUDEVENTS)


async def _body(receive: Receive, headers: Headers) -> bytes:
    """A request's whole body.

    Raises:
        _TooLarge: It is larger than the limit.
        _Gone: The caller hung up before its end.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False) and len(body) <= MAX_BODY_BYTES:
        return body
    declared = headers.get(b"content-length", b"0")
    size, parts = 0, []
    while True:
        if message["type"] == "http.disconnect":
            raise _Gone
        part: bytes = message.get("body", b"")
        size += len(part)
        if size <= MAX_BODY_BYTES:
            parts.append(part)
        elif size > _DISCARDED * MAX_BODY_BYTES or int(declared) > _DISCARDED * MAX_BODY_BYTES:
            break
        if not message.get("more_body", False):
            break
        message = await receive()
    if size > MAX_BODY_BYTES:
        raise _TooLarge(
            f"the body is larger than {MAX_BODY_BYTES // 2**20} MiB.", remedy="Send its instances in several requests."
        )
    return b"".join(parts)


def _replay(body: bytes) -> Receive:
    """A `receive` that hands out a body that was read."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def _failure(error: TrimtabError) -> _Reply:
    # What follows a body that was not read to its end is no request.
    headers = (_JSON, (b"connection", b"close")) if isinstance(error, _TooLarge) else (_JSON,)
    return _Reply(error.http_status, orjson.dumps({"error": str(error)}), headers)


async def _write(send: Send, reply: _Reply) -> None:
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
