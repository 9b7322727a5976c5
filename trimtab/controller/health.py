"""Whether the controller lives, for the kubelet: one that waits for the lease does, one whose loop hangs does not."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_STALE_SECONDS = 30.0


class Pulse:
    """The last sign of life; anything counts before the first."""

    def __init__(self) -> None:
        self._beaten: float | None = None

    def beat(self) -> None:
        """Give a sign of life."""
        self._beaten = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether the last sign is recent."""
        return self._beaten is None or time.monotonic() - self._beaten < _STALE_SECONDS


@contextmanager
def health_endpoint(pulse: Pulse, *, host: str, port: int) -> Iterator[int]:
    """Answer `/healthz` while the block runs; gives the port.

    Args:
        pulse: Says whether the controller lives.
        host: Address to listen at.
        port: Port; 0 for a free one.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer a probe."""
            status = (200 if pulse.alive else 503) if self.path == "/healthz" else 404
            content = {200: b"ok\n", 503: b"the loop hangs\n", 404: b"not found\n"}[status]
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the base class
            """Keep quiet."""

    server = ThreadingHTTPServer((host, port), Handler)
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
