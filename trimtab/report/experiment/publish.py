"""Writes the three forms of an experiment's report into a folder."""

from dataclasses import dataclass
from pathlib import Path

import orjson

from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.experiment.page import experiment_document, experiment_json, render_document
from trimtab.report.folder import replaced, require_replaceable
from trimtab.report.markdown import render_markdown

PAGE, MARKDOWN, JSON = "report.html", "report.md", "report.json"


@dataclass(frozen=True, slots=True)
class Written:
    """Where the report is."""

    html: Path
    markdown: Path
    json: Path


def require_replaceable_report(out: Path) -> None:
    """Refuse, before any work, a folder that a report of an experiment may not replace.

    Raises:
        BadInput: `out` is a file, or a folder that holds something else than a report.
    """
    require_replaceable(out.absolute(), marker=JSON)


def publish_experiment(report: ExperimentReport, out: Path) -> Written:
    """Write page, Markdown and JSON, all or none.

    Args:
        report: What to show.
        out: Folder of the report; an earlier report in it is replaced.

    Raises:
        BadInput: `out` is a file, or a folder that holds something else than a report.
    """
    out = out.absolute()
    document = experiment_document(report)
    with replaced(out, marker=JSON) as fresh:
        (fresh / PAGE).write_text(render_document(document), encoding="utf-8")
        (fresh / MARKDOWN).write_text(render_markdown(document), encoding="utf-8")
        (fresh / JSON).write_bytes(orjson.dumps(experiment_json(report), option=orjson.OPT_INDENT_2))
    return Written(out / PAGE, out / MARKDOWN, out / JSON)
