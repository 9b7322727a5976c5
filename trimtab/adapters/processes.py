"""Arms as model-server processes on loopback: the same KServe server that an image runs in a cluster.

Three promises. The port cannot be lost to another process: this process opens the listening socket and hands it down.
A server never outlives this process, however it ends: it watches the end of its standard input. Only own children are
ever signalled, through their process handles.
"""

import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType

import httpx

from trimtab.errors import BadInput, Unavailable
from trimtab.types import Endpoint, ModelVersion

_log = logging.getLogger(__name__)
_ARM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_TAIL_LINES = 15
_STOP_SECONDS = 5.0
# A request takes one core for milliseconds; thread pools of several servers only get in each other's way.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class _Server:
    process: subprocess.Popen[bytes]
    endpoint: Endpoint
    log: Path


class ProcessArmDeployer:
    """Runs one server process per arm; satisfies `trimtab.ports.Deployer`. Usable as a context manager.

    Args:
        folder: Where the servers' logs go.
        profile_name: Profile that the servers load for their online features.
        fetch: Gives a local folder with a version's bundle.
        ready_seconds: How long a server may take until it is ready.
    """

    def __init__(
        self,
        folder: Path,
        *,
        profile_name: str,
        fetch: Callable[[ModelVersion], Path],
        ready_seconds: float = 120.0,
    ) -> None:
        self._folder = folder
        self._profile_name = profile_name
        self._fetch = fetch
        self._ready_seconds = ready_seconds
        self._servers: dict[str, _Server] = {}
        self._lock = Lock()

    def deploy(self, model: ModelVersion, *, arm: str) -> Endpoint:
        """Start a server for the version; returns once it is ready.

        The arm's earlier server, if any, answers until then and is stopped afterwards. Arms may be deployed from
        several threads at once.

        Raises:
            BadInput: The arm's name is not fit for a file name.
            Unavailable: The server ended or was not ready in time; the message holds the tail of its log.
        """
        if not _ARM.fullmatch(arm):
            raise BadInput(f"arm '{arm}' is not a valid name.", remedy="Use letters, digits, '-' and '_'.")
        with self._lock:
            bundle = self._fetch(model)
        server = self._start(model, arm, bundle)
        try:
            self._await_ready(server)
        except BaseException:
            _stop(server.process)
            raise
        with self._lock:
            earlier = self._servers.get(arm)
            self._servers[arm] = server
        if earlier:
            _stop(earlier.process)
        return server.endpoint

    def remove(self, arm: str) -> None:
        """Stop the arm's server; nothing happens where there is none."""
        with self._lock:
            server = self._servers.pop(arm, None)
        if server:
            _stop(server.process)

    def close(self) -> None:
        """Stop all servers."""
        for arm in list(self._servers):
            self.remove(arm)

    def __enter__(self) -> "ProcessArmDeployer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, model: ModelVersion, arm: str, bundle: Path) -> _Server:
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / f"{arm}.log"
        with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as output:
            port = listener.getsockname()[1]
            process = subprocess.Popen(
                self._command(model, bundle, listener.fileno()),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(listener.fileno(),),
                env={**os.environ, **_ONE_THREAD},
                start_new_session=True,  # Ctrl-C reaches this process, which then stops its servers in order.
            )
        endpoint = Endpoint(arm=arm, url=f"http://127.0.0.1:{port}", model=model.name, version=model.version)
        return _Server(process, endpoint, log)

    def _command(self, model: ModelVersion, bundle: Path, listen_fd: int) -> list[str]:
        # -P: a folder called "serving" where the user stands must not be taken for ours.
        return [
            *(sys.executable, "-P", "-m", "serving.predictor"),
            *("--model_dir", str(bundle)),
            *("--model_name", model.name),
            *("--model_version", str(model.version)),
            *("--profile", self._profile_name),
            *("--listen_fd", str(listen_fd)),
            "--exit_with_parent",
        ]

    def _await_ready(self, server: _Server) -> None:
        """Wait for the readiness of the model, which the server reports only once it is loaded and warmed up."""
        deadline = time.monotonic() + self._ready_seconds
        url = f"{server.endpoint.url}/v2/models/{server.endpoint.model}/ready"
        arm = server.endpoint.arm
        with httpx.Client(trust_env=False, timeout=1.0) as client:
            while time.monotonic() < deadline:
                if (code := server.process.poll()) is not None:
                    raise Unavailable(f"the server of arm '{arm}' ended with code {code}. {_tail(server.log)}")
                try:
                    if client.get(url).status_code == httpx.codes.OK:
                        return
                except httpx.TransportError as error:
                    _log.debug("arm %s is not ready: %r", arm, error)
                time.sleep(0.02)
        raise Unavailable(
            f"the server of arm '{arm}' was not ready after {self._ready_seconds:g} s. {_tail(server.log)}"
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, then make it. A handle is never reused, so nobody else's process can be hit."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin:
        process.stdin.close()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    return f"Its log {log} " + ("ends:\n  " + "\n  ".join(lines) if lines else "is empty.")
