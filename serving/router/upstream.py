"""A client of one server over kept-alive HTTP/1.1 connections, as lean as a router's hot path wants it.

A general client spends more on a request than the rest of the router: URL objects, header multidicts, cookies, hooks.
This one writes bytes, parses with llhttp, and keeps the newest idle connection for the next request.
"""

import asyncio
import ssl
from typing import Literal, NamedTuple, cast
from urllib.parse import urlsplit

import httptools

from serving.router.http import Headers
from trimtab.errors import BadInput

Failure = Literal["timeout", "unreachable", "error", "open_circuit"]
MAX_IDLE = 256  # connections kept per server; more are closed once their request is done
LONGEST_USE_SECONDS = 60.0  # of a connection: behind a Service it keeps to one pod, and pods that are added get none
MAX_ANSWER_BYTES = 64 * 1024 * 1024
# Of one connection only (RFC 9110, section 7.6.1), or written anew.
_NOT_PASSED = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"date",
        b"server",
    }
)


class Answer(NamedTuple):
    """A server's answer, without what belongs to the connection."""

    status: int
    headers: Headers
    body: bytes


class ArmFailed(Exception):
    """A server gave no usable answer.

    Args:
        failure: What kind of failure.
        detail: More of it, for the log.
    """

    def __init__(self, failure: Failure, detail: str = "") -> None:
        super().__init__(failure, detail)
        self.failure: Failure = failure
        self.detail = detail


class _StaleConnection(Exception):
    """A kept-alive connection turned out closed before a byte of the answer came."""


class Upstream:
    """A server's address and its open connections. Belongs to one event loop.

    Args:
        url: `http://HOST[:PORT][/PREFIX]` or `https://...`.

    Raises:
        BadInput: It is no such URL.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            host = parts.hostname or ""
            self.authority = parts.netloc.rpartition("@")[2].encode("ascii")
            self.prefix = parts.path.rstrip("/").encode("ascii")
        except (ValueError, KeyError) as error:
            raise BadInput(f"'{url}' is not an http:// or https:// URL.") from error
        if not host:
            raise BadInput(f"'{url}' names no host.")
        self._address = (host, port)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._idle: list[_Connection] = []
        self._closed = False

    async def send(self, request: bytes, *, seconds: float) -> Answer:
        """Send a whole request and await the whole answer.

        A kept-alive connection that turns out closed is replaced by a fresh one, once.

        Args:
            request: Head and body.
            seconds: How long all of it may take.

        Raises:
            ArmFailed: No connection, no answer in time, or no HTTP.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        while self._idle:
            kept = self._idle.pop()
            if kept.open:
                try:
                    return await kept.exchange(request, seconds)
                except _StaleConnection:
                    break
        fresh = await self._connect(seconds - (loop.time() - started))
        try:
            return await fresh.exchange(request, seconds - (loop.time() - started))
        except _StaleConnection as error:
            raise ArmFailed("unreachable", "it closed a new connection without an answer") from error

    def close(self) -> None:
        """Close idle connections; those in use are closed when their request is done."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()

    def release(self, connection: "_Connection") -> None:
        """Take a connection back whose answer is complete."""
        if self._closed or connection.worn or len(self._idle) >= MAX_IDLE:
            connection.abort()
        else:
            self._idle.append(connection)

    async def _connect(self, seconds: float) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, loop), *self._address, ssl=self._tls
                )
        except TimeoutError as error:
            raise ArmFailed("timeout", "it took no connection in time") from error
        except (OSError, UnicodeError) as error:
            raise ArmFailed("unreachable", str(error)) from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self, owner: Upstream, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._heard = False
        self._reset()
        self._opened = loop.time()
        self.open = True

    @property
    def worn(self) -> bool:
        """Whether it was used for long enough."""
        return self._loop.time() - self._opened > LONGEST_USE_SECONDS

    async def exchange(self, request: bytes, seconds: float) -> Answer:
        """Write a request and await its answer."""
        if self._transport is None or not self.open:
            raise _StaleConnection
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        self._waiter, self._heard = waiter, False
        timer = self._loop.call_later(max(seconds, 0.0), self._expired)
        self._transport.write(request)
        try:
            return await waiter
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            timer.cancel()

    def abort(self) -> None:
        """Close at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail("error", f"its answer is not HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if not self._heard:
            waiter.set_exception(_StaleConnection())
        elif exc is None and self._status and not self._framed:
            self._done(keep=False)  # a body without a length ends with the connection
        else:
            waiter.set_exception(ArmFailed("unreachable", "it closed the connection amid its answer"))

    # What httptools calls.

    def on_message_begin(self) -> None:
        self._reset()

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower in _NOT_PASSED:
            self._framed |= lower in {b"content-length", b"transfer-encoding"}
        else:
            self._headers.append((lower, value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > MAX_ANSWER_BYTES:
            self._fail("error", f"its answer is larger than {MAX_ANSWER_BYTES} bytes")
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        if self._status >= 200:  # an interim answer (1xx) comes before the real one
            self._done(keep=self._parser.should_keep_alive())

    def _reset(self) -> None:
        self._status = 0
        self._headers: Headers = []
        self._chunks: list[bytes] = []
        self._size = 0
        self._framed = False

    def _done(self, *, keep: bool) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            self.abort()  # nobody asked, or nobody waits any more
            return
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        waiter.set_result(Answer(self._status, self._headers, body))
        if keep and self.open:
            self._owner.release(self)
        else:
            self.abort()

    def _expired(self) -> None:
        self._fail("timeout", "no answer in time")

    def _fail(self, failure: Failure, detail: str) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(ArmFailed(failure, detail))
        self.abort()
