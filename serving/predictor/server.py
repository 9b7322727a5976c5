"""Starts a KServe model server the way Trimtab wants it: on a socket of the caller's choice, quiet, never orphaned."""

import functools
import logging
import socket
import warnings
from copy import deepcopy

import kserve
from fastapi.exceptions import FastAPIDeprecationWarning
from kserve.errors import InvalidInput, ModelNotFound
from kserve.logging import KSERVE_LOG_CONFIG, configure_logging

SHUTDOWN_SECONDS = 5  # how long requests in flight may take once the server is told to stop


class _Server(kserve.ModelServer):
    """KServe's server on an open socket; KServe itself binds all interfaces of a port number."""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(
            workers=1,
            enable_grpc=False,
            enable_latency_logging=False,
            grace_period=SHUTDOWN_SECONDS,
        )
        self._listener = listener

    async def _serve(self) -> None:
        uvicorn_server = self._rest_server._server
        uvicorn_server.serve = functools.partial(uvicorn_server.serve, sockets=[self._listener])
        await super()._serve()


def serve(model: kserve.Model, *, listener: socket.socket) -> None:
    """Answer requests until the process is told to stop. The model has to be loaded.

    Args:
        model: A ready model.
        listener: Bound socket; requests that arrive before this call wait in its backlog.
    """
    _Server(listener).start([model])


def quiet_logs() -> None:
    """Log what an operator acts on, once. KServe's four lines a request cost a third of its time."""
    config = deepcopy(KSERVE_LOG_CONFIG)
    config["loggers"]["kserve"]["level"] = "WARNING"
    config["loggers"]["kserve.trace"]["level"] = "WARNING"
    config["loggers"]["uvicorn"]["level"] = "WARNING"
    config["loggers"]["uvicorn.error"]["level"] = "WARNING"
    config["loggers"]["uvicorn.access"]["level"] = "WARNING"
    configure_logging(config)
    logging.getLogger("kserve").addFilter(_is_not_the_callers_fault)
    warnings.simplefilter("ignore", FastAPIDeprecationWarning)  # raised by KServe's own code at each request


def _is_not_the_callers_fault(record: logging.LogRecord) -> bool:
    """Drop the traceback that KServe logs for each bad request; the caller got the reason."""
    return not (record.exc_info and isinstance(record.exc_info[1], InvalidInput | ModelNotFound))
