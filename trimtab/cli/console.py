"""What every command shares: its options, its output, its errors.

Results go to standard output, as a table for people or, with `--json`, as one JSON document; everything else
(progress, warnings, errors) goes to standard error.
"""

import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trimtab import ports
from trimtab.errors import BadInput, TrimtabError

ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        help="Where to run: a shipped profile (local, cluster) or a YAML file.",
        envvar="TRIMTAB_PROFILE",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]

EXIT_CODES = "Exit codes: 0 done; 1 failed; 2 bad input; 3 a service did not answer, try again."

# Rich assumes 80 columns where there is no terminal; what reads a pipe or a file is better served by whole lines.
PIPED_COLUMNS = 160

out = Console(width=None if sys.stdout.isatty() else PIPED_COLUMNS)
err = Console(stderr=True)


def example(command: str) -> str:
    """What stands below a command's help: how it is called, and what its exit codes mean."""
    return f"Example: {command}\n\n{EXIT_CODES}"


def user() -> str:
    """Who runs the command. A container's user often has no name.

    Raises:
        BadInput: Nobody knows.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise BadInput("this user has no name, and the audit log asks for one.", remedy="Give --who.") from error


def emit(result: object, *, as_json: bool, render: Callable[[], None]) -> None:
    """Print a result once, for a machine or for a person."""
    if as_json:
        body = orjson.dumps(
            result,
            option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS,
            default=str,
        )
        sys.stdout.write(body.decode() + "\n")
    else:
        render()


def fail(error: TrimtabError, *, as_json: bool) -> None:
    """Print an error without a traceback, on standard error."""
    if as_json:
        body: dict[str, Any] = {
            "error": {"kind": type(error).__name__, "message": error.message, "remedy": error.remedy}
        }
        sys.stderr.write(orjson.dumps(body).decode() + "\n")
        return
    err.print(f"[bold red]error:[/] {_plain(error.message)}", highlight=False, soft_wrap=True)
    if error.remedy:
        err.print(f"  [dim]what to do:[/] {_plain(error.remedy)}", highlight=False, soft_wrap=True)


@contextmanager
def progress_bars(*, enabled: bool = True) -> Iterator[ports.Progress]:
    """Show one bar per stage on standard error while the block runs, where standard error is a terminal."""
    with Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=err,
        transient=True,
        disable=not (enabled and err.is_terminal),
    ) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, note=note)
            bars.update(tasks[stage], completed=done, total=total, note=note)
            if done >= total:
                bars.remove_task(tasks.pop(stage))

        yield report


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
