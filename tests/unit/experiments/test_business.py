import pytest

from trimtab.errors import BadInput
from trimtab.experiments.business import BusinessInputs, business_case, effect_of, revenue_effect
from trimtab.experiments.proportions import Proportion, compare_proportions
from trimtab.types import Interval

COMPARISON = compare_proportions(Proportion(3_762, 24_881), Proportion(4_120, 25_119))


def test_the_business_report() -> None:
    """11,000 users a day are 4.0 million a year, and the rates of 15.12% and 16.40% differ by 1.28 points."""
    users = round(11_000 * 365, -5)
    points = round(COMPARISON.absolute.estimate, 4)
    inputs = BusinessInputs(users, 75.0, one_off_cost=950_000)
    case = business_case(Interval(points, COMPARISON.absolute.low, COMPARISON.absolute.high), inputs)
    assert case.revenue.estimate == pytest.approx(3.84e6)
    assert case.net.estimate == pytest.approx(2.89e6)
    assert case.return_on_investment is not None
    assert case.return_on_investment.estimate == pytest.approx(3.04, abs=5e-3)
    assert case.payback_months == pytest.approx(3.0, abs=0.05)
    assert case.surely_positive


def test_without_rounding_the_report_comes_to_slightly_more() -> None:
    case = business_case(effect_of(COMPARISON), BusinessInputs(11_000 * 365, 75.0, one_off_cost=950_000))
    assert case.revenue.estimate == pytest.approx(3.860e6, abs=500)
    assert case.revenue.low == pytest.approx(4_015_000 * 75 * COMPARISON.absolute.low)


def test_what_never_pays_has_no_payback() -> None:
    case = business_case(Interval(-0.01, -0.02, 0.0), BusinessInputs(1e6, 10, yearly_cost=5.0))
    assert case.payback_months is None
    assert not case.surely_positive
    free = business_case(Interval(-0.01, -0.02, 0.0), BusinessInputs(1e6, 10))
    assert free.return_on_investment is None
    assert free.payback_months == 0.0


def test_both_the_rate_and_the_value_count() -> None:
    """Average order values of the report: 72.45 and 74.62."""
    gain = revenue_effect(3_762 / 24_881, 4_120 / 25_119, 72.45, 74.62)
    assert gain == pytest.approx(1.2847, abs=5e-4)


@pytest.mark.parametrize("figure", [-1.0, float("nan"), float("inf")])
def test_figures_must_be_numbers(figure: float) -> None:
    with pytest.raises(BadInput, match="must be finite and not negative"):
        BusinessInputs(figure, 1.0)
    with pytest.raises(BadInput, match="share at most 1"):
        BusinessInputs(1.0, 1.0, share=1.5)


def test_an_open_interval_is_no_business_case() -> None:
    with pytest.raises(BadInput, match="two-sided interval"):
        business_case(Interval(0.1, 0.05, float("inf")), BusinessInputs(1.0, 1.0))
