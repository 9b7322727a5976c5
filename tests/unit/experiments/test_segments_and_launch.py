import pytest

from trimtab.errors import BadInput
from trimtab.experiments.launch import RAMP, launch_plan
from trimtab.experiments.means import Measure, compare_means
from trimtab.experiments.moments import Moments
from trimtab.experiments.proportions import Proportion, compare_proportions
from trimtab.experiments.segments import analyse_segments, heterogeneity

# The business report: 24,881 and 25,119 users; shares 20%, 50% and 30%.
REPORT = {
    "power": compare_proportions(Proportion(1_407, 4_976), Proportion(1_617, 5_024)),
    "casual": compare_proportions(Proportion(1_830, 12_441), Proportion(2_012, 12_560)),
    "new": compare_proportions(Proportion(517, 7_464), Proportion(518, 7_535)),
}


def test_the_business_report_by_segment() -> None:
    analysis = analyse_segments(REPORT)
    claims = {effect.segment: effect.claim for effect in analysis.effects}
    assert claims == {"power": "better", "casual": "better", "new": "none"}
    assert all(
        effect.comparison.p_value_adjusted is not None
        and effect.comparison.p_value_adjusted >= effect.comparison.p_value
        for effect in analysis.effects
    )
    assert not analysis.differs
    assert "not shown to differ" in analysis.statement
    assert "better in power, casual" in analysis.statement


def test_q_is_that_of_the_formula() -> None:
    test = heterogeneity(REPORT, scale="absolute")
    assert test is not None
    effects = [item.absolute for item in REPORT.values()]
    weights = [item.standard_error**-2 for item in effects]
    mean = sum(w * item.estimate for w, item in zip(weights, effects, strict=True)) / sum(weights)
    expected = sum(w * (item.estimate - mean) ** 2 for w, item in zip(weights, effects, strict=True))
    assert test.statistic == pytest.approx(expected)
    assert test.degrees_of_freedom == 2
    assert test.pooled == pytest.approx(mean)


def test_opposite_effects_differ_and_are_launched_apart() -> None:
    opposite = {
        "mobile": compare_proportions(Proportion(1_000, 10_000), Proportion(1_300, 10_000)),
        "desktop": compare_proportions(Proportion(1_300, 10_000), Proportion(1_000, 10_000)),
        "tablet": compare_proportions(Proportion(100, 1_000), Proportion(101, 1_000)),
    }
    analysis = analyse_segments(opposite)
    assert analysis.differs
    assert analysis.statement.startswith("Effects differ between segments")
    plan = launch_plan("ship", analysis)
    assert [(phase.name, phase.segments) for phase in plan] == [
        ("proven", ("mobile",)), ("watched", ("tablet",)), ("excluded", ("desktop",)),
    ]  # fmt: skip
    assert plan[-1].shares == (0.0,)


def test_segments_without_information_are_left_out() -> None:
    empty = compare_proportions(Proportion(0, 10), Proportion(0, 10))
    analysis = analyse_segments({"empty": empty, "full": REPORT["power"]})
    assert analysis.heterogeneity is None
    assert "Too few segments" in analysis.statement
    flat = compare_means(Moments.of({"y": [1.0] * 3}), Moments.of({"y": [1.0] * 3}), Measure("y"))
    assert heterogeneity({"a": flat, "b": flat}, scale="absolute") is None
    with pytest.raises(BadInput, match="no segment"):
        analyse_segments({})


def test_a_lower_metric() -> None:
    analysis = analyse_segments({"power": REPORT["power"]}, direction="lower")
    assert analysis.effects[0].claim == "worse"


def test_launch_follows_the_verdict() -> None:
    assert launch_plan("hold") == ()
    assert launch_plan("roll_back", analyse_segments(REPORT)) == ()
    (phase,) = launch_plan("ship", analyse_segments(REPORT))
    assert (phase.segments, phase.shares) == ((), RAMP)
