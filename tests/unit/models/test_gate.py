from dataclasses import replace

import pytest

from trimtab.models.evaluate import Confusion, Evaluation, SegmentEvaluation
from trimtab.models.gate import Limits, judge
from trimtab.types import Interval


def _segment(value: str, auc: Interval | None) -> SegmentEvaluation:
    return SegmentEvaluation("device", value, 500, 100, {"auc": auc} if auc else {})


GOOD = Evaluation(
    model="plr_mlp",
    rows=2000,
    positives=300,
    threshold=0.2,
    metrics={
        "auc": Interval(0.85, 0.83, 0.87),
        "log_loss": Interval(0.30, 0.28, 0.32),
        "calibration_error": Interval(0.015, 0.0, 0.02),
    },
    baselines={},
    log_loss_gap={
        "constant": Interval(-0.10, -0.12, -0.08),
        "logistic": Interval(-0.02, -0.03, -0.01),
        "lightgbm": Interval(0.05, 0.04, 0.06),
    },
    winner="plr_mlp",
    segments=(_segment("mobile", Interval(0.80, 0.76, 0.84)), _segment("tv", None)),
    confusion=Confusion(1, 1, 1, 1),
    reliability=(),
    roc=(),
    resamples=200,
    confidence=0.95,
    resampled="unit",
)


def test_a_good_model_passes_every_check() -> None:
    gate = judge(GOOD)
    assert gate.passed
    assert gate.reasons == ()
    assert [check.name for check in gate.checks] == [
        "better_than_constant", "not_behind_logistic", "calibrated", "segments",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("baseline", "gap", "passed"),
    [
        ("constant", Interval(-0.1, -0.2, -0.001), True),
        ("constant", Interval(-0.1, -0.2, 0.0), False),  # not beyond doubt
        ("logistic", Interval(0.1, -0.001, 0.2), True),  # perhaps behind: not beyond doubt
        ("logistic", Interval(0.1, 0.001, 0.2), False),
    ],
)
def test_the_interval_decides_about_baselines(baseline: str, gap: Interval, passed: bool) -> None:
    gate = judge(replace(GOOD, log_loss_gap={**GOOD.log_loss_gap, baseline: gap}))
    assert gate.passed is passed
    assert all(f"'{baseline}'" in reason for reason in gate.reasons)


def test_a_model_that_was_never_held_against_the_base_rate_fails() -> None:
    gate = judge(replace(GOOD, log_loss_gap={}))
    assert not gate.passed
    assert "not held against" in gate.reasons[0]


@pytest.mark.parametrize(("low", "passed"), [(0.02, True), (0.021, False)])
def test_calibration_fails_where_the_whole_interval_is_above_the_limit(low: float, passed: bool) -> None:
    error = Interval(0.04, low, 0.06)
    gate = judge(replace(GOOD, metrics={**GOOD.metrics, "calibration_error": error}), Limits(calibration_error=0.02))
    assert gate.passed is passed
    check = next(check for check in gate.checks if check.name == "calibrated")
    assert (check.actual, check.threshold) == (low, 0.02)


def test_the_worst_segment_decides_and_is_named() -> None:
    segments = (_segment("mobile", Interval(0.80, 0.76, 0.84)), _segment("tablet", Interval(0.60, 0.50, 0.70)))
    gate = judge(replace(GOOD, segments=segments))
    assert not gate.passed
    assert "device = tablet (500 rows) 0.600 [0.500, 0.700]" in gate.reasons[0]
    assert judge(replace(GOOD, segments=segments), Limits(segment_auc_shortfall=0.2)).passed


def test_segments_that_nobody_could_judge_do_not_count() -> None:
    assert judge(replace(GOOD, segments=(_segment("tv", None),))).passed
