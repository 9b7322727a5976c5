from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.experiments.integration import crossing
from trimtab.experiments.sequential import SequentialDesign, analyse
from trimtab.experiments.spending import Spending

LOOKS = st.lists(st.integers(1, 200), min_size=1, max_size=12, unique=True).map(sorted)
SPENDING = st.builds(Spending, st.sampled_from(["obrien_fleming", "pocock", "power"]), st.floats(0.5, 4))


@given(LOOKS, SPENDING, st.floats(0.001, 0.2), st.booleans())
@settings(deadline=None, max_examples=60)
def test_any_looks_keep_alpha(looks: list[int], spending: Spending, alpha: float, one_sided: bool) -> None:
    design = SequentialDesign(
        looks[-1], alpha=alpha, spending=spending, alternative="greater" if one_sided else "two-sided"
    )
    upper = [look.bound for look in design.looks(looks)]
    lower = [-inf if one_sided else -bound for bound in upper]
    assert crossing(looks, lower, upper).total == pytest.approx(alpha, abs=1e-7)


@given(LOOKS, st.floats(0.1, 10))
@settings(deadline=None, max_examples=40)
def test_bounds_do_not_depend_on_the_unit_of_information(looks: list[int], scale: float) -> None:
    one = SequentialDesign(200).looks(looks)
    other = SequentialDesign(200 * scale).looks([look * scale for look in looks])
    assert [look.bound for look in one] == pytest.approx([look.bound for look in other], rel=1e-6)


@given(st.lists(st.floats(-4, 4), min_size=3, max_size=3), st.sampled_from(["two-sided", "greater", "less"]))
@settings(deadline=None, max_examples=60)
def test_a_stopped_test_has_an_ordered_interval_that_agrees_with_its_p_value(z: list[float], side: str) -> None:
    design = SequentialDesign(3, alternative=side)  # type: ignore[arg-type]
    result = analyse(design, [1, 2, 3], z, standard_error=0.5)
    assert result.stop
    assert result.low <= result.estimate <= result.high
    if side == "two-sided" and abs(result.p_value - 0.05) > 1e-6:
        assert (result.p_value < 0.05) == (result.low > 0 or result.high < 0)
        assert (result.p_value < 0.05) == result.crossed
