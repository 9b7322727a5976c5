"""Replaces the folder of a report, whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trimtab.errors import BadInput


@contextmanager
def replaced(out: Path, *, marker: str) -> Iterator[Path]:
    """A new folder to write into, which takes the place of `out` when the block ends.

    A reader of `out` never sees a report that is half written; a failure leaves the earlier report as it was. Between
    the two renames there is no report for a moment: no system call that all systems have exchanges two folders.

    Args:
        out: Folder of the report; what was in it is replaced.
        marker: A file that every report of this sort holds; a folder without it is somebody's work and stays.

    Raises:
        BadInput: `out` cannot be replaced, see `require_replaceable`.
    """
    out = out.absolute()
    require_replaceable(out, marker=marker)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        fresh, old = Path(scratch) / "new", Path(scratch) / "old"
        fresh.mkdir()
        yield fresh
        if out.exists():
            out.rename(old)
        try:
            fresh.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise


def require_replaceable(out: Path, *, marker: str) -> None:
    """Know that a report can be put at `out`; worth knowing before the work that leads to it.

    Args:
        out: Folder of the report.
        marker: A file that every report of this sort holds.

    Raises:
        BadInput: `out` is a file, a folder that holds something else than a report, or in a place that cannot be
            written.
    """
    out = out.absolute()
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / marker).is_file()):
        raise BadInput(
            f"'{out}' is not a report, so it is not replaced by one.", remedy="Name an empty folder, or a new one."
        )
    above = next(parent for parent in out.parents if parent.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise BadInput(f"'{out}' cannot be made in '{above}'.", remedy="Name a folder where you may write.")
