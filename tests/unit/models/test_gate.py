from dataclasses import replace

import numpy as np
import pytest

from trimtab.models.evaluate import Confusion, Evaluation, ReliabilityBin, SegmentEvaluation
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


def _calibration(estimate: float, *, rows: int) -> Evaluation:
    error = Interval(estimate, 0.0, 0.2)
    reliability = tuple(ReliabilityBin(share, share, rows // 10) for share in np.linspace(0.05, 0.5, 10))
    return replace(GOOD, rows=rows, reliability=reliability, metrics={**GOOD.metrics, "calibration_error": error})


@pytest.mark.parametrize(
    ("estimate", "rows", "passed"),
    [
        (0.020, 100_000, True),
        (0.021, 100_000, False),
        (0.080, 300, True),  # a perfectly calibrated model shows as much on 300 rows
        (0.095, 300, False),
    ],
)
def test_calibration_fails_above_the_limit_and_above_what_chance_shows(
    estimate: float, rows: int, passed: bool
) -> None:
    gate = judge(_calibration(estimate, rows=rows))
    assert gate.passed is passed
    check = next(check for check in gate.checks if check.name == "calibrated")
    assert check.actual == estimate
    assert check.threshold == pytest.approx(0.02 if rows > 300 else 0.0896, abs=0.0001)


def test_a_gap_that_may_be_one_is_not_called_none() -> None:
    gate = judge(replace(GOOD, log_loss_gap={**GOOD.log_loss_gap, "logistic": Interval(0.1, -0.001, 0.2)}))
    assert "is not clearly behind the baseline" in gate.checks[1].reason
    assert "is not behind the baseline" in judge(GOOD).checks[1].reason


def test_the_worst_segment_decides_and_is_named() -> None:
    segments = (_segment("mobile", Interval(0.80, 0.76, 0.84)), _segment("tablet", Interval(0.60, 0.55, 0.65)))
    gate = judge(replace(GOOD, segments=segments))
    assert not gate.passed
    assert "device = tablet (500 rows) 0.600 [0.550, 0.650]" in gate.reasons[0]
    assert judge(replace(GOOD, segments=segments), Limits(segment_auc_shortfall=0.3)).passed


def test_a_segment_may_lack_what_chance_explains_among_so_many() -> None:
    doubtful = _segment("tablet", Interval(0.70, 0.57, 0.83))  # 2.26 standard errors below the AUC of all rows
    assert not judge(replace(GOOD, segments=(doubtful,))).passed
    others = tuple(_segment(f"other {number}", Interval(0.85, 0.72, 0.98)) for number in range(9))
    assert judge(replace(GOOD, segments=(doubtful, *others))).passed


def test_segments_that_nobody_could_judge_do_not_count() -> None:
    assert judge(replace(GOOD, segments=(_segment("tv", None),))).passed
