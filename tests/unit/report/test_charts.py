from dataclasses import replace
from xml.etree import ElementTree

import pytest

from trimtab.impact.study import KpiImpact
from trimtab.monitoring.drift import ColumnDrift
from trimtab.report import charts, words
from trimtab.report.loop import ImpactSection, ModelSection
from trimtab.testing.reports import loop_report


def _texts(drawn: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(drawn).iter("text")]


def _column(name: str, score: float = 0.3) -> ColumnDrift:
    return ColumnDrift(name, "wasserstein_normed", score, 0.1, score >= 0.1)


def _kpis() -> tuple[KpiImpact, ...]:
    impact = loop_report(rows=800).impact
    assert isinstance(impact, ImpactSection)
    return impact.study.kpis


def test_the_kpi_chart_shows_the_first_ones_with_their_effect() -> None:
    texts = _texts(charts.kpi_forest(_kpis(), {}))
    shown = [kpi.kpi for kpi in _kpis()[: words.MOST_KPIS]]
    assert [text for text in texts if text in shown] == shown
    assert words.percent(_kpis()[0].largest.population.relative.estimate, 2, signed=True) in texts
    assert any("8% better (%)" in text for text in texts)


def test_the_truth_is_marked_where_it_is_known() -> None:
    first = _kpis()[0].kpi
    assert "var(--accent)" not in charts.kpi_forest(_kpis(), {})
    assert "var(--accent)" in charts.kpi_forest(_kpis(), {first: 0.01})


def test_a_constant_baseline_does_not_stretch_the_model_chart() -> None:
    model = loop_report(rows=800).model
    assert isinstance(model, ModelSection)
    texts = _texts(charts.model_forest(model))
    assert {"plr_mlp", "logistic", "lightgbm", "best possible"} <= set(texts)
    assert "constant" not in texts


def test_segments_too_small_to_judge_are_left_out() -> None:
    model = loop_report(rows=800).model
    assert isinstance(model, ModelSection)
    evaluation = model.evaluation
    first = replace(evaluation.segments[0], metrics={})
    texts = _texts(charts.segment_forest(replace(evaluation, segments=(first, *evaluation.segments[1:]))))
    assert f"{first.attribute}: {first.value}" not in texts


@pytest.mark.parametrize("name", ["<script>", "cost_$x^{$", "a & b", "größe_µs"])
def test_a_column_name_is_taken_literally(name: str) -> None:
    assert name in _texts(charts.drift_bars([_column(name)]))


def test_drift_is_shown_in_multiples_of_the_threshold() -> None:
    texts = _texts(charts.drift_bars([_column("lcp_ms", 0.34), _column("cls", 0.02)]))
    assert {"3.4×", "0.2×", "threshold"} <= set(texts)


def test_times_are_written_out() -> None:
    assert {"tune", "1 min 02 s", "Seconds"} <= set(_texts(charts.timing_bars({"tune": 61.7, "train": 0.0})))
