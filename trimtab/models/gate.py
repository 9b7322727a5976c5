"""The quality gate: whether an evaluated model may stand for promotion.

Test rows are a sample, so each check fails only for what chance does not explain; how that is held depends on what is
asked. The base rate must be beaten beyond doubt. Against another model the paired interval decides, which is narrow
even for a few hundred rows. The calibration error is never 0 in a sample, so it is held against what a perfectly
calibrated model would show on as many rows. Segments are many, so each is given its share of the error rate.
"""

import math
from dataclasses import dataclass

from scipy.special import ndtri

from trimtab.models.evaluate import CONFIDENCE, Evaluation, ReliabilityBin, SegmentEvaluation

# Of what chance shows: a calibrated model fails once in about 40 times, and so does one whose segments are all alike.
_CHANCE_DEVIATIONS = 2.0
_SEGMENT_ALPHA = 0.025


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the gate draws its lines.

    Attributes:
        must_beat: Baseline whose log loss the model must be below, with its whole interval.
        not_behind: Baselines that the model must not be behind in log loss, with its whole interval.
        calibration_error: Largest calibration error, where chance alone does not show as much.
        segment_auc_shortfall: How far the AUC within a segment may lie below the AUC of all rows, where chance alone
            does not show as much.
    """

    must_beat: str = "constant"
    not_behind: tuple[str, ...] = ("logistic",)
    calibration_error: float = 0.02
    segment_auc_shortfall: float = 0.10


@dataclass(frozen=True, slots=True)
class Check:
    """One question that the gate asks.

    Attributes:
        name: What is asked.
        passed: The answer.
        actual: The number that decided.
        threshold: What it was held against.
        reason: The answer in words, with the numbers.
    """

    name: str
    passed: bool
    actual: float
    threshold: float
    reason: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate's answer.

    Attributes:
        passed: Whether every check passed.
        checks: All checks.
        reasons: Why not: the reasons of the checks that failed.
    """

    passed: bool
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]


def judge(evaluation: Evaluation, limits: Limits | None = None) -> Gate:
    """Hold an evaluation against the gate's limits.

    Args:
        evaluation: The model on rows that nothing was chosen by.
        limits: Where the lines are.
    """
    limits = limits or Limits()
    checks = (
        _beats(evaluation, limits.must_beat),
        *(_not_behind(evaluation, name) for name in limits.not_behind if name in evaluation.log_loss_gap),
        _calibrated(evaluation, limits.calibration_error),
        _segments(evaluation, limits.segment_auc_shortfall),
    )
    return Gate(
        passed=all(check.passed for check in checks),
        checks=checks,
        reasons=tuple(check.reason for check in checks if not check.passed),
    )


def _beats(evaluation: Evaluation, baseline: str) -> Check:
    name = f"better_than_{baseline}"
    gap = evaluation.log_loss_gap.get(baseline)
    if gap is None:
        return Check(name, False, float("nan"), 0.0, f"it was not held against the baseline '{baseline}'.")
    passed = gap.high < 0
    words = "below" if passed else "not clearly below"
    reason = f"log loss is {words} the baseline '{baseline}': {gap.estimate:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]."
    return Check(name, passed, gap.high, 0.0, reason)


def _not_behind(evaluation: Evaluation, baseline: str) -> Check:
    gap = evaluation.log_loss_gap[baseline]
    passed = gap.low <= 0
    words = "behind" if not passed else "not behind" if gap.estimate <= 0 else "not clearly behind"
    reason = f"log loss is {words} the baseline '{baseline}': {gap.estimate:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]."
    return Check(f"not_behind_{baseline}", passed, gap.low, 0.0, reason)


def _calibrated(evaluation: Evaluation, largest: float) -> Check:
    error = evaluation.metrics["calibration_error"]
    chance = chance_calibration_error(evaluation.reliability)
    limit = max(largest, chance)
    passed = error.estimate <= limit
    drawn = f"the {limit:.4f} that chance may show on {evaluation.rows} rows" if chance > largest else f"{largest:g}"
    reason = f"calibration error is {error.estimate:.4f}, {'not above' if passed else 'above'} {drawn}."
    return Check("calibrated", passed, error.estimate, limit, reason)


def chance_calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """The calibration error that a perfectly calibrated model stays below, but for once in about 40 test sets.

    In each bin the gap between the observed share and the prediction p is then nearly normal with mean 0 and variance
    p (1 - p) / rows, and the calibration error is the mean of the gaps' sizes, weighted by rows. Its standard deviation
    is added twice. Rows are taken as independent. The idea is that of consistency bars (Broecker and Smith, "Increasing
    the Reliability of Reliability Diagrams", Weather and Forecasting, 2007).

    Args:
        bins: The reliability diagram's bins.
    """
    rows = sum(part.rows for part in bins)
    mean = variance = 0.0
    for part in bins:
        share = part.rows / rows
        spread = share**2 * part.predicted * (1 - part.predicted) / part.rows
        mean += math.sqrt(spread * 2 / math.pi)
        variance += spread * (1 - 2 / math.pi)
    return mean + _CHANCE_DEVIATIONS * math.sqrt(variance)


def _segments(evaluation: Evaluation, largest: float) -> Check:
    """The segment that is furthest beyond what it may lack decides."""
    overall = evaluation.metrics["auc"].estimate
    judged = [segment for segment in evaluation.segments if "auc" in segment.metrics]
    if not judged:
        return Check("segments", True, 0.0, largest, "no segment has rows enough to be judged.")
    deviations = float(ndtri(1 - _SEGMENT_ALPHA / len(judged)))

    def shortfall(segment: SegmentEvaluation) -> float:
        return overall - segment.metrics["auc"].estimate

    def allowed(segment: SegmentEvaluation) -> float:
        return max(largest, deviations * _standard_error(segment))

    worst = max(judged, key=lambda segment: shortfall(segment) - allowed(segment))
    passed = shortfall(worst) <= allowed(worst)
    auc = worst.metrics["auc"]
    reason = (
        f"{'no segment is' if passed else 'a segment is'} far behind: the AUC is {overall:.3f}, and for "
        f"{worst.attribute} = {worst.value or 'missing'} ({worst.rows} rows) {auc.estimate:.3f} "
        f"[{auc.low:.3f}, {auc.high:.3f}]; it may be {allowed(worst):.3f} below."
    )
    return Check("segments", passed, shortfall(worst), allowed(worst), reason)


def _standard_error(segment: SegmentEvaluation) -> float:
    """Of the AUC, from the width of its interval."""
    auc = segment.metrics["auc"]
    return (auc.high - auc.low) / (2 * float(ndtri((1 + CONFIDENCE) / 2)))
