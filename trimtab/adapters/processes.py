"""Arms as model-server processes on loopback: the same KServe server that an image runs in a cluster."""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType

from trimtab.adapters.server_process import ServerProcess, start_server
from trimtab.errors import BadInput
from trimtab.types import Endpoint, ModelVersion

_GRACE_SECONDS = 2.0  # several times as long as routers need to hear of a new route
_FEATURE_DEADLINE_MS = "2000"  # nobody waits for a page here, and the machine is busy with other work
_ARM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class _Served:
    """A server and what it serves."""

    server: ServerProcess
    model: ModelVersion

    def serves(self, model: ModelVersion) -> bool:
        """Whether it lives and serves that version."""
        same = (self.model.name, self.model.version, self.model.uri) == (model.name, model.version, model.uri)
        return same and self.server.process.poll() is None

    def endpoint(self, arm: str) -> Endpoint:
        """Where it answers."""
        return Endpoint(arm=arm, url=self.server.url, model=self.model.name, version=self.model.version)


class ProcessArmDeployer:
    """Runs one server process per arm; satisfies `trimtab.ports.Deployer`. Usable as a context manager.

    Attributes:
        lasting: Servers end with this process.

    Args:
        folder: Where the servers' logs go.
        profile_name: Profile that the servers load for their online features.
        fetch: Gives a local folder with a version's bundle.
        ready_seconds: How long a server may take until it is ready.
        grace_seconds: How long a server that was replaced goes on at least, since routers hear of the new one later.
    """

    lasting = False

    def __init__(
        self,
        folder: Path,
        *,
        profile_name: str,
        fetch: Callable[[ModelVersion], Path],
        ready_seconds: float = 120.0,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        self._folder = folder
        self._profile_name = profile_name
        self._fetch = fetch
        self._ready_seconds = ready_seconds
        self._grace_seconds = grace_seconds
        self._servers: dict[str, _Served] = {}
        self._replaced: dict[str, list[tuple[float, ServerProcess]]] = {}  # by arm, with the moment
        self._lock = Lock()

    def deploy(self, model: ModelVersion, *, arm: str) -> Endpoint:
        """Start a server for the version; returns once it is ready.

        The arm's earlier server, if any, goes on until the arm is deployed again or removed, because whoever knows its
        URL has yet to hear of the new one; one that serves this version already is left as it is. Arms may be deployed
        from several threads at once.

        Raises:
            BadInput: The arm's name is not fit for a file name.
            Unavailable: The server ended or was not ready in time; the message holds the tail of its log.
        """
        if not _ARM.fullmatch(arm):
            raise BadInput(f"arm '{arm}' is not a valid name.", remedy="Use letters, digits, '-' and '_'.")
        self._stop_replaced(arm, grace_seconds=self._grace_seconds)
        with self._lock:
            running = self._servers.get(arm)
            if running is not None and running.serves(model):
                return running.endpoint(arm)
            bundle = self._fetch(model)
        server = start_server(
            lambda descriptor: self._command(model, bundle, descriptor),
            what=f"the server of arm '{arm}'",
            log=self._folder / f"{arm}.log",
        )
        # The server reports its model as ready only once that is loaded and warmed up.
        server.await_ready(f"/v2/models/{model.name}/ready", seconds=self._ready_seconds)
        served = _Served(server, model)
        with self._lock:
            earlier = self._servers.get(arm)
            self._servers[arm] = served
            if earlier:
                self._replaced.setdefault(arm, []).append((time.monotonic(), earlier.server))
        return served.endpoint(arm)

    def remove(self, arm: str, *, model: str = "", rollout: str = "") -> None:
        """Stop the arm's servers; nothing happens where there is none.

        Args:
            arm: The arm; one name is for one arm here, whatever its model and its rollout.
            model: Its model.
            rollout: Its rollout.
        """
        del model, rollout
        self._stop_replaced(arm)
        with self._lock:
            served = self._servers.pop(arm, None)
        if served:
            served.server.stop()

    def close(self) -> None:
        """Stop all servers."""
        for arm in list({**self._servers, **self._replaced}):
            self.remove(arm)

    def __enter__(self) -> "ProcessArmDeployer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stop_replaced(self, arm: str, *, grace_seconds: float = 0.0) -> None:
        """Stop an arm's servers that were replaced so many seconds ago."""
        before = time.monotonic() - grace_seconds
        with self._lock:
            replaced = self._replaced.pop(arm, [])
            if young := [one for one in replaced if one[0] > before]:
                self._replaced[arm] = young
        for moment, server in replaced:
            if moment <= before:
                server.stop()

    def _command(self, model: ModelVersion, bundle: Path, listen_fd: int) -> list[str]:
        # -P: a folder called "serving" where the user stands must not be taken for ours.
        return [
            *(sys.executable, "-P", "-m", "serving.predictor"),
            *("--model_dir", str(bundle)),
            *("--model_name", model.name),
            *("--model_version", str(model.version)),
            *("--profile", self._profile_name),
            *("--feature_deadline_ms", _FEATURE_DEADLINE_MS),
            *("--listen_fd", str(listen_fd)),
            "--exit_with_parent",
        ]
