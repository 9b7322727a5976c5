import pytest

from trimtab.experiments.bayes import BetaPrior, compare_proportions_bayes
from trimtab.experiments.proportions import Proportion


def test_credible_interval_and_probability() -> None:
    result = compare_proportions_bayes(Proportion(42, 104), Proportion(500, 1009), prior=BetaPrior(0.5, 0.5))
    assert result.control.low == pytest.approx(0.3132419, abs=5e-8)
    assert result.control.high == pytest.approx(0.49971958, abs=5e-9)
    assert result.probability_better == pytest.approx(0.9629065, abs=5e-8)


def test_uniform_prior() -> None:
    result = compare_proportions_bayes(Proportion(49, 100), Proportion(51, 100))
    assert result.probability_better == pytest.approx(0.6107705, abs=5e-8)


def test_the_business_report_is_nearly_certain() -> None:
    result = compare_proportions_bayes(Proportion(3_762, 24_881), Proportion(4_120, 25_119))
    assert result.probability_better == pytest.approx(0.99996, abs=5e-6)
