"""Starts a KServe model server the way Trimtab wants it: on a socket of the caller's choice, quiet, never orphaned."""

import functools
import logging
import os
import select
import socket
import sys
import threading
import warnings
from copy import deepcopy

import kserve
from fastapi.exceptions import FastAPIDeprecationWarning
from kserve.errors import InvalidInput, ModelNotFound
from kserve.logging import KSERVE_LOG_CONFIG, configure_logging

SHUTDOWN_SECONDS = 5  # how long requests in flight may take once the server is told to stop
_WATCH_SECONDS = 1.0


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


def listen(host: str, port: int) -> socket.socket:
    """Open the server's socket.

    Args:
        host: Address to bind.
        port: Port, or 0 for a free one.

    Raises:
        OSError: The port is taken or the address is not this machine's.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


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


def exit_with_parent() -> None:
    """End this process when its parent has gone, however that came to its end.

    The parent holds the other end of standard input, so the end of it means that the parent has gone; the parent's id
    is watched too, because a fork of the parent may still hold that end. `PR_SET_PDEATHSIG` would not do: it fires
    when the *thread* that started this process ends.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            readable, _, _ = select.select([sys.stdin], [], [], _WATCH_SECONDS)
            if readable and not os.read(sys.stdin.fileno(), 1024):
                break
        os._exit(0)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _is_not_the_callers_fault(record: logging.LogRecord) -> bool:
    """Drop the traceback that KServe logs for each bad request; the caller got the reason."""
    return not (record.exc_info and isinstance(record.exc_info[1], InvalidInput | ModelNotFound))
