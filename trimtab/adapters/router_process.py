"""The router as a process on loopback: the same one that an image runs in a cluster."""

import sys
from pathlib import Path

from trimtab.adapters.server_process import ServerProcess, start_server

_STOP_SECONDS = 45.0  # requests under way may take 30, and then there is the last flush


class ProcessRouter:
    """Runs one router; satisfies `trimtab.ports.RouterHost`.

    Args:
        folder: Where its log and its spool go.
        routes: Folder of the routes.
        events: URI of the event log.
        profile_name: Profile that it loads.
        port: Port on loopback; 0 for a free one.
        ready_seconds: How long it may take until it is ready.
    """

    def __init__(
        self,
        folder: Path,
        *,
        routes: Path,
        events: str,
        profile_name: str,
        port: int = 0,
        ready_seconds: float = 60.0,
    ) -> None:
        self._folder = folder
        self._routes = routes
        self._events = events
        self._profile_name = profile_name
        self._port = port
        self._ready_seconds = ready_seconds
        self._server: ServerProcess | None = None

    def open(self) -> str:
        """Start the router where it does not run; returns its URL once it is ready.

        Raises:
            Unavailable: It ended or was not ready in time, or the port is taken.
        """
        if self._server is not None and self._server.process.poll() is None:
            return self._server.url
        self._routes.mkdir(parents=True, exist_ok=True)
        server = start_server(self._command, what="the router", log=self._folder / "router.log", port=self._port)
        server.await_ready("/readyz", seconds=self._ready_seconds)
        self._server = server
        return server.url

    def close(self) -> None:
        """Stop the router; what it has logged is flushed."""
        if self._server is not None:
            self._server.stop(seconds=_STOP_SECONDS)
            self._server = None

    def _command(self, listen_fd: int) -> list[str]:
        return [
            *(sys.executable, "-P", "-m", "serving.router"),
            *("--routes", str(self._routes)),
            *("--events", self._events),
            *("--spool", str(self._folder / "spool")),
            *("--profile", self._profile_name),
            *("--listen_fd", str(listen_fd)),
            "--exit_with_parent",
        ]
