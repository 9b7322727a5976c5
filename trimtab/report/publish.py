"""Puts a report where people look for it, whole or not at all."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from trimtab.errors import BadInput
from trimtab.report.loop import LoopReport
from trimtab.report.page import render_page
from trimtab.report.summary import summarise

PAGE = "index.html"
SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class Published:
    """Where the report is."""

    html: Path
    summary: Path


def publish(report: LoopReport, out: Path, *, attachments: Mapping[str, Path] | None = None) -> Published:
    """Write page, summary and attachments into a new folder, then put it in the place of `out`.

    A reader of `out` never sees a report that is half written; a failure leaves the earlier report as it was.

    Args:
        report: What to show.
        out: Folder of the report; what was in it is replaced.
        attachments: File name in the folder to the file to copy there.

    Raises:
        BadInput: `out` is a file, or a folder that holds something else than a report.
    """
    out = out.absolute()
    _check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        fresh, old = Path(scratch) / "new", Path(scratch) / "old"
        fresh.mkdir()
        (fresh / PAGE).write_text(render_page(report), encoding="utf-8")
        (fresh / SUMMARY).write_bytes(orjson.dumps(summarise(report), option=orjson.OPT_INDENT_2))
        for name, source in (attachments or {}).items():
            shutil.copyfile(source, fresh / name)
        if out.exists():
            out.rename(old)
        fresh.rename(out)
    return Published(out / PAGE, out / SUMMARY)


def _check_replaceable(out: Path) -> None:
    """Keep a slip in a path from deleting a folder of somebody's work."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / SUMMARY).is_file()):
        raise BadInput(
            f"'{out}' is not a report, so it is not replaced by one.", remedy="Name an empty folder, or a new one."
        )
