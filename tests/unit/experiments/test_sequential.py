from math import inf

import pytest
from scipy import stats

from trimtab.errors import BadInput
from trimtab.experiments.integration import crossing
from trimtab.experiments.sequential import SequentialDesign, analyse, peeking_error, sequential_power
from trimtab.experiments.spending import Spending

DESIGN = SequentialDesign(planned=100)


def test_one_look_is_the_fixed_test() -> None:
    result = analyse(DESIGN, [100], [2.2], standard_error=0.5)
    assert result.look.bound == pytest.approx(stats.norm.isf(0.025))
    assert result.p_value == pytest.approx(2 * stats.norm.sf(2.2))
    assert result.estimate == pytest.approx(1.1)
    assert (result.low, result.high) == pytest.approx((1.1 - 0.5 * 1.959964, 1.1 + 0.5 * 1.959964))


def test_overrunning_spends_what_is_left_and_keeps_alpha() -> None:
    looks = DESIGN.looks([30, 60, 130])
    assert looks[-1].spent == 0.05
    bounds = [look.bound for look in looks]
    total = crossing([0.3, 0.6, 1.3], [-bound for bound in bounds], bounds).total
    assert total == pytest.approx(0.05, abs=1e-9)
    with pytest.raises(BadInput, match="where all of alpha was spent"):
        DESIGN.looks([30, 100, 130])


def test_stopping_short_spends_what_is_left() -> None:
    looks = DESIGN.looks([30, 60], final=True)
    bounds = [look.bound for look in looks]
    assert crossing([0.3, 0.6], [-bound for bound in bounds], bounds).total == pytest.approx(0.05, abs=1e-9)
    assert analyse(DESIGN, [30, 60], [0.1, 0.2], standard_error=1, final=True).stop


@pytest.mark.parametrize("spending", [Spending("obrien_fleming"), Spending("pocock"), Spending("power", 3)])
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_alpha_is_kept_over_a_hundred_uneven_looks(spending: Spending, alternative: str) -> None:
    information = [place + 0.3 * (place % 3 == 0) for place in range(1, 100)] + [100]
    looks = SequentialDesign(100, spending=spending, alternative=alternative).looks(information)  # type: ignore[arg-type]
    upper = [look.bound for look in looks]
    lower = [-bound if alternative == "two-sided" else -inf for bound in upper]
    assert crossing(information, lower, upper).total == pytest.approx(0.05, abs=1e-8)


def test_mirrored_data_mirror_the_result() -> None:
    up = analyse(DESIGN, [50, 100], [1.0, 2.5], standard_error=0.2)
    down = analyse(DESIGN, [50, 100], [-1.0, -2.5], standard_error=0.2)
    assert (down.estimate, down.low, down.high) == pytest.approx((-up.estimate, -up.high, -up.low), abs=1e-8)
    greater = analyse(SequentialDesign(100, alternative="greater"), [50, 100], [1.0, 2.5], standard_error=0.2)
    less = analyse(SequentialDesign(100, alternative="less"), [50, 100], [-1.0, -2.5], standard_error=0.2)
    assert (less.estimate, less.low, less.high) == pytest.approx((-greater.estimate, -greater.high, -greater.low))
    assert less.p_value == pytest.approx(greater.p_value)
    assert less.crossed
    assert not analyse(SequentialDesign(100, alternative="less"), [50, 100], [1.0, 2.5], standard_error=0.2).crossed


def test_an_early_stop_shrinks_the_estimate() -> None:
    result = analyse(DESIGN, [50, 75], [2.0, 2.6], standard_error=1.0)
    assert result.crossed
    assert result.estimate < 2.6
    assert result.p_value < 0.05
    assert result.low > 0
    assert "at look 2, with 75%" in result.reason


def test_a_later_look_does_not_undo_a_crossing() -> None:
    result = analyse(DESIGN, [50, 75], [3.5, 1.0], standard_error=1.0)
    assert result.crossed
    assert "at look 1" in result.reason


def test_the_result_belongs_to_the_look_where_the_test_ended() -> None:
    then = analyse(DESIGN, [50], [3.5], standard_error=1.0)
    later = analyse(DESIGN, [50, 75], [3.5, 1.0], standard_error=(50 / 75) ** 0.5)
    assert (later.estimate, later.low, later.high, later.p_value) == pytest.approx(
        (then.estimate, then.low, then.high, then.p_value), abs=1e-8
    )


def test_going_on_is_explained() -> None:
    result = analyse(DESIGN, [25], [2.5], standard_error=1.0)
    assert not result.stop
    assert result.p_value == 1.0
    assert result.reason == (
        "Go on: Z = 2.50 has not reached 4.33 at 25% of the planned information; 0% of alpha is spent."
    )
    assert result.repeated_low < 0 < result.repeated_high


def test_power_and_inflation() -> None:
    fixed = sequential_power(DESIGN, [1.0], power=0.9)
    assert fixed.inflation == pytest.approx(1.0, abs=1e-6)
    several = sequential_power(DESIGN, [0.2, 0.4, 0.6, 0.8, 1.0], power=0.9)

    assert 1.02 < several.inflation < 1.03
    assert sum(several.crossings) == pytest.approx(1.0)
    assert several.expected_fraction < 0.8


def test_futility_saves_time_and_costs_power_not_alpha() -> None:
    design = SequentialDesign(1.0, alpha=0.025, alternative="greater")
    plain = sequential_power(design, [0.5, 1.0])
    early = sequential_power(design, [0.5, 1.0], futility=Spending())
    assert early.inflation > plain.inflation
    assert early.futility[0] < early.futility[1]
    upper = [look.bound for look in design.looks([0.5, 1.0])]
    reached = crossing([0.5, 1.0], early.futility, upper, drift=early.drift)
    assert sum(reached.upper) == pytest.approx(0.8, abs=1e-8)
    assert sum(reached.lower) == pytest.approx(0.2, abs=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DESIGN.looks([]), "no looks"),
        (lambda: DESIGN.looks([20, 10]), "must be finite, positive and increasing"),
        (lambda: DESIGN.looks([0, 10]), "must be finite, positive and increasing"),
        (lambda: DESIGN.looks([10, float("nan")]), "must be finite, positive and increasing"),
        (lambda: SequentialDesign(0), "planned information is 0"),
        (lambda: SequentialDesign(1, alpha=1.5), "alpha is 1.5"),
        (lambda: Spending("power", -1), "exponent is -1"),
        (lambda: analyse(DESIGN, [10, 20], [1.0], standard_error=1), "2 looks and 1 statistics"),
        (lambda: analyse(DESIGN, [10], [float("nan")], standard_error=1), "must be finite"),
        (lambda: peeking_error(0), "0 looks"),
        (lambda: sequential_power(DESIGN, [0.5]), "the last must be at 1"),
        (lambda: sequential_power(DESIGN, [1.0], power=1.0), "power is 1.0"),
        (lambda: crossing([1.0], [], [1.0]), "0 lower and 1 upper"),
    ],
)
def test_wrong_input_is_named(call: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("power", [0.06, 0.5, 0.99])
@pytest.mark.parametrize("spending", [Spending("pocock"), Spending("power", 0.5)])
def test_any_power_can_be_designed(power: float, spending: Spending) -> None:
    design = SequentialDesign(1.0, spending=spending)
    times = [place / 20 for place in range(1, 21)]
    plan = sequential_power(design, times, power=power)
    upper = [look.bound for look in design.looks(times)]
    assert sum(crossing(times, [-bound for bound in upper], upper, drift=plan.drift).upper) == pytest.approx(power)
