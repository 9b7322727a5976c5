"""Starts the router: `python -m serving.router --routes FOLDER --events URI --profile NAME`."""

import argparse
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from serving.process import exit_with_parent, listen, supervise
from trimtab.errors import TrimtabError, Unavailable

_BACKLOG = 2048
_GRACE_SECONDS = 10.0
_STOP_SECONDS = 45.0  # requests under way may take 30, and then there is the last flush


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and serve until told to stop; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if options.exit_with_parent:
        exit_with_parent(grace_seconds=options.drain_seconds + _GRACE_SECONDS)
    try:
        listener = _listener(options)
        if options.workers > 1:
            return _workers(list(sys.argv[1:] if arguments is None else arguments), options, listener)
        return _one(options, listener)
    except TrimtabError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def _one(options: argparse.Namespace, listener: socket.socket) -> int:
    from serving.router.start import RouterOptions, run

    run(
        RouterOptions(
            profile=options.profile,
            routes=options.routes,
            events=options.events,
            spool=options.spool,
            unit_header=options.unit_header,
            max_body_bytes=options.max_body_bytes,
            drain_seconds=options.drain_seconds,
            unguarded=options.open,
        ),
        listener=listener,
    )
    return 0


def _workers(arguments: list[str], options: argparse.Namespace, listener: socket.socket) -> int:
    """Several processes on one socket, whose metrics meet in one folder."""
    command = [sys.executable, "-P", "-m", "serving.router", *arguments, "--workers", "1"]
    with tempfile.TemporaryDirectory(prefix="trimtab-router-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        from prometheus_client.multiprocess import mark_process_dead

        return supervise(
            command,
            workers=options.workers,
            listener=listener,
            stop_seconds=options.drain_seconds + _STOP_SECONDS,
            ended=mark_process_dead,
        )


def _listener(options: argparse.Namespace) -> socket.socket:
    if options.listen_fd is not None:
        return socket.socket(fileno=options.listen_fd)
    try:
        return listen(options.host, options.port, backlog=_BACKLOG)
    except OSError as error:
        raise Unavailable(
            f"{options.host}:{options.port} cannot be bound: {error}.", remedy="Choose another port."
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.router", description=__doc__)
    parser.add_argument("--profile", default="local", help="profile of the state folder, event log and key")
    parser.add_argument("--routes", type=Path, help="folder of the routes; the profile's by default")
    parser.add_argument("--events", default="", help="URI of the event log; the profile's by default")
    parser.add_argument("--spool", type=Path, help="folder for events that the log does not take at once")
    parser.add_argument("--unit_header", default="x-trimtab-unit", help="header that holds the unit id")
    parser.add_argument("--max_body_bytes", type=int, default=16 * 1024 * 1024, help="largest body that is read")
    parser.add_argument("--drain_seconds", type=float, default=0.0, help="go on serving so long once told to stop")
    parser.add_argument("--open", action="store_true", help="let others in without tokens")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind")
    parser.add_argument("--port", type=int, default=8090, help="port to bind")
    parser.add_argument("--workers", type=int, default=1, help="processes on the one socket")
    parser.add_argument("--listen_fd", type=int, help="open listening socket to use in place of host and port")
    parser.add_argument("--exit_with_parent", action="store_true", help="end when standard input ends")
    return parser


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Taking an interpreter with this much in it apart takes long, and nothing is left to do.
