import pytest

from trimtab.experiments.power import MetricPlan, TestPlan, power_of, sample_size


@pytest.mark.parametrize(
    ("metric", "effect", "alpha", "total"),
    [
        (MetricPlan(10.0, 100.0), 0.3, 0.05, 39_906),
        (MetricPlan.of_proportion(0.34), 0.003, 0.05, 897_348),
        (MetricPlan.of_proportion(0.34), 0.003, 0.14, 630_710),
    ],
)
def test_gpower_totals(metric: MetricPlan, effect: float, alpha: float, total: int) -> None:
    assert sample_size(metric, effect, TestPlan(alpha=alpha, power=0.85)).total == pytest.approx(total, rel=5e-3)


def test_pooled_proportions() -> None:
    size = sample_size(MetricPlan.of_proportion(0.5), 0.25, TestPlan(power=0.9, null_variance="pooled"))
    assert size.exact / 2 == pytest.approx(76.707, abs=5e-4)


def test_t_test() -> None:
    assert power_of(MetricPlan(0.0, 1.0), 1.0, 40) == pytest.approx(0.86895, abs=5e-6)
