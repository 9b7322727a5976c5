"""Wishes for another protocol, and what is no HTTP at all, over real sockets."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest
import uvicorn

from serving.protocol import PlainProtocol

BODY = b'{"instances": [{"device": "mobile"}]}'
# What Java's HttpClient sends first on a connection without TLS.
H2C = (b"connection: Upgrade, HTTP2-Settings", b"http2-settings: AAEAAEAAAAIAAAABAAMAAABk", b"upgrade: h2c")


def request(body: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join([b"POST /x HTTP/1.1", b"host: x", *lines, b"content-length: %d" % len(body), b"", body])


def chunked(body: bytes, *lines: bytes) -> bytes:
    head = [b"POST /x HTTP/1.1", b"host: x", b"transfer-encoding: chunked", *lines, b"", b""]
    return b"\r\n".join(head) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


async def echo(_: Any, receive: Callable[[], Awaitable[MutableMapping[str, Any]]], send: Any) -> None:
    """An application that gives back what it was sent."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def converse(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
    """Talk to that application over a connection."""

    async def scene() -> None:
        config = uvicorn.Config(echo, port=0, http=PlainProtocol, ws="none", lifespan="off", log_config=None)
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])
        try:
            async with asyncio.timeout(30):
                await talk(reader, writer)
        finally:
            writer.close()
            await server.shutdown()

    asyncio.run(scene())


async def read_body(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    lines = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if line)
    return await reader.readexactly(int(lines[b"content-length"]))


@pytest.mark.parametrize("pause", [False, True])
@pytest.mark.parametrize(
    "sent", [request(BODY, *H2C), chunked(BODY, *H2C), request(BODY, *H2C[:2], b"Upgrade: websocket")]
)
def test_a_wish_for_another_protocol_costs_no_body(sent: bytes, pause: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):  # the connection stays open
            for piece in (sent[:40], sent[40:-20], sent[-20:]) if pause else (sent,):
                writer.write(piece)
                await asyncio.sleep(0.02 if pause else 0)
            assert await read_body(reader) == BODY

    converse(talk)
    assert caplog.records == []


def test_many_wishes_at_once_are_answered_in_order() -> None:
    bodies = [b"%d" % number for number in range(1_500)]  # more than Python's calls may be deep

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(request(body, *H2C) for body in bodies))
        assert [await read_body(reader) for _ in bodies] == bodies

    converse(talk)


@pytest.mark.parametrize(
    "sent", [b"no request\r\n\r\n", b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n", request(BODY, b"a b: c", *H2C)]
)
def test_what_is_no_request_is_refused_without_a_line_of_the_log(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")

    with caplog.at_level(logging.WARNING):
        converse(talk)
    assert caplog.records == []
