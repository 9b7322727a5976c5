"""Serves one warmed-up model over HTTP and gRPC: KServe's app behind a lean front, on a given socket."""

import asyncio
import logging
import signal
import socket
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import kserve
import uvicorn
import uvloop
from fastapi.exceptions import FastAPIDeprecationWarning
from kserve import model_server
from kserve.errors import InvalidInput, ModelNotFound
from kserve.logging import KSERVE_LOG_CONFIG, configure_logging
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer

from serving.predictor import grpc_service
from serving.predictor.engine import Engine
from serving.predictor.front import Front
from serving.predictor.model import ConversionPredictor
from serving.predictor.tracing import Tracing
from serving.protocol import PlainProtocol
from trimtab.errors import Unavailable

SHUTDOWN_SECONDS = 5  # how long requests in flight may take once the server is told to stop
_KEEP_ALIVE_SECONDS = 65  # longer than the idle time-out of the usual proxies


@dataclass(frozen=True, slots=True)
class GrpcAddress:
    """Where gRPC is served.

    Attributes:
        host: Address to bind.
        port: Port to bind.
        shared: Whether other workers bind it too.
    """

    host: str
    port: int
    shared: bool = False


def serve(
    engine: Engine,
    *,
    listener: socket.socket,
    grpc: GrpcAddress | None = None,
    tracing: Tracing | None = None,
    announce: Callable[[], None] = lambda: None,
) -> None:
    """Warm up, and answer requests until the process is told to stop; requests in flight are answered.

    Args:
        engine: Answers batches.
        listener: Bound socket; requests that arrive before this call wait in its backlog.
        grpc: Where gRPC is served; None for nowhere.
        tracing: Makes a span of each prediction; None for none.
        announce: Called once the model is warmed up and answers.

    Raises:
        Unavailable: The port for gRPC is taken.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(engine, listener, grpc, tracing, announce))


async def _serve(
    engine: Engine,
    listener: socket.socket,
    grpc: GrpcAddress | None,
    tracing: Tracing | None,
    announce: Callable[[], None],
) -> None:
    predictor = ConversionPredictor(engine)
    await predictor.warm_up()
    repository = kserve.ModelRepository()
    repository.update(predictor)
    data_plane, extension = DataPlane(repository), ModelRepositoryExtension(repository)
    RESTServer("kserve.model_server:app", data_plane, extension, http_port=0).create_application()
    config = uvicorn.Config(
        Front(engine, model_server.app, tracing=tracing),
        http=PlainProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    calls = None
    if grpc:
        servicer = grpc_service.PredictorServicer(engine, data_plane, extension, tracing=tracing)
        try:
            calls = await grpc_service.serve(servicer, host=grpc.host, port=grpc.port, shared=grpc.shared)
        except RuntimeError as error:
            raise Unavailable(
                f"{grpc.host}:{grpc.port} cannot be bound for gRPC.", remedy="Choose another port."
            ) from error
    # uvicorn raises the signal that ended it once more when it is done, which would end this process a second time.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    announce()
    await uvicorn.Server(config).serve(sockets=[listener])
    if calls:
        await calls.stop(SHUTDOWN_SECONDS)
    engine.close()
    if tracing:
        tracing.close()


def quiet_logs() -> None:
    """Log what an operator acts on, once. KServe's four lines a request cost a third of its time."""
    config = deepcopy(KSERVE_LOG_CONFIG)
    for name in ("kserve", "kserve.trace", "uvicorn", "uvicorn.error", "uvicorn.access"):
        config["loggers"][name]["level"] = "WARNING"
    configure_logging(config)
    logging.getLogger("kserve").addFilter(_is_not_the_callers_fault)
    warnings.simplefilter("ignore", FastAPIDeprecationWarning)  # raised by KServe's own code at each request


def _is_not_the_callers_fault(record: logging.LogRecord) -> bool:
    """Drop the traceback that KServe logs for each bad request; the caller got the reason."""
    return not (record.exc_info and isinstance(record.exc_info[1], InvalidInput | ModelNotFound))
