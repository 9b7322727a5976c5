"""Do the treatment's predictions hold on its own users? Calibration in the large, from moments alone.

Each unit has a predicted probability p and an outcome y of 0 or 1. Where predictions hold, the mean of y - p is zero.
Its variance follows from the joint moments, Var(y) + Var(p) - 2 Cov(y, p), so no row leaves the engine. Estimand: the
expectation of y - p over the units of the arm that it answered itself, at the first such answer; those without a
prediction are left out. Assumes independent units.
"""

from math import sqrt

from scipy import special

from trimtab.experiments.cells import Request
from trimtab.experiments.criteria import Criterion
from trimtab.experiments.moments import Moments
from trimtab.rollout.plan import RolloutPlan

NAME = "guardrail calibration"
METRIC = "calibration"
PROBABILITY = "probability"  # Column of the event log.
LEAST_EVENTS = 10  # Of either outcome; with fewer the mean is not nearly normal.


def calibration_request(plan: RolloutPlan, *, source: str) -> Request | None:
    """The joint moments to read; None where calibration is no guardrail. Units without a prediction are left out.

    Args:
        plan: The plan.
        source: Name of the table's column that says whether the outcome happened.
    """
    if plan.predicted is None:
        return None
    column = plan.experiment.metrics[plan.predicted].column or ""
    return Request(METRIC, (column, PROBABILITY), missing="drop", sources={column: source})


def calibration_error(moments: Moments) -> tuple[float, float]:
    """Mean outcome less mean prediction, and its standard error.

    Args:
        moments: Joint moments of outcome and prediction, in this order.

    >>> both = Moments.of({"conversion": [0, 1, 1, 0], "probability": [0.2, 0.6, 0.8, 0.4]})
    >>> [round(number, 4) for number in calibration_error(both)]
    [0.0, 0.1826]
    """
    covariance = moments.covariance()
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return float(moments.mean[0] - moments.mean[1]), sqrt(max(variance, 0.0) / moments.n)


def calibration(moments: Moments | None, *, margin: float, good: float, bad: float) -> Criterion:
    """Is the mean prediction within the margin of what happened? Shown to be beyond it is a failure.

    Args:
        moments: The treatment's joint moments of outcome and prediction; None without data.
        margin: Tolerated absolute error.
        good: One-sided level at which an error within the margin is shown, on either side.
        bad: One-sided level at which an error beyond it is shown, on either side together.
    """
    asked = f"mean prediction off by less than {margin:.2%}"
    events = 0.0 if moments is None else moments.n * min(float(moments.mean[0]), 1 - float(moments.mean[0]))
    if moments is None or events < LEAST_EVENTS:
        reason = f"Fewer than {LEAST_EVENTS} units with a prediction converted, or did not, so it cannot be judged."
        return Criterion(NAME, asked, "too few data", "open", reason)
    error, deviation = calibration_error(moments)
    off = abs(error)
    least, most = (
        off + float(special.ndtri(bad / 2)) * deviation,
        off - float(special.ndtri(good)) * deviation,
    )
    actual = f"{moments.mean[0]:.2%} converted, {moments.mean[1]:.2%} predicted"
    if least > margin:
        return Criterion(NAME, asked, actual, "fail", f"Predictions of the treatment do not hold: {actual}.")
    if most < margin:
        return Criterion(NAME, asked, actual, "pass", f"Predictions of the treatment hold: {actual}.")
    return Criterion(NAME, asked, actual, "open", f"The mean prediction may be off by {most:.2%}: {actual}.")
