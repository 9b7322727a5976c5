"""Puts a report where people look for it, whole or not at all."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from trimtab.report.folder import replaced
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

    Args:
        report: What to show.
        out: Folder of the report; what was in it is replaced.
        attachments: File name in the folder to the file to copy there.

    Raises:
        BadInput: `out` is a file, or a folder that holds something else than a report.
    """
    out = out.absolute()
    with replaced(out, marker=SUMMARY) as fresh:
        (fresh / PAGE).write_text(render_page(report), encoding="utf-8")
        (fresh / SUMMARY).write_bytes(orjson.dumps(summarise(report), option=orjson.OPT_INDENT_2))
        for name, source in (attachments or {}).items():
            shutil.copyfile(source, fresh / name)
    return Published(out / PAGE, out / SUMMARY)
