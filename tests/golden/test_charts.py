"""The charts' README and schema, written from the comments of values.yaml. `make golden` writes them anew."""

import os
from pathlib import Path

import pytest

from tests.charts.document import written

CHARTS = Path(__file__).parents[2] / "charts"
UPDATE = bool(os.environ.get("TRIMTAB_UPDATE_GOLDEN"))


@pytest.mark.parametrize("chart", ["trimtab", "trimtab-crds"])
def test_readme_and_schema_are_those_of_the_values(chart: str) -> None:
    for path, text in written(CHARTS / chart).items():
        if UPDATE:
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"`make golden` writes {path.name} anew"
