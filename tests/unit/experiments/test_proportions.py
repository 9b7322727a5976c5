from math import inf

import orjson
import pytest
from pydantic import TypeAdapter

from trimtab.errors import BadInput
from trimtab.experiments.effects import Comparison
from trimtab.experiments.proportions import Proportion, ProportionMethod, compare_proportions, wilson_interval


def test_the_business_report() -> None:
    """The source prints +8.45%; its counts imply +8.48%."""
    result = compare_proportions(Proportion(3_762, 24_881), Proportion(4_120, 25_119))
    assert result.relative is not None
    assert result.relative.estimate == pytest.approx(0.0848, abs=5e-5)
    assert result.p_value < 1e-4


@pytest.mark.parametrize("method", ["newcombe", "score", "wald", "welch"])
@pytest.mark.parametrize("counts", [(0, 0), (0, 50), (50, 0), (100, 100), (100, 0), (0, 100), (1, 99)])
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("relative", ["log", "linear", "score"])
def test_no_count_gives_a_nan(
    method: ProportionMethod, counts: tuple[int, int], alternative: str, relative: str
) -> None:
    result = compare_proportions(
        Proportion(counts[0], 100),
        Proportion(counts[1], 100),
        method=method,
        alternative=alternative,  # type: ignore[arg-type]
        relative=relative,  # type: ignore[arg-type]
    )
    for effect in (result.absolute, result.relative):
        if effect is not None:
            assert effect.low <= effect.estimate + 1e-12
            assert effect.high >= effect.estimate - 1e-12
            assert 0 <= effect.p_value <= 1
            assert abs(effect.statistic) < inf
    assert (result.relative is None) == (counts[0] == 0)


def test_zero_conversions_in_both_arms_is_no_difference_with_an_honest_interval() -> None:
    result = compare_proportions(Proportion(0, 1_000), Proportion(0, 1_000))
    assert result.p_value == 1.0
    assert result.absolute.low < 0 < result.absolute.high
    assert "Neither arm varies" in result.note
    assert "no relative effect" in result.note


def test_one_unit_per_arm() -> None:
    result = compare_proportions(Proportion(0, 1), Proportion(1, 1))
    assert 0 < result.p_value < 1
    assert result.absolute.low < 0
    with pytest.raises(BadInput, match="a variance needs two"):
        compare_proportions(Proportion(0, 1), Proportion(1, 1), method="welch")


@pytest.mark.parametrize("counts", [(1, 0), (-1, 5), (6, 5), (float("nan"), 5), (1, float("inf"))])
def test_impossible_counts(counts: tuple[float, float]) -> None:
    with pytest.raises(BadInput, match="is not a proportion"):
        Proportion(counts[0], counts[1])  # type: ignore[arg-type]


def test_wrong_alpha() -> None:
    with pytest.raises(BadInput, match="alpha is 0"):
        compare_proportions(Proportion(1, 5), Proportion(1, 5), alpha=0)


def test_one_sided_intervals_are_open_and_survive_json() -> None:
    result = compare_proportions(Proportion(10, 100), Proportion(20, 100), alternative="greater")
    assert result.absolute.high == inf
    assert result.relative is not None
    assert result.relative.high == inf
    assert TypeAdapter(Comparison).validate_python(orjson.loads(orjson.dumps(result))) == result


@pytest.mark.parametrize("method", ["newcombe", "score", "wald"])
def test_one_sided_bound_is_the_two_sided_one_at_twice_alpha(method: ProportionMethod) -> None:
    counts = Proportion(10, 100), Proportion(20, 110)
    one = compare_proportions(*counts, method=method, alternative="greater", alpha=0.05)
    two = compare_proportions(*counts, method=method, alpha=0.10)
    assert one.absolute.low == pytest.approx(two.absolute.low)
    assert one.p_value == pytest.approx(two.p_value / 2)


def test_wilson_stays_within_the_unit_interval() -> None:
    assert wilson_interval(Proportion(0, 3))[0] == 0.0
    assert wilson_interval(Proportion(3, 3))[1] == 1.0
