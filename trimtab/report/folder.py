"""Replaces the folder of a report, whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trimtab.errors import BadInput


@contextmanager
def replaced(out: Path, *, marker: str) -> Iterator[Path]:
    """A new folder to write into, which takes the place of `out` when the block ends.

    A reader of `out` never sees a report that is half written; a failure leaves the earlier report as it was.

    Args:
        out: Folder of the report; what was in it is replaced.
        marker: A file that every report of this sort holds; a folder without it is somebody's work and stays.

    Raises:
        BadInput: `out` is a file, or a folder that holds something else than a report.
    """
    out = out.absolute()
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / marker).is_file()):
        raise BadInput(
            f"'{out}' is not a report, so it is not replaced by one.", remedy="Name an empty folder, or a new one."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        fresh, old = Path(scratch) / "new", Path(scratch) / "old"
        fresh.mkdir()
        yield fresh
        if out.exists():
            out.rename(old)
        fresh.rename(out)
