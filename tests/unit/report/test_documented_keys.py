import re
from pathlib import Path

from trimtab.report.summary import summarise
from trimtab.testing.reports import loop_report

DOCUMENT = Path(__file__).parents[3] / "docs" / "summary.md"


def _documented() -> list[str]:
    rows = [line.split("|")[1] for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return [re.sub(r"\.?<.+|\[\]", "", key) for row in rows for key in re.findall(r"`([^`]+)`", row)]


def test_every_documented_key_is_in_the_summary() -> None:
    summary = summarise(loop_report(rows=800))
    assert len(_documented()) > 40
    for key in _documented():
        found: object = summary
        for part in key.split("."):
            assert isinstance(found, dict)
            assert part in found, key
            found = found[part]


def test_every_group_of_the_summary_is_documented() -> None:
    documented = {key.split(".")[0] for key in _documented()}
    assert set(summarise(loop_report(rows=800))) == documented
