"""`trimtab serve`: one model version on a port, in the foreground."""

import sys
from typing import Annotated

import typer

from trimtab import runtime
from trimtab.cli import console
from trimtab.errors import BadInput


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "serve",
        epilog=f"Example: trimtab serve ux_sessions@champion --port 8080. {console.EXIT_CODES}",
    )(serve)


def serve(  # noqa: PLR0917 - the options of the command line
    model: Annotated[
        str, typer.Argument(help="Model and alias or version, e.g. ux_sessions@champion or ux_sessions@3.")
    ],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="Port for gRPC; 0 for none.")] = 0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that answer.")] = 1,
    feature_deadline_ms: Annotated[
        float, typer.Option(min=0.1, help="How long a request waits for its user's history, in milliseconds.")
    ] = 5.0,
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Serve a registered version until Ctrl-C, by KServe's protocols v1 and v2: the server that arms are served by."""
    name, separator, reference = model.partition("@")
    if not (name and separator and reference):
        raise BadInput(f"model '{model}' names no version.", remedy="Write NAME@ALIAS or NAME@VERSION.")
    ports = runtime.load(profile)
    version = ports.registry.resolve(name, reference)
    bundle = ports.registry.download(version)
    url = f"http://{host}:{port}/v1/models/{version.name}:predict"

    def announce() -> None:
        words = f"{version.name} version {version.version} at {url}; Ctrl-C stops it."
        console.emit(
            {"model": version.name, "version": version.version, "url": url},
            as_json=as_json,
            render=lambda: console.err.print(words, highlight=False, soft_wrap=True),
        )
        sys.stdout.flush()

    # What serves is not loaded for other commands.
    from serving.predictor.start import Options, Version, start

    code = start(
        Version(name=version.name, number=version.version, folder=bundle),
        Options(profile=profile, grpc_port=grpc_port, workers=workers, feature_deadline_ms=feature_deadline_ms),
        host=host,
        port=port,
        announce=announce,
    )
    if code:
        raise typer.Exit(code)
