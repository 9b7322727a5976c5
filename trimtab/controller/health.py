"""What the controller answers over HTTP: the kubelet whether it lives, Prometheus where the experiments stand.

One that waits for the lease lives; one whose loop hangs does not.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST

from trimtab.errors import BadInput

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
def health_endpoint(pulse: Pulse, metrics: Callable[[], bytes], *, host: str, port: int) -> Iterator[int]:
    """Answer `/healthz` and `/metrics` while the block runs; gives the port.

    Args:
        pulse: Says whether the controller lives.
        metrics: Gives all metrics in Prometheus' text format.
        host: Address to listen at.
        port: Port; 0 for a free one.

    Raises:
        BadInput: The port is taken or none, or the address is not this machine's.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer a probe, or a scrape."""
            status, kind, content = self._answer()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _answer(self) -> tuple[int, str, bytes]:
            if self.path == "/metrics":
                return 200, CONTENT_TYPE_LATEST, metrics()
            if self.path != "/healthz":
                return 404, "text/plain", b"not found\n"
            return (200, "text/plain", b"ok\n") if pulse.alive else (503, "text/plain", b"the loop hangs\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the base class
            """Keep quiet."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise BadInput(f"nothing can listen at {host}:{port}: {reason}.", remedy="Choose another port.") from error
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
