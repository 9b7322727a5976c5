"""The router as an ASGI application: finds the handler of a request, bounds its body, and turns errors into replies."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

from serving.router import metrics
from serving.router.admin import Admin
from serving.router.arms import Protocol
from serving.router.guard import Guard
from serving.router.http import Headers, Refused, Reply, header, reply_error, reply_json
from serving.router.outcomes import log_outcomes, read_outcomes, status_of
from serving.router.predict import Predictions
from serving.router.table import ModelRoute, RouteTable
from trimtab.errors import NotFound, TrimtabError
from trimtab.ports import EventWriter

_log = logging.getLogger("trimtab.router")

R = TypeVar("R")
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
MAX_BODY_BYTES = 16 * 1024 * 1024
_DISCARDED_BYTES = 64 * 1024 * 1024  # of an oversized body, so that its sender gets to read the reason


class RouterApp:
    """Raw ASGI: a framework's routing and objects cost more than the router's own work.

    Args:
        table: Routes in use.
        predictions: Answers prediction requests.
        admin: Answers people and controllers.
        events: Where outcomes go.
        guard: Checks tokens.
        max_body_bytes: Larger bodies are refused with 413.
    """

    def __init__(
        self,
        *,
        table: RouteTable,
        predictions: Predictions,
        admin: Admin,
        events: EventWriter,
        guard: Guard,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._table = table
        self._predictions = predictions
        self._admin = admin
        self._events = events
        self._guard = guard
        self._max_body_bytes = max_body_bytes
        self.draining = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        reply = await _mapped(self._answer(scope, receive))
        if reply is not None:
            await _send(reply, send)

    def entry(self, path: bytes) -> tuple[ModelRoute, Protocol] | None:
        """The route of a prediction's path, as it stands in the request; None for any other."""
        return self._table.by_raw_path.get(path)

    async def respond(self, entry: tuple[ModelRoute, Protocol], headers: Headers, body: bytes) -> Reply:
        """Answer a prediction whose body is at hand.

        Args:
            entry: From `entry`.
            headers: The request's headers, names in lower case.
            body: Its body.
        """
        if len(body) > self._max_body_bytes:
            return reply_error(_too_large(self._max_body_bytes))
        return await _mapped(self._predictions.answer(*entry, headers, body))

    async def _answer(self, scope: Message, receive: Receive) -> Reply | None:
        """The reply; None where the caller has gone."""
        path, method = scope["path"], scope["method"]
        headers: Headers = scope["headers"]
        if (found := self._table.by_path.get(path)) is not None:
            _allow(method, path, "POST")
            body = await read_body(headers, receive, limit=self._max_body_bytes)
            return None if body is None else await self._predictions.answer(*found, headers, body)
        if path == "/outcomes":
            _allow(method, path, "POST")
            self._guard.check("outcomes", headers)
            body = await read_body(headers, receive, limit=self._max_body_bytes)
            return None if body is None else self._outcomes(headers, body)
        if path == "/admin/routes" or path.startswith("/admin/routes/"):
            self._guard.check("admin", headers)
            return await self._routes(scope, receive)
        if path.startswith("/assignments/"):
            _allow(method, path, "GET")
            self._guard.check("admin", headers)
            return self._admin.assignment(scope["raw_path"], scope["query_string"])
        return self._probe(method, path)

    def _outcomes(self, headers: Headers, body: bytes) -> Reply:
        report = read_outcomes(
            headers,
            body,
            running=self._table.experiments,
            pseudonym=self._predictions.pseudonym,
            now=datetime.now(UTC),
        )
        accepted, rejected = log_outcomes(report, self._events.put)
        metrics.count(metrics.OUTCOMES, "accepted", times=accepted)
        metrics.count(metrics.OUTCOMES, "rejected", times=len(rejected))
        answer: dict[str, object] = {"accepted": accepted, "rejected": rejected}
        status = status_of(accepted, rejected)
        if status == 202:
            return reply_json(answer, status=status)
        reason = next(one.reason for one in rejected if one.status == status)
        return reply_json({"error": reason, **answer}, status=status)

    async def _routes(self, scope: Message, receive: Receive) -> Reply | None:
        path, method = scope["path"], scope["method"]
        if path == "/admin/routes":
            _allow(method, path, "GET")
            return self._admin.list_routes()
        model = path.removeprefix("/admin/routes/")
        _allow(method, path, "PUT", "DELETE")
        if method == "DELETE":
            return await self._admin.remove(model)
        body = await read_body(scope["headers"], receive, limit=self._max_body_bytes)
        return None if body is None else await self._admin.publish(model, body)

    def _probe(self, method: str, path: str) -> Reply:
        if path in {"/healthz", "/readyz", "/metrics"}:
            _allow(method, path, "GET", "HEAD")
        if path == "/healthz":
            return reply_json({"status": "ok"})
        if path == "/readyz":
            ready = self._table.ready and not self.draining
            status = "ready" if ready else "draining" if self.draining else "no route could be read"
            return reply_json({"status": status}, status=200 if ready else 503)
        if path == "/metrics":
            return metrics.exposition()
        raise NotFound(f"there is no {path}.", remedy=_known(self._table))


async def _mapped(answering: Awaitable[R]) -> R | Reply:
    """A reply, or the one that an error maps to."""
    try:
        return await answering
    except TrimtabError as error:
        return reply_error(error)
    except Exception:
        _log.exception("a request failed for a reason of the router's own")
        return reply_json({"error": "the router failed; its log says why."}, status=500)


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the body is larger than {limit} bytes.", remedy="Send less at once.")


async def read_body(headers: Headers, receive: Receive, *, limit: int) -> bytes | None:
    """A request's body; None where its sender has gone.

    Args:
        headers: The request's headers.
        receive: Gives the next piece.
        limit: Largest size, in bytes.

    Raises:
        Refused: It is larger, with 413.
    """
    pieces: list[bytes] = []
    size = 0
    announced = int(header(headers, b"content-length") or 0)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece = message.get("body", b"")
        size += len(piece)
        if not message.get("more_body"):
            break
        if max(announced, size) <= limit:
            pieces.append(piece)
        elif size > _DISCARDED_BYTES:
            break
    if size > limit:
        raise _too_large(limit)
    pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _send(reply: Reply, send: Send) -> None:
    headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _allow(method: str, path: str, *methods: str) -> None:
    if method not in methods:
        raise Refused(405, f"{path} takes {' or '.join(methods)}.")


def _known(table: RouteTable) -> str:
    models = ", ".join(table.models)
    return f"Models with a route: {models}." if models else "No model has a route yet."
