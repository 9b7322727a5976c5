"""The guide to the event log says what is so: its query, its spec and its columns."""

import re
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from trimtab.adapters.event_segments import SCHEMA
from trimtab.adapters.events import FileEventLog
from trimtab.steps import analyze
from trimtab.testing.event_log import NOW, exposure
from trimtab.testing.ports import StepPorts
from trimtab.types import Event

GUIDE = (Path(__file__).parents[3] / "docs" / "events.md").read_text(encoding="utf-8")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a log where the guide has it."""
    monkeypatch.chdir(tmp_path)
    log = FileEventLog(".trimtab/events")
    for number in range(400):
        arm, device = ("control", "treatment")[number % 2], ("mobile", "desktop")[number // 2 % 2]
        log_of = [exposure(f"u{number}", experiment="checkout", arm=arm, device=device)]
        if number % 7 == 0:
            after = NOW + timedelta(hours=1)
            conversion = Event(f"c{number}", "outcome", "checkout", f"u{number}", after, metric="conversion", value=1.0)
            log_of += [conversion, conversion]  # It came twice.
        log.append(log_of)
    end = NOW + timedelta(days=9)
    log.append([Event("end", "outcome", "checkout", "nobody", end, metric="visit", value=1.0)])
    return tmp_path


def _block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL)[:1]
    return str(found)


def test_the_query_of_the_guide_runs(shop: Path) -> None:
    rows = duckdb.execute(_block("sql")).fetchall()
    assert sorted(rows) == [(device, arm, 100) for device in ("desktop", "mobile") for arm in ("control", "treatment")]


def test_the_spec_of_the_guide_analyses_the_log(shop: Path) -> None:
    (shop / "checkout.yaml").write_text(_block("yaml"), encoding="utf-8")
    config = analyze.Config(".trimtab/events/checkout/exposure/*.parquet", spec="checkout.yaml")
    found = analyze.run(config, StepPorts(shop / "state").as_ports())
    arms = found.metrics["conversion"].arms
    assert {arm: value.units for arm, value in arms.items()} == {"control": 200, "treatment": 200}
    assert sum(value.units * value.value for value in arms.values()) == pytest.approx(58)
    assert {segmentation.attribute for segmentation in found.segments} == {"device"}


def test_the_guide_names_every_column() -> None:
    table = GUIDE[GUIDE.index("## Columns") : GUIDE.index("| any other")]
    named = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line)))
    assert named == set(SCHEMA.names)
