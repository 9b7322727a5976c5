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


def serve(
    model: Annotated[
        str, typer.Argument(help="Model and alias or version, e.g. ux_sessions@champion or ux_sessions@3.")
    ],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Serve a registered version with KServe until Ctrl-C: REST v1 and v2, the server that arms are served by."""
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

    # KServe parses the command line when it is imported, so that is left until there is something to serve.
    from serving.predictor.start import start

    start(
        bundle,
        name=version.name,
        version=version.version,
        profile=profile,
        host=host,
        port=port,
        announce=announce,
    )
