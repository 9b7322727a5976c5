"""What money is said to be surely worth does not hang on which side the test asked about."""

import pytest

from trimtab.testing.experiment_reports import simulated_report

MONEY = {"units_per_year": 1_000_000, "value_per_conversion": 50}


def test_a_one_sided_test_has_the_same_interval_of_revenue() -> None:
    two, one = (
        simulated_report(business=MONEY, alternative=alternative, users=6_000).analysis.business["treatment"].revenue
        for alternative in ("two-sided", "one-sided")
    )
    assert one.estimate == pytest.approx(two.estimate)
    # Two-sided bounds are Newcombe's, which lean a little; a one-sided bound taken as it is would be 16% narrower.
    assert one.high - one.low == pytest.approx(two.high - two.low, rel=0.05)
