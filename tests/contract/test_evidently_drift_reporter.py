"""Evidently satisfies the drift reporter's contract."""

from pathlib import Path

import numpy as np
import pytest

from trimtab.adapters.evidently import EvidentlyDriftReporter
from trimtab.testing.drift_reporter import SPEC, DriftReporterContract
from trimtab.testing.shop import shop_sessions


class TestEvidently(DriftReporterContract):
    @pytest.fixture
    def reporter(self) -> EvidentlyDriftReporter:
        return EvidentlyDriftReporter()


def test_samples_and_is_reproducible(tmp_path: Path) -> None:
    reference = shop_sessions(np.random.default_rng(1), SPEC, rows=4_000)
    current = shop_sessions(np.random.default_rng(2), SPEC, rows=4_000, shift=0.3)
    few = EvidentlyDriftReporter(max_rows=400)
    first = few.compare(reference, current, SPEC, page=tmp_path / "p.html")
    again = few.compare(reference, current, SPEC, page=tmp_path / "p.html")
    whole = EvidentlyDriftReporter(max_rows=4_000).compare(reference, current, SPEC, page=tmp_path / "p.html")
    assert first == again
    assert first.columns != whole.columns
    assert (first.reference_rows, first.current_rows) == (4_000, 4_000)
