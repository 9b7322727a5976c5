"""The HTTP client of arms against raw bytes: every way to end a body, and every way to fail."""

import asyncio

import pytest

from serving.router.upstream import Answer, ArmFailed, Upstream
from trimtab.errors import BadInput

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Of: Arm\r\n\r\nok"


class Server(asyncio.Protocol):
    """Writes the next answer whenever a request is complete."""

    def __init__(self, answers: list[bytes], transports: list[asyncio.Transport], *, close: bool) -> None:
        self._answers = answers
        self._transports = transports
        self._close = close

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._transports.append(transport)

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"hi") and self._answers:
            self._transport.write(self._answers.pop(0))
            if self._close:
                self._transport.close()


def ask(*answers: bytes, close: bool = False, seconds: float = 5.0) -> list[Answer]:
    """Ask a server as often as it has answers, over connections that it may close after each."""
    return ask_counting(*answers, close=close, seconds=seconds)[0]


def ask_counting(*answers: bytes, close: bool = False, seconds: float = 5.0) -> tuple[list[Answer], int]:
    """The answers, and how many connections they took."""

    async def everything() -> tuple[list[Answer], int]:
        left, transports = list(answers), list[asyncio.Transport]()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Server(left, transports, close=close), "127.0.0.1", 0)
        upstream = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/prefix/")
        try:
            found = [await upstream.send(REQUEST, seconds=seconds) for _ in answers]
            return found, len(transports)
        finally:
            upstream.close()
            server.close()
            for transport in transports:
                transport.abort()
            await asyncio.sleep(0.01)  # until both sides have heard of it

    return asyncio.run(everything())


def test_reads_a_body_by_its_length_and_drops_what_is_the_connections() -> None:
    (answer,) = ask(OK)
    assert answer == Answer(200, [(b"x-of", b"Arm")], b"ok")


def test_a_connection_is_kept() -> None:
    answers, connections = ask_counting(OK, OK, OK)
    assert [answer.body for answer in answers] == [b"ok"] * 3
    assert connections == 1


def test_a_connection_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.router.upstream.LONGEST_USE_SECONDS", -1.0)
    answers, connections = ask_counting(OK, OK, OK)
    assert [answer.body for answer in answers] == [b"ok"] * 3
    assert connections == 3


def test_reads_chunks() -> None:
    (answer,) = ask(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n")
    assert (answer.body, answer.headers) == (b"ok!", [])


def test_reads_a_body_that_ends_with_the_connection() -> None:
    (answer,) = ask(b"HTTP/1.0 200 OK\r\n\r\nok", close=True)
    assert answer.body == b"ok"


def test_passes_over_interim_answers() -> None:
    (answer,) = ask(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK)
    assert answer == Answer(200, [(b"x-of", b"Arm")], b"ok")


@pytest.mark.parametrize(
    ("answer", "close", "failure"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok", True, "unreachable"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", True, "unreachable"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", True, "unreachable"),
        (b"", True, "unreachable"),
        (b"nonsense\r\n\r\n", False, "error"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", False, "error"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok", False, "timeout"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n" + b"x" * 67_200_000, False, "error"),
    ],
)
def test_says_how_it_failed(answer: bytes, close: bool, failure: str) -> None:
    with pytest.raises(ArmFailed) as caught:
        ask(answer, close=close, seconds=0.3 if failure == "timeout" else 20.0)
    assert caught.value.failure == failure


def test_nobody_listens() -> None:
    with pytest.raises(ArmFailed) as caught:
        asyncio.run(Upstream("http://127.0.0.1:9").send(REQUEST, seconds=5.0))
    assert caught.value.failure == "unreachable"


@pytest.mark.parametrize("url", ["", "ftp://a", "http://", "a:80", "http://a:99999", "http://é"])
def test_refuses_what_is_no_url_of_a_server(url: str) -> None:
    with pytest.raises(BadInput, match=r"URL|host"):
        Upstream(url)
