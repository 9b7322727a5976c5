"""Inference that stays valid however often and for however long anybody looks.

The price is power: at a sample size that could have been planned, a group-sequential test finds far more. So these are
for watching without an end: guardrails of a permanent rollout, alerts, experiments without a planned size.
"""

from dataclasses import dataclass
from math import exp, inf, isfinite, log, sqrt

from scipy import special

from trimtab.errors import BadInput
from trimtab.experiments.effects import Alternative, Effect, LowerBound, UpperBound, check_alpha, statistic_of


@dataclass(frozen=True, slots=True)
class AlwaysValid:
    """An effect with an interval and p-value that hold at all times together.

    Attributes:
        estimate: The effect.
        low: Lower bound of the confidence sequence.
        high: Upper bound of it.
        p_value: Always-valid p-value.
        reason: In words, whether one may stop.
    """

    estimate: float
    low: LowerBound
    high: UpperBound
    p_value: float
    reason: str


def confidence_sequence_multiplier(
    n: float, *, optimised_for: float, alpha: float = 0.05, alternative: Alternative = "two-sided"
) -> float:
    """Half-width of the asymptotic confidence sequence, in standard errors.

    I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas (2024), "Time-uniform central limit theory and
    asymptotic confidence sequences", Annals of Statistics 52: theorem 2.2 for two sides, and the appendices on
    one-sided sequences and on the rho that makes a sequence tightest at a given size. With s = n rho^2 it is
    sqrt(2 (s + 1) / s log(sqrt(s + 1) / alpha)), for one side with log(1 + sqrt(s + 1) / (2 alpha)).

    Args:
        n: Units so far, both arms together.
        optimised_for: Units at which the sequence is to be tightest; declared before the start.
        alpha: Probability that the sequence ever misses the effect.
        alternative: One side or two.

    Raises:
        BadInput: A size is not positive, or alpha lies outside (0, 1).

    >>> round(confidence_sequence_multiplier(1_000, optimised_for=5_000), 5)
    3.36389
    """
    check_alpha(alpha)
    if not (isfinite(n) and isfinite(optimised_for) and n > 0 and optimised_for > 0):
        raise BadInput(
            f"the confidence sequence has {n} units and is tuned for {optimised_for}; both must be positive."
        )
    spread = n * tuning(optimised_for, alpha, alternative)
    if alternative == "two-sided":
        return sqrt(2 * (spread + 1) / spread * log(sqrt(spread + 1) / alpha))
    return sqrt(2 * (spread + 1) / spread * log(1 + sqrt(spread + 1) / (2 * alpha)))


def tuning(optimised_for: float, alpha: float, alternative: Alternative) -> float:
    """Squared rho that minimises the half-width at a sample size, by the paper's closed approximation."""
    weight = -2 * log(alpha if alternative == "two-sided" else 2 * alpha)
    return (weight + log(weight + 1)) / optimised_for if weight > 0 else 1.0 / optimised_for


def confidence_sequence(
    effect: Effect, n: float, *, optimised_for: float, alpha: float = 0.05, alternative: Alternative = "two-sided"
) -> AlwaysValid:
    """The asymptotic confidence sequence of an effect whose estimate is a mean of independent contributions.

    Assumes that the effect's standard error is consistent and that enough units came before the first look for a normal
    approximation (a few hundred conversions): only from then on does it hold at all times.

    Args:
        effect: Estimate and standard error: `Comparison.absolute`, or `Comparison.relative` (a linear interval).
        n: Units so far, both arms together.
        optimised_for: Units at which the sequence is to be tightest.
        alpha: Probability that the sequence ever misses the effect.
        alternative: One side or two.
    """
    half = confidence_sequence_multiplier(n, optimised_for=optimised_for, alpha=alpha, alternative=alternative)
    half *= effect.standard_error
    low = -inf if alternative == "less" else effect.estimate - half
    high = inf if alternative == "greater" else effect.estimate + half
    p_value = _sequence_p_value(effect, n * tuning(optimised_for, alpha, alternative), alternative)
    return AlwaysValid(effect.estimate, low, high, p_value, _reason(low, high))


def _sequence_p_value(effect: Effect, spread: float, alternative: Alternative) -> float:
    """Smallest level whose sequence with the same rho leaves out zero."""
    z = statistic_of(effect.estimate, effect.standard_error)
    z = abs(z) if alternative == "two-sided" else -z if alternative == "less" else z
    if z <= 0:
        return 1.0
    exponent = min(z, 1e150) ** 2 * spread / (2 * (spread + 1))
    if alternative == "two-sided":
        return min(1.0, sqrt(spread + 1) * exp(-min(exponent, 700.0)))
    return min(1.0, sqrt(spread + 1) / (2 * max(special.expm1(min(exponent, 700.0)), 1e-300)))


def mixture_likelihood_ratio(difference: float, variance: float, *, mixing_variance: float) -> float:
    """Mixture sequential probability ratio of an effect against none, with a normal prior of the effect.

    R. Johari, P. Koomen, L. Pekelis and D. Walsh (2022), "Always valid inference: continuous monitoring of A/B tests",
    the mixture of normal data over a normal prior:
    sqrt(V / (V + tau^2)) exp(tau^2 d^2 / (2 V (V + tau^2))), with V the variance of the difference.

    Args:
        difference: Treatment minus control.
        variance: Variance of the difference.
        mixing_variance: tau^2, the prior variance of the effect; declared before the start.

    Raises:
        BadInput: A number is not finite, a variance is negative, or the mixing variance is not positive.

    >>> round(mixture_likelihood_ratio(0.1, 2 / 1_000, mixing_variance=0.01), 5)
    3.27872
    """
    if not all(map(isfinite, (difference, variance, mixing_variance))) or variance < 0 or mixing_variance <= 0:
        raise BadInput(f"mSPRT of difference {difference}, variance {variance}, mixing variance {mixing_variance}.")
    if variance == 0:
        return 1.0 if difference == 0 else exp(700.0)
    total = variance + mixing_variance
    exponent = mixing_variance * difference * difference / (2 * variance * total)
    return exp(min(0.5 * log(variance / total) + exponent, 700.0))


def msprt(effect: Effect, *, mixing_variance: float, alpha: float = 0.05) -> AlwaysValid:
    """Always-valid p-value, min(1, 1 / ratio), and interval of the two-sided mixture test.

    The p-value of one look; the smallest one so far is valid too.
    """
    check_alpha(alpha)
    variance = effect.standard_error**2
    ratio = mixture_likelihood_ratio(effect.estimate, variance, mixing_variance=mixing_variance)
    total = variance + mixing_variance
    half = 0.0
    if variance > 0:
        half = sqrt(2 * variance * total / mixing_variance * (0.5 * log(total / variance) - log(alpha)))
    low, high = effect.estimate - half, effect.estimate + half
    return AlwaysValid(effect.estimate, low, high, min(1.0, 1.0 / ratio), _reason(low, high))


def _reason(low: float, high: float) -> str:
    if low > 0 or high < 0:
        return "Stop at will: the confidence sequence leaves out zero, and it holds at all times together."
    return "No claim yet: the confidence sequence contains zero. Watching on costs nothing."
