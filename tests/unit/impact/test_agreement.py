import pytest
from scipy import stats

from trimtab.errors import BadInput
from trimtab.impact.agreement import rank_agreement


def _scores(*values: float) -> dict[str, float]:
    return {f"kpi_{index}": value for index, value in enumerate(values)}


def test_rho_agrees_with_scipy() -> None:
    predicted, truth = _scores(1, 3, 2, 5, 4, 7), _scores(1, 2, 3, 4, 6, 5)
    found = rank_agreement(predicted, truth).spearman
    expected = stats.spearmanr(list(predicted.values()), list(truth.values())).statistic
    assert found.estimate == pytest.approx(expected)
    assert found.low < found.estimate < found.high < 1


def test_the_interval_is_bonett_and_wrights() -> None:
    predicted = _scores(*range(1, 21))
    truth = _scores(*(value if value % 2 else 20 - value for value in range(1, 21)))
    found = rank_agreement(predicted, truth).spearman
    # By hand from eq. 8 of the paper with rho and n = 20.
    import math

    half = 1.959964 * math.sqrt((1 + found.estimate**2 / 2) / 17)
    assert found.low == pytest.approx(math.tanh(math.atanh(found.estimate) - half), abs=1e-6)
    assert found.high == pytest.approx(math.tanh(math.atanh(found.estimate) + half), abs=1e-6)


def test_only_common_kpis_count() -> None:
    truth = {**_scores(1, 2, 3, 4, 5), "elsewhere": 9.0}
    found = rank_agreement({**_scores(1, 2, 3, 4, 5), "mine": 0.0}, truth)
    assert found.kpis == len(found.truth) == 5
    assert found.spearman.estimate == pytest.approx(1)


def test_words_claim_no_more_than_the_interval() -> None:
    close = rank_agreement(_scores(*range(30)), _scores(*range(30)))
    nothing = rank_agreement(_scores(1, 2, 3, 4, 5, 6), _scores(3, 6, 1, 5, 2, 4))
    assert "closely" in close.words
    assert "does not demonstrably follow" in nothing.words


def test_a_constant_side_has_no_correlation() -> None:
    assert rank_agreement(_scores(1, 1, 1, 1, 1), _scores(1, 2, 3, 4, 5)).spearman.estimate == 0


def test_too_few_kpis_are_refused() -> None:
    with pytest.raises(BadInput, match="2 KPIs have both"):
        rank_agreement(_scores(1, 2), _scores(1, 2))
