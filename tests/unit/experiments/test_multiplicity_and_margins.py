import pytest

from trimtab.errors import BadInput
from trimtab.experiments.means import Measure, compare_means
from trimtab.experiments.moments import Moments
from trimtab.experiments.multiplicity import adjust, adjust_family
from trimtab.experiments.noninferiority import noninferior, noninferior_proportions
from trimtab.experiments.proportions import Proportion, compare_proportions


def test_an_empty_family_and_no_correction() -> None:
    assert adjust([]) == ()
    assert adjust([0.2, 0.1], method="none") == (0.2, 0.1)


def test_by_hand() -> None:
    p_values = [0.01, 0.04, 0.03, 0.005]
    assert adjust(p_values, method="holm") == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert adjust(p_values, method="benjamini_hochberg") == pytest.approx((0.02, 0.04, 0.04, 0.02))
    assert adjust(p_values, method="bonferroni") == pytest.approx((0.04, 0.16, 0.12, 0.02))


def test_a_family_keeps_its_names() -> None:
    family = {
        name: compare_proportions(Proportion(100, 1_000), Proportion(successes, 1_000))
        for name, successes in (("a", 130), ("b", 101))
    }
    adjusted = adjust_family(family, method="bonferroni")
    assert adjusted["a"].p_value_adjusted == pytest.approx(2 * family["a"].p_value)
    assert adjusted["b"].p_value_adjusted == 1.0


@pytest.mark.parametrize("p_value", [-0.1, 1.1, float("nan")])
def test_p_values_must_be_probabilities(p_value: float) -> None:
    with pytest.raises(BadInput, match="do not all lie"):
        adjust([0.5, p_value])


def latency(treatment: float, n: int = 4_000) -> tuple[Moments, Moments]:
    before, after = (Moments.of_summary("ms", n=n, mean=mean, variance=900.0) for mean in (100.0, treatment))
    return before, after


def test_a_lower_metric_may_rise_by_its_margin() -> None:
    comparison = compare_means(*latency(101.0), measure=Measure("ms"))
    safe = noninferior(comparison, margin=0.03, direction="lower")
    assert safe.shown
    assert safe.worst < 0.03
    tight = noninferior(comparison, margin=0.01, direction="lower")
    assert not tight.shown
    absolute = noninferior(comparison, margin=3.0, relative=False, direction="lower")
    assert absolute.statistic == pytest.approx(safe.statistic, rel=0.02)


def test_few_data_show_no_safety() -> None:
    comparison = compare_means(*latency(100.0, n=10), measure=Measure("ms"))
    assert not noninferior(comparison, margin=0.03, direction="lower").shown


@pytest.mark.parametrize("method", ["wald", "score"])
def test_directions_mirror_each_other(method: str) -> None:
    higher = noninferior_proportions(Proportion(900, 1_000), Proportion(890, 1_000), margin=0.05, method=method)  # type: ignore[arg-type]
    lower = noninferior_proportions(
        Proportion(100, 1_000), Proportion(110, 1_000), margin=0.05, direction="lower", method=method,  # type: ignore[arg-type]
    )  # fmt: skip
    assert lower.p_value == pytest.approx(higher.p_value)
    assert lower.worst == pytest.approx(higher.worst)
    assert higher.shown == (higher.worst < 0.05)


def test_wrong_input_is_named() -> None:
    comparison = compare_proportions(Proportion(0, 10), Proportion(1, 10))
    with pytest.raises(BadInput, match="no meaning where control's value is zero"):
        noninferior(comparison, margin=0.1)
    with pytest.raises(BadInput, match="margin is 0"):
        noninferior(comparison, margin=0.0, relative=False)
    with pytest.raises(BadInput, match="margin is 1"):
        noninferior_proportions(Proportion(0, 10), Proportion(1, 10), margin=1.0)
