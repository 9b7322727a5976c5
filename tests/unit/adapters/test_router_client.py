"""What the simulated app makes of a router's answers to its outcomes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trimtab.adapters.router_client import HttpRouterClient
from trimtab.errors import BadInput, TrimtabError, Unavailable
from trimtab.ports import OutcomeReport

OUTCOME = OutcomeReport("ann", "conversion", 1.0, datetime(2026, 3, 1, tzinfo=UTC))


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A router that always gives one answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "taken"),
    [
        (202, b'{"accepted":1,"rejected":[]}', 1),
        (409, b'{"error":"no experiment runs.","accepted":0,"rejected":[]}', 0),
    ],
)
def test_counts_what_was_taken(status: int, body: bytes, taken: int) -> None:
    with answering(status, body) as url:
        assert HttpRouterClient().report(url, [OUTCOME]) == taken


@pytest.mark.parametrize(("status", "error"), [(400, BadInput), (503, Unavailable)])
def test_a_refusal_is_an_error(status: int, error: type[TrimtabError]) -> None:
    with answering(status, b'{"error":"because."}') as url, pytest.raises(error, match="because"):
        HttpRouterClient().report(url, [OUTCOME])
