import pytest
from scipy import stats

from trimtab.experiments.health import sample_ratio

EVEN = {"a": 0.5, "b": 0.5}


@pytest.mark.parametrize(
    ("a", "b", "statistic", "p_value"),
    [(600, 400, 40.0, 2.54e-10), (44_000, 45_000, 11.2360, 8.0228e-4), (821_588, 815_482, 22.7744, 1.8218e-6)],
)
def test_sample_ratio_vectors(a: int, b: int, statistic: float, p_value: float) -> None:
    result = sample_ratio({"a": a, "b": b}, EVEN)
    assert result.statistic == pytest.approx(statistic, abs=5e-5)
    assert result.p_value == pytest.approx(p_value, rel=2e-4 if a != 600 else 2e-3)
    assert result.mismatch
    assert result.p_value == pytest.approx(stats.chisquare([a, b]).pvalue, rel=1e-9)


def test_an_arm_without_weight_costs_no_degree_of_freedom() -> None:
    result = sample_ratio({"a": 560, "b": 440, "c": 0}, {**EVEN, "c": 0.0})
    assert result.p_value == pytest.approx(1.48e-4, abs=5e-7)
    assert result.degrees_of_freedom == 1


def test_the_business_report() -> None:
    """The source prints .584; its counts imply .287."""
    assert sample_ratio({"a": 24_881, "b": 25_119}, EVEN).p_value == pytest.approx(0.287, abs=5e-4)
