import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from trimtab.report.loop import DataSection, DriftSection, LoopReport
from trimtab.report.page import render_page
from trimtab.sessions.validation.findings import Finding
from trimtab.testing.reports import STAGES, loop_report, skipped_report

VOID = {"meta", "link", "br", "path", "use", "img"}


class Outline(HTMLParser):
    """What a browser would find: ids, links, charts, and whether tags are balanced."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.charts: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [identifier] if (identifier := values.get("id")) else []
        self.links += [link] if tag == "a" and (link := values.get("href")) else []
        self.charts += [label] if tag == "svg" and (label := values.get("aria-label")) else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [identifier for name, identifier in attrs if name == "id" and identifier]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report() -> LoopReport:
    return loop_report(rows=800)


@pytest.fixture(scope="module")
def page(report: LoopReport) -> str:
    return render_page(report)


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    assert not re.search(r"https?://|//[a-z]+\.|@import|src=|url\((?!#)", page)


def test_tags_are_balanced_and_ids_unique(page: str) -> None:
    outline = Outline(page)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))


def test_every_link_within_the_page_leads_somewhere(page: str) -> None:
    outline = Outline(page)
    inner = [link.removeprefix("#") for link in outline.links if link.startswith("#")]
    assert set(STAGES) - {"promotion"} <= set(outline.ids)
    assert set(inner) <= set(outline.ids)
    assert {link for link in outline.links if not link.startswith("#")} == {"drift.html", "summary.json"}


def test_each_stage_has_its_charts(page: str) -> None:
    charts = Outline(page).charts
    assert len(charts) == 8
    assert all(charts)


def test_intervals_stand_beside_estimates(page: str, report: LoopReport) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "+11.4% higher" not in text
    assert re.search(r"11\.4% higher than with the champion \(95% interval \+4\.7% to \+18\.6%\)", text)
    assert "An association, not a cause." in text


def test_stages_that_did_not_run_say_why() -> None:
    page = render_page(skipped_report(reason="the <data> have no unit."))
    assert page.count("This stage was not run: the &lt;data&gt; have no unit.") == len(STAGES)
    assert Outline(page).charts == ["Seconds per stage."]
    assert Outline(page).open == []


def test_what_came_from_the_data_is_escaped(report: LoopReport) -> None:
    assert isinstance(report.data, DataSection)
    hostile = '<script>alert("x")</script>'
    finding = Finding("error", "range", hostile, hostile, hostile, 1)
    data = replace(report.data, source=hostile, findings=(finding,))
    page = render_page(replace(skipped_report(), run=hostile, data=data))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 5


def test_broken_data_are_no_drift(report: LoopReport) -> None:
    assert isinstance(report.drift, DriftSection)
    broken = replace(report.drift, columns=(), detected=False, action="page", page="")
    page = render_page(replace(skipped_report(), drift=broken))
    assert "The data are broken" in page
    assert "Drift detected" not in page
