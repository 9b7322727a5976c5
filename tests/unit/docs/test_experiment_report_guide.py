"""The guide to the experiment's report names its keys and sections."""

import re
from pathlib import Path

from trimtab.report.experiment.page import experiment_document, experiment_json
from trimtab.testing.experiment_reports import simulated_report

GUIDE = (Path(__file__).parents[3] / "docs" / "experiment-report.md").read_text(encoding="utf-8")


def test_every_key_is_documented_and_every_documented_key_exists() -> None:
    table = GUIDE.split("## report.json")[1]
    named = [
        key
        for line in table.splitlines()
        if line.startswith("| `")
        for key in re.findall(r"`([^`]+)`", line.split("|")[1])
    ]
    assert {key.removesuffix("[]") for key in named} == set(experiment_json(simulated_report()))


def test_every_section_is_explained_in_its_order() -> None:
    rows = re.findall(r"^\| ([A-Z][^|]+) \|", GUIDE, flags=re.MULTILINE)
    sections = experiment_document(simulated_report()).sections
    assert rows == [part.short if part.anchor == "sensitivity" else part.title for part in sections]
