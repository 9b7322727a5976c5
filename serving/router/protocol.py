"""uvicorn's HTTP protocol with a short way for what a router does all day.

A prediction that comes whole and small needs no ASGI messages: its body is passed to the application as it is, and the
reply is written in one piece. That halves what the server itself costs. Everything else (other paths, chunked or large
bodies, pipelining) goes uvicorn's own way to the same application.
"""

import asyncio
from typing import Any, Protocol, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from serving.protocol import PlainProtocol
from serving.router.http import Headers, Reply, header

SHORT_BODY_BYTES = 64 * 1024  # larger ones need uvicorn's flow control
MAX_HEAD_BYTES = 64 * 1024  # of the request line and the headers, which the parser keeps however long they are
_TOO_LONG = b'{"error":"the headers are longer than %d bytes."}' % MAX_HEAD_BYTES


class ShortWay(Protocol):
    """An application that answers some requests without ASGI."""

    def entry(self, path: bytes) -> Any:
        """What answers a path by the short way; None where nothing does."""
        ...

    async def respond(self, entry: Any, headers: Headers, body: bytes) -> Reply:
        """The reply; never raises for what a caller does."""
        ...


class _NoEvent:
    """Stands where uvicorn wakes an application that waits for messages; this one waits for none."""

    def set(self) -> None:
        """Wake nobody."""


class _Turn:
    """One request by the short way, with what uvicorn's protocol asks of a request under way."""

    __slots__ = ("disconnected", "entry", "headers", "keep_alive", "pieces", "response_complete")
    message_event = _NoEvent()

    def __init__(self, entry: Any, headers: Headers, *, keep_alive: bool) -> None:
        self.entry = entry
        self.headers = headers
        self.keep_alive = keep_alive
        self.pieces: list[bytes] = []
        self.disconnected = False
        self.response_complete = False


class RouterProtocol(PlainProtocol):
    """Takes the short way where it can. The application must be a `ShortWay`."""

    _arriving = 0  # bytes of the piece that is being parsed
    _head_bytes: int | None = None  # of a head under way, without the piece in which it began; None amid a body

    def data_received(self, data: bytes) -> None:
        """Parse what came; a head without an end is cut off."""
        self._arriving = len(data)
        super().data_received(data)
        if self._head_bytes is None or self.transport.is_closing():
            return
        self._head_bytes += self._arriving
        if self._head_bytes > MAX_HEAD_BYTES:
            lines = (STATUS_LINE[431], b"content-type: application/json\r\nconnection: close\r\n")
            self.transport.write(b"%b%bcontent-length: %d\r\n\r\n%b" % (*lines, len(_TOO_LONG), _TOO_LONG))
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a request; its ASGI scope is made only once it is known to need one."""
        self._head_bytes = -self._arriving
        self.url = b""
        self.headers: Headers = []
        self.expect_100_continue = False
        self._turn: _Turn | None = None

    def on_headers_complete(self) -> None:
        """Choose the way."""
        self._head_bytes = None
        if self.parser.should_upgrade():
            return  # it comes again
        entry = self._entry()
        if entry is None:
            url, headers, expects = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.expect_100_continue = url, expects
            self.headers.extend(headers)
            super().on_headers_complete()
        else:
            self._turn = _Turn(entry, self.headers, keep_alive=self.parser.should_keep_alive())
            self.cycle = self._turn

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        if self._turn is None:
            super().on_body(body)
        else:
            self._turn.pieces.append(body)

    def on_message_complete(self) -> None:
        """Answer."""
        if self._turn is None:
            super().on_message_complete()
            return
        task = self.loop.create_task(self._answer(self._turn))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _entry(self) -> Any:
        """What answers the request by the short way; None where it has to go the long one."""
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        entry = cast(ShortWay, self.app).entry(self.url)
        if entry is None or self.expect_100_continue or self.parser.get_method() != b"POST":
            return None
        length = header(self.headers, b"content-length")
        short = length and int(length) <= SHORT_BODY_BYTES and self.parser.get_http_version() == "1.1"
        return entry if short else None

    async def _answer(self, turn: _Turn) -> None:
        body = turn.pieces[0] if len(turn.pieces) == 1 else b"".join(turn.pieces)
        reply = await cast(ShortWay, self.app).respond(turn.entry, turn.headers, body)
        if turn.disconnected:
            return
        lines = [STATUS_LINE[reply.status]]
        for name, value in self.server_state.default_headers:
            lines.append(b"%b: %b\r\n" % (name, value))
        for name, value in reply.headers:
            lines.append(b"%b: %b\r\n" % (name, value))
        if not turn.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"content-length: %d\r\n\r\n" % len(reply.body))
        lines.append(reply.body)
        if self.flow.write_paused:
            await self.flow.drain()
        transport: asyncio.Transport = self.transport
        transport.write(b"".join(lines))
        turn.response_complete = True
        if not turn.keep_alive:
            transport.close()
        self.on_response_complete()
