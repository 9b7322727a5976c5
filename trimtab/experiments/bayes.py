"""Bayesian comparison with declared priors: probability to be better, expected loss, credible intervals.

Rates have beta priors and binomial data; means have normal priors and, by the central limit theorem, a normal
likelihood of the sample mean. A prior is part of the design: it is declared before the start and reported with the
result. Posterior probabilities do not bound the error rate of somebody who stops as soon as he likes what he sees.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, isfinite, sqrt

import numpy as np
from scipy import optimize, special, stats

from trimtab.errors import BadInput
from trimtab.experiments.effects import ArmEstimate, Direction, check_alpha
from trimtab.experiments.moments import Floats
from trimtab.experiments.proportions import Proportion
from trimtab.types import Interval

_DEVIATES = np.arange(-8.0, 8.5)  # Panels of the quadrature end at these normal deviates of every arm's posterior.
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(16)


@dataclass(frozen=True, slots=True)
class BetaPrior:
    """Prior of a rate.

    Attributes:
        a: Prior successes; 1 with `b` 1 is the uniform prior, 0.5 with 0.5 Jeffreys'.
        b: Prior failures.
    """

    a: float = 1.0
    b: float = 1.0

    def __post_init__(self) -> None:
        if not (isfinite(self.a) and isfinite(self.b) and self.a > 0 and self.b > 0):
            raise BadInput(f"the beta prior has parameters {self.a} and {self.b}; both must be positive.")


@dataclass(frozen=True, slots=True)
class NormalPrior:
    """Prior of a mean.

    Attributes:
        mean: Prior mean, in the metric's unit.
        deviation: Prior standard deviation; infinity says nothing beforehand.
    """

    mean: float = 0.0
    deviation: float = float("inf")

    def __post_init__(self) -> None:
        if not isfinite(self.mean) or not self.deviation > 0:
            raise BadInput(f"the normal prior has mean {self.mean} and deviation {self.deviation}.")


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed about one arm's value.

    Attributes:
        kind: `beta` with parameters (a, b), or `normal` with (mean, deviation).
        first: a, or the mean.
        second: b, or the deviation.
    """

    kind: str
    first: float
    second: float

    @classmethod
    def of_proportion(cls, data: Proportion, prior: BetaPrior | None = None) -> "Posterior":
        """Posterior of a rate: Beta(a + successes, b + failures)."""
        prior = prior or BetaPrior()
        return cls("beta", prior.a + data.successes, prior.b + data.n - data.successes)

    @classmethod
    def of_mean(cls, data: ArmEstimate, prior: NormalPrior | None = None) -> "Posterior":
        """Posterior of a mean whose estimate is normal with known variance (precision-weighted average)."""
        prior = prior or NormalPrior()
        if data.variance == 0 or not isfinite(prior.deviation):
            return cls("normal", data.value, sqrt(data.variance))
        information, before = 1 / data.variance, 1 / prior.deviation**2
        total = information + before
        return cls("normal", (information * data.value + before * prior.mean) / total, sqrt(1 / total))

    @property
    def mean(self) -> float:
        """Posterior mean."""
        return self.first if self.kind == "normal" else self.first / (self.first + self.second)

    @property
    def deviation(self) -> float:
        """Posterior standard deviation."""
        if self.kind == "normal":
            return self.second
        total = self.first + self.second
        return sqrt(self.first * self.second / (total + 1)) / total

    def credible(self, alpha: float = 0.05) -> Interval:
        """Equal-tailed credible interval.

        >>> round(Posterior.of_proportion(Proportion(42, 104), BetaPrior(0.5, 0.5)).credible().low, 7)
        0.3132419
        """
        check_alpha(alpha)
        low, high = (float(value) for value in self.quantile(np.array([alpha / 2, 1 - alpha / 2])))
        return Interval(self.mean, low, high)

    def quantile(self, probability: Floats) -> Floats:
        """Values below which the arm's value lies with these probabilities."""
        if self.kind == "beta":
            return np.asarray(special.betaincinv(self.first, self.second, probability))
        return self.first + self.second * np.asarray(special.ndtri(probability))

    def cdf(self, values: Floats) -> Floats:
        """Probability that the arm's value lies below each value."""
        if self.kind == "beta":
            return np.asarray(special.betainc(self.first, self.second, np.clip(values, 0.0, 1.0)))
        if self.second == 0:
            return (values > self.first) + 0.5 * (values == self.first)
        return np.asarray(special.ndtr((values - self.first) / self.second))


