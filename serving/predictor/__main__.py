"""Starts the model server of one version: `python -m serving.predictor --model_dir BUNDLE --model_name NAME`.

The option names are KServe's, so that a ServingRuntime's arguments and mount (`/mnt/models`) fit.
"""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from serving.predictor.start import start
from trimtab.errors import TrimtabError


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and serve until told to stop; returns the exit code."""
    options = _parser().parse_args(arguments)
    listener = socket.socket(fileno=options.listen_fd) if options.listen_fd is not None else None
    try:
        start(
            Path(options.model_dir),
            name=options.model_name,
            version=options.model_version,
            profile=options.profile,
            host=options.host,
            port=options.http_port,
            listener=listener,
            with_parent=options.exit_with_parent,
        )
    except TrimtabError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.predictor", description=__doc__)
    parser.add_argument("--model_dir", default="/mnt/models", help="folder of the bundle")
    parser.add_argument("--model_name", required=True, help="name in the URL")
    parser.add_argument("--model_version", type=int, default=0, help="version in the registry, as answers state it")
    parser.add_argument("--profile", default="", help="profile whose online store holds the history; none where empty")
    parser.add_argument("--host", default="0.0.0.0", help="address to bind")  # noqa: S104 - a pod's own address
    parser.add_argument("--http_port", type=int, default=8080, help="port to bind")
    parser.add_argument("--listen_fd", type=int, help="open listening socket to use in place of host and port")
    parser.add_argument("--exit_with_parent", action="store_true", help="end when standard input ends")
    return parser


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Taking an interpreter with torch in it apart takes half a second, and nothing is left to do.
