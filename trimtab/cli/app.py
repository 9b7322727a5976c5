"""The command tree, and the one place where errors become exit codes."""

import importlib
import os
import sys

import typer

from trimtab.cli import console
from trimtab.errors import TrimtabError

# Command groups in the order that `trimtab --help` shows them; each module has a `register(app)`.
GROUPS = ("run", "simulate", "validate", "train", "experiment", "pipeline", "serve", "models")

app = typer.Typer(
    name="trimtab",
    help="Raise an online shop's conversion, and prove that you did.",
    epilog=console.EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with a documented code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for group in GROUPS:
        importlib.import_module(f"trimtab.cli.{group}").register(app)
    try:
        app(args=arguments)
    except TrimtabError as error:
        if os.environ.get("TRIMTAB_DEBUG"):
            raise
        console.fail(error, as_json="--json" in arguments)
        sys.exit(error.exit_code)
