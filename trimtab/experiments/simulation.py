"""Does a design keep its promises? Simulated experiments: how often they reject, and when they stop.

Sums of units are drawn, not units: exact for a binary metric (binomial), normal for means and ratios, which is what
their tests assume. The statistics and bounds are those of the analysis.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy import stats

from trimtab.errors import BadInput
from trimtab.experiments.always_valid import confidence_sequence_multiplier
from trimtab.experiments.effects import Alternative
from trimtab.experiments.moments import Floats
from trimtab.experiments.power import MetricPlan
from trimtab.experiments.proportions import Proportion, wilson_interval
from trimtab.experiments.sequential import SequentialDesign
from trimtab.experiments.spending import Spending
from trimtab.types import Interval


@dataclass(frozen=True, slots=True)
class Rules:
    """The test of one treatment.

    Attributes:
        total: Planned units of control and treatment together.
        share: Share of them in the treatment.
        looks: Number of equally spaced looks; 1 is a fixed test.
        alpha: Level of this treatment's test.
        alternative: One side or two.
        spending: How group-sequential looks spend alpha.
        always_valid: Bounds of the confidence sequence instead of group-sequential ones.
        peeking: Bounds of a fixed test at every look, to show what that costs.
    """

    total: int
    share: float = 0.5
    looks: int = 1
    alpha: float = 0.05
    alternative: Alternative = "two-sided"
    spending: Spending = Spending()  # noqa: RUF009 (frozen)
    always_valid: bool = False
    peeking: bool = False

    def __post_init__(self) -> None:
        if self.looks < 1 or self.total < 4 * self.looks or not 0 < self.share < 1:
            raise BadInput(f"{self.total} units in {self.looks} looks with share {self.share} cannot be simulated.")

    @property
    def units(self) -> npt.NDArray[np.int64]:
        """Units so far at each look, shape [looks]."""
        return np.round(np.arange(1, self.looks + 1) * self.total / self.looks).astype(np.int64)

    @property
    def bounds(self) -> Floats:
        """Bound of each look, shape [looks]."""
        sides = 2 if self.alternative == "two-sided" else 1
        if self.peeking:
            return np.full(self.looks, float(stats.norm.isf(self.alpha / sides)))
        if self.always_valid:
            multipliers = (
                confidence_sequence_multiplier(
                    float(n), optimised_for=self.total, alpha=self.alpha, alternative=self.alternative
                )
                for n in self.units
            )
            return np.array(list(multipliers))
        design = SequentialDesign(float(self.total), self.alpha, self.spending, self.alternative)
        return np.array([look.bound for look in design.looks([float(n) for n in self.units])])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of many simulated experiments with one true effect.

    Attributes:
        effect: The true absolute effect.
        runs: Experiments.
        rejected: Share that rejected no effect, with Wilson's 95% interval.
        wrong_way: Share that rejected in the direction opposite to the true effect.
        expected_units: Mean number of units at the stop.
        stopped: Share that stopped at each look.
    """

    effect: float
    runs: int
    rejected: Interval
    wrong_way: float
    expected_units: float
    stopped: tuple[float, ...]


def simulate(metric: MetricPlan, effect: float, rules: Rules, *, runs: int, rng: np.random.Generator) -> Outcome:
    """Run many experiments and count.

    Args:
        metric: What is known of the metric.
        effect: True absolute effect.
        rules: The test.
        runs: Number of experiments.
        rng: Source of randomness.

    Raises:
        BadInput: There are no runs, or the effect takes a rate out of [0, 1].
    """
    if runs < 1:
        raise BadInput(f"{runs} runs were asked for; at least one is needed.")
    statistics = _statistics(metric, effect, rules, runs, rng)
    signed = -statistics if rules.alternative == "less" else statistics
    beyond = np.abs(statistics) >= rules.bounds if rules.alternative == "two-sided" else signed >= rules.bounds
    rejected = beyond.any(axis=1)
    place = np.where(rejected, beyond.argmax(axis=1), rules.looks - 1)
    final = statistics[np.arange(runs), place]
    wrong = rejected & (np.sign(final) == -np.sign(effect)) if effect else np.zeros(runs, dtype=bool)
    count = int(rejected.sum())
    return Outcome(
        effect=effect,
        runs=runs,
        rejected=Interval(count / runs, *wilson_interval(Proportion(count, runs))),
        wrong_way=float(wrong.mean()),
        expected_units=float(rules.units[place].mean()),
        stopped=tuple((np.bincount(place, minlength=rules.looks) / runs).tolist()),
    )


def _statistics(metric: MetricPlan, effect: float, rules: Rules, runs: int, rng: np.random.Generator) -> Floats:
    """Z of every run at every look, shape [runs, looks]."""
    treated = np.round(rules.units * rules.share).astype(np.int64)
    arms = rules.units - treated, treated
    before, after = metric.variances(effect)
    if metric.binary and metric.saving == 0:
        rates = metric.baseline, metric.baseline + effect
        successes = [
            rng.binomial(np.diff(n, prepend=0), rate, (runs, rules.looks)).cumsum(axis=1)
            for n, rate in zip(arms, rates, strict=True)
        ]
        pooled = (successes[0] + successes[1]) / rules.units
        error = np.sqrt(pooled * (1 - pooled) * (1 / arms[0] + 1 / arms[1]))
        difference = successes[1] / arms[1] - successes[0] / arms[0]
        return np.divide(difference, error, out=np.zeros_like(difference), where=error > 0)
    sums = [
        (rng.normal(size=(runs, rules.looks)) * np.sqrt(np.diff(n, prepend=0) * variance)).cumsum(axis=1)
        for n, variance in zip(arms, (before, after), strict=True)
    ]
    difference = effect + sums[1] / arms[1] - sums[0] / arms[0]
    return difference / np.array([sqrt(before / a + after / b) for a, b in zip(*arms, strict=True)])
