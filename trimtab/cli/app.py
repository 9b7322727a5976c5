"""The command tree, and the one place where errors become exit codes."""

import importlib
import os
import signal
import sys

import typer
from typer.exceptions import TyperException

from trimtab.cli import console
from trimtab.errors import BadInput, TrimtabError

# Command groups in the order that `trimtab --help` shows them; each module has a `register(app)`.
GROUPS = (
    "run",
    "simulate",
    "validate",
    "train",
    "experiment",
    "rollout",
    "pipeline",
    "features",
    "serve",
    "score",
    "models",
    "events",
)

# A path that somebody gave and that cannot be used; other errors of the system (a full disk) are not bad input.
_WRONG_PLACE = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)


def commands() -> typer.Typer:
    """The command tree."""
    tree = typer.Typer(
        name="trimtab",
        help="Raise an online shop's conversion, and prove that you did.",
        epilog=console.example("trimtab run"),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    for group in GROUPS:
        importlib.import_module(f"trimtab.cli.{group}").register(tree)
    return tree


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with a documented code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    # As a container's first process it would not end on this signal at all; now it does as on Ctrl-C, in good order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # A person gets typer's own words on a wrong option; a machine gets the same JSON as for every other error.
        sys.exit(commands()(args=arguments, standalone_mode=not as_json))
    except (TrimtabError, OSError, TyperException) as error:
        if os.environ.get("TRIMTAB_DEBUG"):
            raise
        shown = _explained(error)
        console.fail(shown, as_json=as_json)
        sys.exit(shown.exit_code)


def _explained(error: TrimtabError | OSError | TyperException) -> TrimtabError:
    """The error as one of Trimtab's."""
    if isinstance(error, TrimtabError):
        return error
    if isinstance(error, TyperException):
        return BadInput(error.format_message(), remedy="See --help.")
    kind = BadInput if isinstance(error, _WRONG_PLACE) else TrimtabError
    place = f"'{error.filename}': " if error.filename else ""
    return kind(
        f"{place}{error.strerror or error}.",
        remedy="Name a place that can be read and written; TRIMTAB_DEBUG=1 shows where this happened.",
    )
