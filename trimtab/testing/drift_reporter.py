"""What every `DriftReporter` must do: subclass the suite and give it a `reporter` fixture."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.errors import BadInput
from trimtab.monitoring.drift import PREDICTION
from trimtab.ports import DriftReporter
from trimtab.testing.shop import shop_sessions, shop_spec

SPEC = shop_spec()
# What a browser would fetch: scripts, style sheets, images and frames with an address.
_FETCHED = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)\s*=\s*["']?(?:https?:)?//""", re.IGNORECASE)


def _sessions(seed: int, rows: int, *, shift: float = 0.0) -> pd.DataFrame:
    return shop_sessions(np.random.default_rng(seed), SPEC, rows=rows, shift=shift)


class DriftReporterContract:
    """The suite."""

    def test_finds_the_column_that_drifted_and_no_other(self, reporter: DriftReporter, tmp_path: Path) -> None:
        """The most drifted column comes first."""
        report = reporter.compare(_sessions(1, 3_000), _sessions(2, 3_000, shift=0.7), SPEC, page=tmp_path / "p.html")
        assert [column.column for column in report.drifted] == ["lcp_ms"]
        assert report.columns[0].column == "lcp_ms"
        assert {column.column for column in report.columns} == {"lcp_ms", "api_ms", "device"}
        assert (report.reference_rows, report.current_rows) == (3_000, 3_000)

    @pytest.mark.parametrize("rows", [700, 999, 1_001, 8_000])
    def test_does_not_change_its_mind_with_the_sample_size(
        self, reporter: DriftReporter, tmp_path: Path, rows: int
    ) -> None:
        """Tests that switch at 1,000 rows, and p-values at any, would."""
        drifted = reporter.compare(_sessions(3, rows), _sessions(4, rows, shift=0.5), SPEC, page=tmp_path / "p.html")
        same = reporter.compare(_sessions(3, rows), _sessions(4, rows), SPEC, page=tmp_path / "p.html")
        assert [column.column for column in drifted.drifted] == ["lcp_ms"]
        assert same.drifted == ()
        assert drifted.columns[0].score == pytest.approx(0.5, abs=0.15)

    def test_sees_categories_and_what_goes_missing_from_them(self, reporter: DriftReporter, tmp_path: Path) -> None:
        """A missing category is one more category."""
        current = _sessions(6, 2_000)
        current.loc[:600, "device"] = None
        report = reporter.compare(_sessions(5, 2_000), current, SPEC, page=tmp_path / "p.html")
        assert [column.column for column in report.drifted] == ["device"]

    def test_compares_answers_where_both_sides_have_them(self, reporter: DriftReporter, tmp_path: Path) -> None:
        """Prediction drift."""
        reference, current = _sessions(7, 1_000), _sessions(8, 1_000)
        reference[PREDICTION] = np.linspace(0.0, 0.5, 1_000)
        current[PREDICTION] = np.linspace(0.2, 0.9, 1_000)
        report = reporter.compare(reference, current, SPEC, page=tmp_path / "p.html")
        assert [column.column for column in report.drifted] == [PREDICTION]

    def test_survives_columns_that_are_gone_empty_or_constant(self, reporter: DriftReporter, tmp_path: Path) -> None:
        """They are somebody else's finding, and no reason to fail."""
        current = _sessions(9, 500).assign(lcp_ms=np.nan, api_ms=1.0).drop(columns="device")
        report = reporter.compare(_sessions(10, 500), current, SPEC, page=tmp_path / "p.html")
        assert {column.column for column in report.columns} == {"api_ms"}

    def test_writes_one_page_that_needs_no_network(self, reporter: DriftReporter, tmp_path: Path) -> None:
        """Of a size that a browser opens at once."""
        page = tmp_path / "reports" / "drift.html"
        report = reporter.compare(_sessions(11, 500), _sessions(12, 500), SPEC, page=page)
        html = page.read_text(encoding="utf-8")
        assert report.page == str(page)
        assert "lcp_ms" in html
        assert _FETCHED.search(html) is None
        assert len(html) < 8_000_000

    def test_needs_some_rows(self, reporter: DriftReporter, tmp_path: Path) -> None:
        """A handful says nothing."""
        with pytest.raises(BadInput, match="rows"):
            reporter.compare(_sessions(13, 500), _sessions(14, 5), SPEC, page=tmp_path / "p.html")
