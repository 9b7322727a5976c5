"""The quality gate: whether an evaluated model may stand for promotion.

A check fails only where the test rows show a defect beyond doubt, i.e. where the whole confidence interval is on the
wrong side. The one exception is the base rate: a model must beat it beyond doubt.
"""

from dataclasses import dataclass

from trimtab.models.evaluate import Evaluation, SegmentEvaluation


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the gate draws its lines.

    Attributes:
        must_beat: Baseline whose log loss the model must be below, with its whole interval.
        not_behind: Baselines that the model must not be behind in log loss, with its whole interval.
        calibration_error: Largest calibration error.
        segment_auc_shortfall: How far the AUC within a segment may lie below the AUC of all rows.
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
    words = "not behind" if passed else "behind"
    reason = f"log loss is {words} the baseline '{baseline}': {gap.estimate:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]."
    return Check(f"not_behind_{baseline}", passed, gap.low, 0.0, reason)


def _calibrated(evaluation: Evaluation, largest: float) -> Check:
    error = evaluation.metrics["calibration_error"]
    passed = error.low <= largest
    reason = (
        f"calibration error is {error.estimate:.4f} [{error.low:.4f}, {error.high:.4f}]; "
        f"{'not clearly' if passed else 'clearly'} above the limit of {largest:g}."
    )
    return Check("calibrated", passed, error.low, largest, reason)


def _segments(evaluation: Evaluation, largest: float) -> Check:
    """The worst judged segment decides."""
    overall = evaluation.metrics["auc"].estimate
    judged = [segment for segment in evaluation.segments if "auc" in segment.metrics]
    if not judged:
        return Check("segments", True, 0.0, largest, "no segment has rows enough to be judged.")

    def shortfall(segment: SegmentEvaluation) -> float:
        return overall - segment.metrics["auc"].high

    worst = max(judged, key=shortfall)
    passed = shortfall(worst) <= largest
    auc = worst.metrics["auc"]
    reason = (
        f"{'no segment is' if passed else 'a segment is'} far behind: the AUC is {overall:.3f}, and for "
        f"{worst.attribute} = {worst.value or 'missing'} ({worst.rows} rows) {auc.estimate:.3f} "
        f"[{auc.low:.3f}, {auc.high:.3f}]."
    )
    return Check("segments", passed, shortfall(worst), largest, reason)
