"""Analyses an experiment and writes its report: a page, Markdown and JSON."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trimtab import __version__
from trimtab.experiments.declaration import locked
from trimtab.ports import Ports
from trimtab.report.experiment.headline import lead
from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.experiment.publish import publish_experiment, require_replaceable_report
from trimtab.steps import analyze
from trimtab.types import Decision

_LIBRARIES = ("numpy", "scipy", "ibis-framework", "duckdb")


@dataclass(frozen=True, slots=True)
class Config:
    """What to report on, and where to.

    Attributes:
        out: Folder of the report; an earlier report in it is replaced.
        analysis: What to analyse, and by which rules.
        command: Command line that makes the report again.
        now: Aware time of the report; the present where absent.
    """

    out: str
    analysis: analyze.Config = field(default_factory=analyze.Config)
    command: str = ""
    now: datetime | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What was said, and where it is written.

    Attributes:
        decision: `ship`, `roll_back` or `hold`.
        headline: The one sentence to read.
        html: Path of the page.
        markdown: Path of the Markdown.
        json: Path of the JSON.
    """

    decision: Decision
    headline: str
    html: str
    markdown: str
    json: str


def run(config: Config, ports: Ports) -> Result:
    """Analyse and report.

    Args:
        config: The configuration.
        ports: The ports.

    Raises:
        BadInput: The data or the rules are wrong, or the folder holds something else than a report.
    """
    out = Path(config.out)
    require_replaceable_report(out)
    spec, analysis = analyze.judged(config.analysis, ports)
    report = ExperimentReport(
        analysis=analysis,
        spec=spec,
        made_at=config.now or datetime.now(UTC),
        locked=bool(config.analysis.spec) and locked(config.analysis.spec) is not None,
        command=config.command,
        data_sha256=_digest(config.analysis.data or config.analysis.aggregates),
        versions={"trimtab": __version__, **_versions()},
    )
    written = publish_experiment(report, out)
    return Result(
        decision=analysis.verdict.decision,
        headline=lead(report),
        html=str(written.html),
        markdown=str(written.markdown),
        json=str(written.json),
    )


def _digest(data: str) -> str:
    """SHA-256 of a file; empty for tables of an engine."""
    path = Path(data)
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found
