"""A server of ours as a child process on loopback, whatever it serves: arms and the router are started by it.

Three promises. The port cannot be lost to another process: this process opens the listening socket and hands it down.
A server never outlives this process, however it ends: it watches the end of its standard input. Only own children are
ever signalled, through their process handles.
"""

import logging
import os
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from trimtab.errors import Unavailable

_log = logging.getLogger(__name__)
_TAIL_LINES = 15
_STOP_SECONDS = 5.0
# A request takes one core for milliseconds; thread pools of several servers only get in each other's way.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running server.

    Attributes:
        what: What it serves, for messages, e.g. `the server of arm 'control'`.
        process: Handle of the child.
        url: Where it answers.
        log: Its output.
    """

    what: str
    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def await_ready(self, path: str, *, seconds: float) -> None:
        """Return once a path answers 200; a server that does not get there is stopped.

        Args:
            path: Path of the server's readiness.
            seconds: How long that may take.

        Raises:
            Unavailable: The server ended or was not ready in time; the message holds the tail of its log.
        """
        try:
            self._await(path, seconds)
        except BaseException:
            self.stop()
            raise

    def stop(self, *, seconds: float = _STOP_SECONDS) -> None:
        """Ask the process to end, then make it. A handle is never reused, so nobody else's process can be hit.

        Args:
            seconds: How long it may take to end by itself.
        """
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()

    def _await(self, path: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with httpx.Client(trust_env=False, timeout=1.0) as client:
            while time.monotonic() < deadline:
                if (code := self.process.poll()) is not None:
                    raise Unavailable(f"{self.what} ended with code {code}. {_tail(self.log)}")
                try:
                    if client.get(f"{self.url}{path}").status_code == httpx.codes.OK:
                        return
                except httpx.TransportError as error:
                    _log.debug("%s is not ready: %r", self.what, error)
                time.sleep(0.02)
        raise Unavailable(f"{self.what} was not ready after {seconds:g} s. {_tail(self.log)}")


def start_server(command: Callable[[int], list[str]], *, what: str, log: Path, port: int = 0) -> ServerProcess:
    """Start a server; it need not be ready yet.

    Args:
        command: The command line, from the descriptor of the open socket to listen on.
        what: What it serves, for messages.
        log: File for its output; replaced.
        port: Port on loopback; 0 for a free one.

    Raises:
        Unavailable: The port is taken.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise Unavailable(
            f"{what}: 127.0.0.1:{port} cannot be bound: {error}.", remedy="Choose another port."
        ) from error
    with listener, log.open("wb") as output:
        process = subprocess.Popen(
            command(listener.fileno()),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(listener.fileno(),),
            env={**os.environ, **_ONE_THREAD},
            start_new_session=True,  # Ctrl-C reaches this process, which then stops its servers in order.
        )
        return ServerProcess(what, process, f"http://127.0.0.1:{listener.getsockname()[1]}", log)


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    return f"Its log {log} " + ("ends:\n  " + "\n  ".join(lines) if lines else "is empty.")
