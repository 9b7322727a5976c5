"""Evidently satisfies the drift reporter's contract."""

from pathlib import Path

import numpy as np
import pandas as pd
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


def test_chance_is_no_drift_in_rare_values_or_among_many_categories(tmp_path: Path) -> None:
    def sessions(seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        whole = shop_sessions(rng, SPEC, rows=2_000)
        rare = whole["api_ms"].where(rng.random(2_000) < 0.05)
        return whole.assign(api_ms=rare, device=rng.integers(0, 300, 2_000).astype(str))

    reporter = EvidentlyDriftReporter()
    for seed in range(5):
        same = reporter.compare(sessions(2 * seed), sessions(2 * seed + 1), SPEC, page=tmp_path / "p.html")
        assert [column.column for column in same.drifted] == []
    moved = sessions(11)
    moved["device"] = moved["device"].str[:1]
    drifted = reporter.compare(sessions(10), moved, SPEC, page=tmp_path / "p.html")
    assert [column.column for column in drifted.drifted] == ["device"]