@dataclass(frozen=True, slots=True)
class BayesianComparison:
    """One treatment against control.

    Attributes:
        probability_better: Posterior probability that the treatment is better.
        expected_loss: Expected amount, in the metric's unit, by which control is better if the treatment is chosen.
        expected_loss_control: The same if control is kept.
        difference: Posterior mean of treatment minus control, with its equal-tailed credible interval.
        relative: Posterior median of treatment over control minus one, with its interval; None where control's value
            may be zero or negative.
        control: Control's posterior mean and credible interval.
        treatment: The treatment's.
        prior: The declared priors, in words.
    """

    probability_better: float
    expected_loss: float
    expected_loss_control: float
    difference: Interval
    relative: Interval | None
    control: Interval
    treatment: Interval
    prior: str


def compare_proportions_bayes(
    control: Proportion,
    treatment: Proportion,
    *,
    prior: BetaPrior | None = None,
    alpha: float = 0.05,
    direction: Direction = "higher",
) -> BayesianComparison:
    """Beta-binomial comparison of two rates with the same prior. Exact: by quadrature, not by simulation.

    >>> a, b = Proportion(49, 100), Proportion(51, 100)
    >>> round(compare_proportions_bayes(a, b).probability_better, 7)
    0.6107705
    """
    prior = prior or BetaPrior()
    posteriors = Posterior.of_proportion(control, prior), Posterior.of_proportion(treatment, prior)
    return compare_posteriors(*posteriors, alpha=alpha, direction=direction, prior=f"Beta({prior.a:g}, {prior.b:g})")


def compare_means_bayes(
    control: ArmEstimate,
    treatment: ArmEstimate,
    *,
    prior: NormalPrior | None = None,
    alpha: float = 0.05,
    direction: Direction = "higher",
) -> BayesianComparison:
    """Normal comparison of two means, ratios or CUPED-adjusted estimates, with the same prior of each arm's value."""
    prior = prior or NormalPrior()
    posteriors = Posterior.of_mean(control, prior), Posterior.of_mean(treatment, prior)
    text = f"Normal({prior.mean:g}, {prior.deviation:g})" if isfinite(prior.deviation) else "flat"
    return compare_posteriors(*posteriors, alpha=alpha, direction=direction, prior=text)


def compare_posteriors(
    control: Posterior, treatment: Posterior, *, alpha: float, direction: Direction, prior: str
) -> BayesianComparison:
    """Compare two independent posteriors by quadrature."""
    check_alpha(alpha)
    nodes, weights = _quadrature(treatment, control)
    greater = float(np.clip(weights @ control.cdf(nodes), 0.0, 1.0))
    # E max(T - C, 0) and E max(C - T, 0) differ by E(T - C), so one integral gives both.
    gain = _expected_excess(control, treatment)
    gap = treatment.mean - control.mean
    loss = max(gain - gap, 0.0)
    if direction == "lower":
        greater, gain, loss = 1 - greater, loss, gain
    levels = (alpha / 2, 1 - alpha / 2)
    low, high = (_difference_quantile(control, treatment, level) for level in levels)
    relative = None
    if _has_ratio(control, treatment):
        middle, least, most = (_ratio_quantile(control, treatment, level) - 1 for level in (0.5, *levels))
        relative = Interval(middle, least, most)
    return BayesianComparison(
        probability_better=greater,
        expected_loss=loss,
        expected_loss_control=gain,
        difference=Interval(gap, low, high),
        relative=relative,
        control=control.credible(alpha),
        treatment=treatment.credible(alpha),
        prior=prior,
    )


def probability_best(posteriors: Mapping[str, Posterior], *, direction: Direction = "higher") -> dict[str, float]:
    """Posterior probability of each arm to be the best of all, by quadrature. The probabilities add up to one.

    Raises:
        BadInput: There is no arm.

    >>> arms = {name: Posterior("normal", 0.0, 1.0) for name in "abcd"}
    >>> {name: round(share, 6) for name, share in probability_best(arms).items()}
    {'a': 0.25, 'b': 0.25, 'c': 0.25, 'd': 0.25}
    """
    if not posteriors:
        raise BadInput("there is no arm to be the best.")
    chances = {}
    for name, own in posteriors.items():
        rivals = [posterior for other, posterior in posteriors.items() if other != name]
        nodes, weights = _quadrature(own, *rivals)
        below = [rival.cdf(nodes) for rival in rivals]
        beaten = [chance if direction == "higher" else 1 - chance for chance in below]
        chances[name] = float(weights @ np.prod(beaten, axis=0)) if beaten else 1.0
    total = sum(chances.values())
    return {name: chance / total for name, chance in chances.items()}


