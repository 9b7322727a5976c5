"""The short way and uvicorn's own way give the same replies, over real sockets."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvicorn

from serving.router.protocol import MAX_HEAD_BYTES, SHORT_BODY_BYTES, RouterProtocol
from tests.unit.serving_router.world import World, play

SMALL = b'{"instances":[{"device":"mobile"}]}'
LARGE = b'{"instances":[{"device":"%b"}]}' % (b"x" * (SHORT_BODY_BYTES + 1))


def request(body: bytes = SMALL, *lines: str, path: str = "/v1/models/shop:predict") -> bytes:
    head = [f"POST {path} HTTP/1.1", "host: x", "x-trimtab-unit: ann", *lines]
    return "\r\n".join([*head, f"content-length: {len(body)}", "", ""]).encode() + body


def chunked(body: bytes = SMALL) -> bytes:
    head = (
        b"POST /v1/models/shop:predict HTTP/1.1\r\nhost: x\r\nx-trimtab-unit: ann\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


async def read_reply(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def converse(
    folder: Path, talk: Callable[[World, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> None:
    """Talk to a router over a connection."""

    async def scene(world: World) -> None:
        config = uvicorn.Config(
            world.app,
            host="127.0.0.1",
            port=0,
            http=RouterProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await talk(world, reader, writer)
        finally:
            writer.close()
            await server.shutdown()

    play(folder, scene)


H2C = ("connection: Upgrade, HTTP2-Settings", "http2-settings: AAEAAEAAAAIAAAABAAMAAABk", "upgrade: h2c")


@pytest.mark.parametrize(
    "sent",
    [
        request(),
        chunked(),
        request(LARGE),
        request(SMALL, "expect: 100-continue"),
        request(SMALL, *H2C),
        request(LARGE, *H2C),
    ],
)
def test_both_ways_give_the_same_reply(tmp_path: Path, sent: bytes) -> None:
    async def talk(world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):  # the connection stays open
            writer.write(sent)
            if b"100-continue" in sent:
                await reader.readuntil(b"\r\n\r\n")
            status, headers, body = await read_reply(reader)
            assert (status, headers["x-trimtab-experiment"]) == (200, "e")
            assert b'"predictions"' in body
        assert len(world.memory.events) == 2

    converse(tmp_path, talk)


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def talk(world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        world.control.seconds = world.treatment.seconds = 0.05
        writer.write(request() + request(path="/v1/models/other:predict") + request() + request(b"{"))
        statuses = [(await read_reply(reader))[0] for _ in range(4)]
        assert statuses == [200, 404, 200, 400]

    converse(tmp_path, talk)


@pytest.mark.parametrize("line", [b"x-endless: " + b"y" * 1_000, b"x-many: y\r\n" * 100])
def test_headers_without_an_end_are_cut_off(tmp_path: Path, line: bytes) -> None:
    async def talk(world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request())
        assert (await read_reply(reader))[0] == 200
        writer.write(b"POST /v1/models/shop:predict HTTP/1.1\r\n" + line)
        await asyncio.sleep(0.05)
        more = line.removeprefix(b"x-endless: ")
        writer.write(more * (MAX_HEAD_BYTES // len(more) + 1))
        status, _, body = await read_reply(reader)
        assert status == 431
        assert b"longer than 65536 bytes" in body
        assert await reader.read() == b""

    converse(tmp_path, talk)


def test_a_head_that_begins_behind_a_large_body_is_not_long(tmp_path: Path) -> None:
    async def talk(world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        second = request()
        writer.write(request(LARGE) + second[:30])
        assert (await read_reply(reader))[0] == 200
        writer.write(second[30:])
        assert (await read_reply(reader))[0] == 200

    converse(tmp_path, talk)


def test_closes_when_asked_to(tmp_path: Path) -> None:
    async def talk(world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request(SMALL, "connection: close"))
        _, headers, _ = await read_reply(reader)
        assert headers["connection"] == "close"
        assert await reader.read() == b""

    converse(tmp_path, talk)


def test_a_caller_that_leaves_amid_its_request_harms_nobody(tmp_path: Path) -> None:
    async def talk(world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        world.control.seconds = world.treatment.seconds = 0.1
        writer.write(request())
        await asyncio.sleep(0.05)
        writer.transport.abort()
        await asyncio.sleep(0.2)
        assert len(world.memory.events) == 1  # the arm answered, and the exposure says so

    converse(tmp_path, talk)
