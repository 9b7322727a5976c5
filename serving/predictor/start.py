"""From a version to a server that answers: the composition of the predictor."""

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving import process
from serving.metrics import MULTIPROCESS_FOLDER
from trimtab import runtime
from trimtab.errors import BadInput, Unavailable
from trimtab.models.manifest import read_manifest

_log = logging.getLogger("kserve.trimtab")

_SCHEME = "models:/"
_GRACE_SECONDS = 10.0  # for the workers to end, once the supervisor's parent has gone
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What is served: one immutable version.

    Attributes:
        name: Name in the URL.
        number: Version in the registry.
        folder: The bundle.
    """

    name: str
    number: int
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a version is served.

    Attributes:
        profile: Profile whose feature store holds the history; none where empty.
        grpc_port: Port for gRPC; none where 0.
        workers: Processes that answer.
        feature_deadline_ms: How long a request waits for its features.
        feature_stale_days: A history whose last session is older counts as stale.
        log_features: File for a sample of the served values; none where empty.
        log_features_share: Share of the requests in the sample.
        micro_batching: Run the rows of requests that come at once through the model together.
        traces: OTLP address of a collector; where empty, that of `OTEL_EXPORTER_OTLP_ENDPOINT`, or none.
    """

    profile: str = ""
    grpc_port: int = 0
    workers: int = 1
    feature_deadline_ms: float = 5.0
    feature_stale_days: float = 30.0
    log_features: str = ""
    log_features_share: float = 0.01
    micro_batching: bool = False
    traces: str = ""


def resolve(uri: str, *, profile: str) -> Version:
    """The version behind `models:/NAME@ALIAS` or `models:/NAME/VERSION`; its bundle is fetched.

    Raises:
        BadInput: The URI is written otherwise, or no profile is given.
        NotFound: There is no such version.
    """
    name, separator, reference = uri.removeprefix(_SCHEME).partition("@")
    if not separator:
        name, separator, reference = uri.removeprefix(_SCHEME).partition("/")
    if not (uri.startswith(_SCHEME) and name and reference):
        raise BadInput(f"'{uri}' names no version.", remedy="Write models:/NAME@ALIAS or models:/NAME/VERSION.")
    if not profile:
        raise BadInput(f"'{uri}' needs a registry.", remedy="Name the profile that has it with --profile.")
    registry = runtime.load(profile).registry
    version = registry.resolve(name, reference)
    return Version(name=version.name, number=version.version, folder=registry.download(version))


def start(
    version: Version,
    options: Options,
    *,
    host: str,
    port: int,
    listener: socket.socket | None = None,
    grpc_shared: bool = False,
    with_parent: bool = False,
    announce: Callable[[], None] = lambda: None,
) -> int:
    """Serve a version until the process is told to stop.

    Args:
        version: What to serve.
        options: How to.
        host: Address to bind.
        port: Port to bind for HTTP.
        listener: Open socket to use in place of `port`.
        grpc_shared: Whether other workers bind the port for gRPC too.
        with_parent: End when the parent process ends.
        announce: Called once the server answers; with several workers, once they are started.

    Returns:
        The exit code.

    Raises:
        BadInput: The folder holds no bundle, or the profile is wrong.
        Unavailable: A port is taken.
    """
    if with_parent:
        process.exit_with_parent(grace_seconds=_GRACE_SECONDS if options.workers > 1 else 0.0)
    read_manifest(version.folder)
    if listener is None:
        try:
            listener = process.listen(host, port)
        except OSError as error:
            raise Unavailable(f"{host}:{port} cannot be bound: {error}.", remedy="Choose another port.") from error
    if options.workers > 1:
        announce()
        return _supervise(version, options, host=host, listener=listener)
    # KServe parses the command line when it is imported, so that is left until there is something to serve.
    from serving.predictor import server
    from serving.predictor.compose import compose

    server.quiet_logs()
    engine, tracing = compose(version, options)
    _log.info("serving model '%s' version %d from %s", version.name, version.number, version.folder)
    grpc = server.GrpcAddress(host, options.grpc_port, grpc_shared) if options.grpc_port else None
    server.serve(engine, listener=listener, grpc=grpc, tracing=tracing, announce=announce)
    return 0


def _supervise(version: Version, options: Options, *, host: str, listener: socket.socket) -> int:
    """Run the workers, which share the sockets and a folder of metrics."""
    os.environ.update({name: os.environ.get(name, threads) for name, threads in _ONE_THREAD.items()})
    with tempfile.TemporaryDirectory(prefix="trimtab-metrics-") as folder:
        os.environ.setdefault(MULTIPROCESS_FOLDER, folder)  # before a worker imports prometheus_client
        command = [
            *(sys.executable, "-P", "-m", "serving.predictor"),  # -P: not a folder "serving" where the user stands
            *("--model_dir", str(version.folder)),
            *("--model_name", version.name),
            *("--model_version", str(version.number)),
            *("--host", host),
            *("--profile", options.profile),
            *("--grpc_port", str(options.grpc_port)),
            *("--feature_deadline_ms", str(options.feature_deadline_ms)),
            *("--feature_stale_days", str(options.feature_stale_days)),
            *("--log_features", options.log_features),
            *("--log_features_share", str(options.log_features_share)),
            *("--traces", options.traces),
            *(["--micro_batching"] if options.micro_batching else []),
            "--grpc_shared",
        ]
        return process.supervise(command, workers=options.workers, listener=listener)
