import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from pydantic import TypeAdapter

from trimtab.errors import BadInput
from trimtab.experiments.analysis.result import Analysis
from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.experiment.page import experiment_document, experiment_json, render_document
from trimtab.report.experiment.publish import publish_experiment
from trimtab.report.markdown import render_markdown
from trimtab.testing.experiment_reports import METRICS, simulated_report

VOID = {"meta", "link", "br", "use", "path"}


class _Checker(HTMLParser):
    """Open tags, ids and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href") and value]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def _page(report: ExperimentReport) -> str:
    return render_document(experiment_document(report))


@pytest.mark.parametrize("name", ["shipped", "harmful", "unclear", "faulty", "sequential", "watched"])
def test_every_page_stands_alone_and_is_well_formed(name: str, request: pytest.FixtureRequest) -> None:
    page = _page(request.getfixturevalue(name))
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    outward = [link for link in checker.links if not link.startswith(("#", "data:,", "report."))]
    assert outward == []
    assert {link[1:] for link in checker.links if link.startswith("#")} <= set(checker.ids)
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"<svg.*?</svg>|<style.*?</style>", "", page, flags=re.DOTALL))


def test_page_and_markdown_say_the_same(shipped: ExperimentReport) -> None:
    document = experiment_document(shipped)
    text = render_markdown(document)
    assert document.lead in text.replace("\\", "")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        part.title for part in document.sections
    ]
    assert all(f"<h2>{part.title}</h2>" in render_document(document) for part in document.sections)


def test_names_from_the_data_are_escaped() -> None:
    nasty = "<script>alert(1)</script>"
    metrics = {nasty: METRICS["conversion"]}
    page = _page(simulated_report(lifts={"control": 0.0, nasty: 0.2}, metrics=metrics))
    assert nasty not in page
    assert "&lt;script&gt;" in page


def test_an_arm_without_a_comparison_is_a_page_too() -> None:
    report = simulated_report(lifts={"control": 0.0, "treatment": 0.1}, users=40)
    bare = replace(report.analysis.metrics["conversion"], comparisons=())
    analysis = replace(report.analysis, metrics={**report.analysis.metrics, "conversion": bare}, days=())
    assert "no comparison" in _page(replace(report, analysis=analysis))


def test_zero_conversions_are_a_page_too() -> None:
    report = simulated_report(lifts={"control": -1.0 / 0.6, "treatment": -1.0 / 0.6}, users=400)
    assert report.primary.arms["control"].value == 0
    assert report.analysis.verdict.decision == "hold"
    assert "Hold" in _page(report)


def test_three_files_are_written(tmp_path: Path, shipped: ExperimentReport) -> None:
    written = publish_experiment(shipped, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "report.json", "report.md"]
    found = json.loads(written.json.read_bytes())
    again = TypeAdapter(Analysis).validate_python(found["analysis"])
    assert again.verdict == shipped.analysis.verdict
    assert found["headline"] == experiment_document(shipped).lead
    publish_experiment(shipped, tmp_path / "out")


def test_somebodys_folder_is_not_replaced(tmp_path: Path, shipped: ExperimentReport) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match="not a report"):
        publish_experiment(shipped, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_the_json_has_no_number_that_is_none(shipped: ExperimentReport) -> None:
    found = orjson.loads(orjson.dumps(experiment_json(shipped)))
    for step in found["business_steps"]:
        assert step["result"] is None or all(value is not None for value in step["result"].values())
