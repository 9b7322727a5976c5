"""The router as an ASGI application: finds the handler of a request, bounds its body, and turns errors into replies."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from serving.router import metrics
from serving.router.http import Headers, Refused, Reply, header, reply_error, reply_json
from serving.router.predict import Predictions
from serving.router.table import RouteTable
from trimtab.errors import NotFound, TrimtabError

_log = logging.getLogger("trimtab.router")

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
        max_body_bytes: Larger bodies are refused with 413.
    """

    def __init__(self, *, table: RouteTable, predictions: Predictions, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._table = table
        self._predictions = predictions
        self._max_body_bytes = max_body_bytes
        self.draining = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        try:
            reply = await self._answer(scope, receive)
        except TrimtabError as error:
            reply = reply_error(error)
        except Exception:
            _log.exception("a request failed for a reason of the router's own")
            reply = reply_json({"error": "the router failed; its log says why."}, status=500)
        if reply is not None:
            await _send(reply, send)

    async def _answer(self, scope: Message, receive: Receive) -> Reply | None:
        """The reply; None where the caller has gone."""
        path = scope["path"]
        found = self._table.by_path.get(path)
        headers: Headers = scope["headers"]
        if found is not None:
            if scope["method"] != "POST":
                raise Refused(405, f"{path} takes POST.")
            body = await read_body(headers, receive, limit=self._max_body_bytes)
            return None if body is None else await self._predictions.answer(*found, headers, body)
        return self._probe(path)

    def _probe(self, path: str) -> Reply:
        if path == "/healthz":
            return reply_json({"status": "ok"})
        if path == "/readyz":
            ready = self._table.ready and not self.draining
            status = "ready" if ready else "draining" if self.draining else "no route could be read"
            return reply_json({"status": status}, status=200 if ready else 503)
        if path == "/metrics":
            return metrics.exposition()
        raise NotFound(f"there is no {path}.", remedy=_known(self._table))


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
        raise Refused(413, f"the body is larger than {limit} bytes.", remedy="Send less at once.")
    pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _send(reply: Reply, send: Send) -> None:
    headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _known(table: RouteTable) -> str:
    models = ", ".join(table.models)
    return f"Models with a route: {models}." if models else "No model has a route yet."
