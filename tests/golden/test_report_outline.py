"""The outline of the page and the keys of the summary: what a reader and a machine rely on, without the bytes."""

import os
import re
from functools import cache
from pathlib import Path

import orjson
import pytest

from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.experiment.page import experiment_document, experiment_json, render_document
from trimtab.report.page import render_page
from trimtab.report.summary import summarise
from trimtab.testing.experiment_reports import simulated_report
from trimtab.testing.reports import loop_report

FOLDER = Path(__file__).parent / "report"


def _outline(page: str) -> str:
    """Section ids, headings, table headings and charts, one per line in order."""
    pattern = (
        r'<section id="(?P<section>[^"]+)"'
        r'|<(?P<tag>h[1-3]|th scope="col"[^>]*)>(?P<text>[^<]+)<'
        r'|<svg [^>]*aria-label="(?P<chart>[^"]+)"'
    )
    lines = []
    for match in re.finditer(pattern, page):
        if match["section"]:
            lines.append(f"# {match['section']}")
        elif match["chart"]:
            lines.append(f"chart: {match['chart']}")
        else:
            lines.append(f"{match['tag'].split()[0]}: {' '.join(match['text'].split())}")
    return "\n".join(lines) + "\n"


def _keys(value: object, prefix: str = "") -> list[str]:
    """Paths of all leaves; of a list only its first entry, since its length is no promise."""
    if isinstance(value, dict) and value:
        return [path for key, part in value.items() for path in _keys(part, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _keys(value[0], f"{prefix}[]")
    return [prefix]


@cache
def _experiment() -> ExperimentReport:
    """A report with every section filled."""
    business = {"units_per_year": 1e6, "value_per_conversion": 40, "one_off_cost": 100_000}
    looks = {"planned_units": 25_000, "looks": ["2026-09-11T00:00:00Z"]}
    lifts = {"control": 0.0, "treatment": 0.25}
    return simulated_report(lifts=lifts, business=business, sequential=looks, changes=("alpha: 0.01 became 0.05",))


def _plain(value: object) -> object:
    return orjson.loads(orjson.dumps(value))


@pytest.mark.parametrize(
    ("name", "actual"),
    [
        ("outline.txt", lambda: _outline(render_page(loop_report()))),
        ("summary_keys.txt", lambda: "\n".join(sorted(_keys(summarise(loop_report())))) + "\n"),
        ("experiment_outline.txt", lambda: _outline(render_document(experiment_document(_experiment())))),
        ("experiment_keys.txt", lambda: "\n".join(sorted(_keys(_plain(experiment_json(_experiment()))))) + "\n"),
    ],
    ids=["outline", "summary keys", "experiment outline", "experiment keys"],
)
def test_structure_is_as_agreed(name: str, actual: object) -> None:
    assert callable(actual)
    found, path = actual(), FOLDER / name
    if os.environ.get("TRIMTAB_UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8"), "run `make golden` and read the difference"
