"""Starts the model server of one version: `python -m serving.predictor --model_dir BUNDLE --model_name NAME`.

The option names are KServe's, so that a ServingRuntime's arguments and mount (`/mnt/models`) fit. A version can also be
named by `--model_uri models:/NAME@ALIAS --profile PROFILE`; the alias is resolved once, when the server starts.
"""

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from serving.predictor.start import Options, Version, resolve, start
from trimtab.errors import BadInput, TrimtabError


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and serve until told to stop; returns the exit code."""
    given = _parser().parse_args(arguments)
    listener = socket.socket(fileno=given.listen_fd) if given.listen_fd is not None else None
    try:
        return start(
            _version(given),
            Options(**{field.name: getattr(given, field.name) for field in fields(Options)}),
            host=given.host,
            port=given.http_port,
            listener=listener,
            grpc_shared=given.grpc_shared,
            with_parent=given.exit_with_parent,
        )
    except TrimtabError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def _version(given: argparse.Namespace) -> Version:
    if given.model_uri:
        found = resolve(given.model_uri, profile=given.profile)
        return Version(name=given.model_name or found.name, number=found.number, folder=found.folder)
    if not given.model_name:
        raise BadInput("no --model_name is given.", remedy="Give one, or name a version with --model_uri.")
    return Version(name=given.model_name, number=given.model_version, folder=Path(given.model_dir))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.predictor", description=__doc__)
    parser.add_argument("--model_dir", default="/mnt/models", help="folder of the bundle")
    parser.add_argument("--model_uri", default="", help="models:/NAME@ALIAS or models:/NAME/VERSION, not a folder")
    parser.add_argument("--model_name", default="", help="name in the URL; that in the registry where a URI is given")
    parser.add_argument("--model_version", type=int, default=0, help="version in the registry, as answers state it")
    parser.add_argument("--profile", default="", help="profile whose online store holds the history; none where empty")
    parser.add_argument("--host", default="0.0.0.0", help="address to bind")  # noqa: S104 - a pod's own address
    parser.add_argument("--http_port", type=int, default=8080, help="port to bind")
    parser.add_argument("--grpc_port", type=int, default=0, help="port for gRPC; 0 for none")
    parser.add_argument("--workers", type=int, default=1, help="processes that answer")
    parser.add_argument("--feature_deadline_ms", type=float, default=5.0, help="how long a request waits for history")
    parser.add_argument("--feature_stale_days", type=float, default=30.0, help="an older history counts as stale")
    parser.add_argument("--log_features", default="", help="file for a sample of the served values; none where empty")
    parser.add_argument("--log_features_share", type=float, default=0.01, help="share of the requests in the sample")
    parser.add_argument("--traces", default="", help="OTLP address of a collector, or OTEL_EXPORTER_OTLP_ENDPOINT")
    parser.add_argument("--micro_batching", action="store_true", help="run requests that come at once together")
    parser.add_argument("--listen_fd", type=int, help="open listening socket to use in place of host and port")
    parser.add_argument("--grpc_shared", action="store_true", help="other workers bind the port for gRPC too")
    parser.add_argument("--exit_with_parent", action="store_true", help="end when standard input ends")
    return parser


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Taking such an interpreter apart takes half a second, and nothing is left to do.