def _quadrature(posterior: Posterior, *others: Posterior) -> tuple[Floats, Floats]:
    """Nodes in the arm's value, and their probabilities.

    With p = Phi(u), an expectation becomes the integral of a function of u times the normal density. Where another
    arm is far narrower its distribution function is a step, so the panels of the Gauss-Legendre rule also end at the
    other arms' quantiles, and each panel's integrand is smooth.
    """
    edges = [_DEVIATES]
    for other in others:
        with np.errstate(divide="ignore"):
            edges.append(np.asarray(special.ndtri(posterior.cdf(other.quantile(special.ndtr(_DEVIATES))))))
    ends = np.unique(np.clip(np.concatenate(edges), _DEVIATES[0], _DEVIATES[-1]))
    half = np.diff(ends) / 2
    u = (ends[:-1] + half)[:, None] + half[:, None] * _POINTS
    mass = (half[:, None] * _WEIGHTS * np.exp(-0.5 * u * u)).ravel()
    return _values(posterior, u.ravel()), mass / mass.sum()


def _values(posterior: Posterior, deviates: Floats) -> Floats:
    """Values at normal deviates, from the nearer tail so that none is lost to rounding."""
    if posterior.kind == "normal":
        return posterior.first + posterior.second * deviates
    tail = special.ndtr(-np.abs(deviates))
    below = special.betaincinv(posterior.first, posterior.second, tail)
    above = special.betainccinv(posterior.first, posterior.second, tail)
    return np.where(deviates > 0, above, below)


def _has_ratio(control: Posterior, treatment: Posterior) -> bool:
    """Control is surely not zero, and no quantile of the ratio over- or underflows."""
    if control.kind == "normal":
        return control.first > 5 * control.second
    return min(control.first, treatment.first) >= 0.1


def _expected_excess(control: Posterior, treatment: Posterior) -> float:
    """E max(T - C, 0)."""
    if control.kind == "normal":
        spread = sqrt(control.second**2 + treatment.second**2)
        gap = treatment.first - control.first
        if spread == 0:
            return max(gap, 0.0)
        return float(gap * stats.norm.cdf(gap / spread) + spread * stats.norm.pdf(gap / spread))
    nodes, weights = _quadrature(treatment, control)
    a, b = control.first, control.second
    partial = special.betainc(a, b, nodes) * nodes - control.mean * special.betainc(a + 1, b, nodes)
    return max(0.0, float(weights @ partial))


def _difference_quantile(control: Posterior, treatment: Posterior, level: float) -> float:
    if control.kind == "normal":
        spread = sqrt(control.second**2 + treatment.second**2)
        return float(treatment.first - control.first + spread * special.ndtri(level))
    if (
        control.deviation <= treatment.deviation
    ):  # The nodes lie in the narrower posterior: the other's is smooth there.
        nodes, weights = _quadrature(control)
        return _solve(lambda value: float(weights @ treatment.cdf(nodes + value)) - level, -1.0, 1.0)
    nodes, weights = _quadrature(treatment)
    return _solve(lambda value: float(weights @ (1 - control.cdf(nodes - value))) - level, -1.0, 1.0)


def _ratio_quantile(control: Posterior, treatment: Posterior, level: float) -> float:
    """Quantile of T / C; for normals from P(T - r C < 0), which is exact as far as C cannot be negative."""
    if control.kind == "normal":
        deviate = float(special.ndtri(level))

        def distance(ratio: float) -> float:
            spread = sqrt(treatment.second**2 + (ratio * control.second) ** 2)
            return ratio * control.first - treatment.first - deviate * spread

        centre = treatment.first / control.first
        reach = 100 * (treatment.second + (1 + abs(centre)) * control.second) / control.first + 1e-12 * (
            1 + abs(centre)
        )
        return _solve(distance, centre - reach, centre + reach)
    if control.deviation / control.mean <= treatment.deviation / treatment.mean:
        nodes, weights = _quadrature(control)
        return _solve_log(lambda ratio: float(weights @ treatment.cdf(nodes * ratio)) - level)
    nodes, weights = _quadrature(treatment)
    return _solve_log(lambda ratio: float(weights @ (1 - control.cdf(nodes / ratio))) - level)


def _solve(distance: Callable[[float], float], low: float, high: float) -> float:
    return float(optimize.brentq(distance, low, high, xtol=1e-14))


def _solve_log(distance: Callable[[float], float]) -> float:
    """Root of an increasing function of a positive number."""
    return exp(float(optimize.brentq(lambda power: distance(exp(power)), -300.0, 300.0, xtol=1e-13)))
