"""Does the treatment's server do its work? Error rate and latency against control's, at any number of times.

The service is judged again and again, whenever the treatment has been asked a tenth more often. The k-th time takes
alpha / (k (k + 1)) of the error rate, which adds up to alpha however often that is (a union bound, so it holds whatever
the requests have to do with each other from one time to the next). At one time the requests are taken as independent.

Both intervals are recovered from those of the two arms (Newcombe 1998, "Interval estimation for the difference between
independent proportions: comparison of eleven methods", method 10; Zou and Donner 2008): a difference lies above
d - sqrt((d1 - l1)^2 + (u0 - d0)^2). For errors the arms' intervals are the exact ones of Clopper and Pearson (1934),
because failures are few; for latencies they are order statistics, on the logarithmic scale.
"""

from dataclasses import dataclass
from math import inf, isfinite, log, sqrt

from scipy import special

from trimtab.experiments.criteria import Criterion
from trimtab.rollout.plan import RolloutPlan
from trimtab.rollout.service import ServiceLevel

ERRORS, LATENCY = "guardrail error rate", "guardrail latency p99"
LEAST_REQUESTS = 20
GROWTH = 1.1  # Requests over those at the last time, before the service is judged again.
_REPORTED_Z = -float(special.ndtri(0.025))  # Of the interval that a service level holds.


@dataclass(frozen=True, slots=True)
class Levels:
    """One-sided levels of one judgement.

    Attributes:
        bad: At which harm is shown; 0 where it is not the time to judge it.
        good: At which safety is shown; 0 before the first look.
    """

    bad: float
    good: float


def due(requests: int, *, checked: int) -> bool:
    """Whether the service is to be judged again.

    Args:
        requests: Requests of the treatment so far.
        checked: Requests when it was last judged; 0 before.

    >>> due(19, checked=0), due(20, checked=0), due(21, checked=20), due(22, checked=20)
    (False, True, False, True)
    """
    return requests >= max(LEAST_REQUESTS, GROWTH * checked)


def level_of_check(plan: RolloutPlan, number: int) -> float:
    """One-sided level of one guardrail at the number-th judgement, from 1 on; all guardrails share the plan's alpha."""
    return plan.alpha / max(plan.guardrails, 1) / (number * (number + 1))


def service_criteria(
    plan: RolloutPlan, control: ServiceLevel | None, treatment: ServiceLevel | None, levels: Levels
) -> tuple[Criterion, ...]:
    """A line for each guardrail of the service: `fail` where harm is shown, `pass` where safety is.

    Args:
        plan: The plan.
        control: How control served its requests; None without any.
        treatment: How the treatment did, or its shadow.
        levels: Levels of this judgement.
    """
    lines = []
    if plan.service.error_rate is not None:
        lines.append(error_rate(control, treatment, margin=plan.service.error_rate.margin, levels=levels))
    if plan.service.latency_p99 is not None:
        lines.append(latency(control, treatment, margin=plan.service.latency_p99.margin, levels=levels))
    return tuple(lines)


def error_rate(
    control: ServiceLevel | None, treatment: ServiceLevel | None, *, margin: float, levels: Levels
) -> Criterion:
    """Does the treatment fail more often than control, by more than the margin?

    Args:
        control: Control's level.
        treatment: The treatment's.
        margin: Tolerated share of requests beyond control's.
        levels: Levels of this judgement.
    """
    asked = f"at most {margin:.2%} of requests more than control"
    if control is None or treatment is None or min(control.requests, treatment.requests) < LEAST_REQUESTS:
        return _silent(ERRORS, asked)
    rates = [level.failures / level.requests for level in (control, treatment)]
    least = _rate_difference(control, treatment, rates, levels.bad)[0]
    most = _rate_difference(control, treatment, rates, levels.good)[1]
    actual = f"{rates[1]:.2%} of requests failed, and {rates[0]:.2%} of control's"
    return _line(ERRORS, asked, actual, margin=margin, least=least, most=most)


def latency(
    control: ServiceLevel | None, treatment: ServiceLevel | None, *, margin: float, levels: Levels
) -> Criterion:
    """Do users wait longer, at the 99th percentile and relative to control, than the margin allows?

    The interval at a level is that of the service level, widened or narrowed on the logarithmic scale in proportion to
    the normal quantile. Where too few requests bound a percentile from above, nothing is shown.

    Args:
        control: Control's level.
        treatment: The treatment's.
        margin: Tolerated growth relative to control.
        levels: Levels of this judgement.
    """
    asked = f"at most {margin:.0%} longer than control"
    if control is None or treatment is None or min(control.requests, treatment.requests) < LEAST_REQUESTS:
        return _silent(LATENCY, asked)
    if not (control.latency_p99_ms > 0 and treatment.latency_p99_ms > 0):  # Unknown, too.
        return _silent(LATENCY, asked)
    ratio = log(treatment.latency_p99_ms / control.latency_p99_ms)
    least = ratio - sqrt(_reach(treatment, "low", levels.bad) ** 2 + _reach(control, "high", levels.bad) ** 2)
    most = ratio + sqrt(_reach(treatment, "high", levels.good) ** 2 + _reach(control, "low", levels.good) ** 2)
    actual = f"{treatment.latency_p99_ms:.1f} ms, and {control.latency_p99_ms:.1f} ms of control"
    return _line(LATENCY, asked, actual, margin=log(1 + margin), least=least, most=most)


def _rate_difference(
    control: ServiceLevel, treatment: ServiceLevel, rates: list[float], level: float
) -> tuple[float, float]:
    """Both one-sided bounds of the treatment's failure rate less control's; they are open where the level is 0."""
    if level <= 0:
        return -inf, inf
    low0, high0 = _exact(control.failures, control.requests, level)
    low1, high1 = _exact(treatment.failures, treatment.requests, level)
    difference = rates[1] - rates[0]
    return (
        difference - sqrt((rates[1] - low1) ** 2 + (high0 - rates[0]) ** 2),
        difference + sqrt((high1 - rates[1]) ** 2 + (rates[0] - low0) ** 2),
    )


def _exact(failures: int, requests: int, level: float) -> tuple[float, float]:
    """Clopper and Pearson's bounds of one rate, each one-sided at the level."""
    low = 0.0 if failures == 0 else float(special.betaincinv(failures, requests - failures + 1, level))
    high = 1.0 if failures == requests else 1.0 - float(special.betaincinv(requests - failures, failures + 1, level))
    return low, high


def _reach(level: ServiceLevel, side: str, alpha: float) -> float:
    """Logarithmic distance from the 99th percentile to its bound on one side; infinite where there is no bound."""
    end = level.latency_p99_low_ms if side == "low" else level.latency_p99_high_ms
    if alpha <= 0 or not (isfinite(end) and end > 0):
        return inf
    return abs(log(end / level.latency_p99_ms)) * -float(special.ndtri(alpha)) / _REPORTED_Z


def _line(name: str, asked: str, actual: str, *, margin: float, least: float, most: float) -> Criterion:
    what = name.removeprefix("guardrail ").capitalize()
    if least > margin:
        return Criterion(name, asked, actual, "fail", f"{what} is beyond its margin: {actual}.")
    if most < margin:
        return Criterion(name, asked, actual, "pass", f"{what} is within its margin: {actual}.")
    return Criterion(name, asked, actual, "open", f"{what} is not shown to be within its margin: {actual}.")


def _silent(name: str, asked: str) -> Criterion:
    what = name.removeprefix("guardrail ").capitalize()
    return Criterion(name, asked, "too few requests", "open", f"{what} has too few requests to judge.")
