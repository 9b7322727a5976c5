"""The lines of the decision matrix: each holds one piece of evidence against one threshold declared beforehand."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from trimtab.errors import BadInput
from trimtab.experiments.bayes import BayesianComparison
from trimtab.experiments.business import BusinessCase
from trimtab.experiments.effects import Comparison, Direction, check_alpha
from trimtab.experiments.sequential import SequentialResult

Status = Literal["pass", "fail", "open"]
_LEAST = 1e-4  # Probabilities nearer to 0 or 1 are told as below or above it.


@dataclass(frozen=True, slots=True)
class Evidence:
    """One metric's comparison, and which way is better.

    Attributes:
        metric: Name of the metric.
        comparison: Treatment against control, with a two-sided interval.
        direction: Whether higher or lower is better.
        margin: Guardrails: the relative deterioration that is tolerated, e.g. 0.1 for 10%.
    """

    metric: str
    comparison: Comparison
    direction: Direction = "higher"
    margin: float = 0.0

    def __post_init__(self) -> None:
        if not (isfinite(self.margin) and self.margin >= 0):
            raise BadInput(f"guardrail '{self.metric}' has margin {self.margin}; it must be finite and not negative.")

    @property
    def gain(self) -> float:
        """Absolute improvement; negative where the treatment is worse."""
        estimate = self.comparison.absolute.estimate
        return estimate if self.direction == "higher" else -estimate

    @property
    def change(self) -> str:
        """The effect in words: relative where it can be."""
        relative = self.comparison.relative
        return f"{self.comparison.absolute.estimate:+.4g}" if relative is None else f"{relative.estimate:+.2%}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What shipping asks for, declared before the start.

    Attributes:
        alpha: Significance level of the primary metric, on its adjusted p-value where there is one.
        minimum_relative_effect: Relative improvement that the estimate must reach; zero asks for none.
        minimum_probability_better: Posterior probability that shipping asks for, where a Bayesian result is given.
        maximum_relative_loss: Expected loss that shipping tolerates, relative to control's posterior mean.
        minimum_net_benefit: Net benefit of the first year that shipping asks for, where a business case is given.
    """

    alpha: float = 0.05
    minimum_relative_effect: float = 0.0
    minimum_probability_better: float = 0.95
    maximum_relative_loss: float = 0.01
    minimum_net_benefit: float = 0.0

    def __post_init__(self) -> None:
        check_alpha(self.alpha)


@dataclass(frozen=True, slots=True)
class Criterion:
    """One line of the decision matrix.

    Attributes:
        name: What is judged.
        threshold: What is asked for, in words with the number.
        actual: What was found, in words with the number.
        status: `pass`; `fail` for evidence to the contrary; `open` where the data do not tell.
        reason: One sentence.
    """

    name: str
    threshold: str
    actual: str
    status: Status
    reason: str


def statistical(primary: Evidence, policy: Policy, sequential: SequentialResult | None = None) -> Criterion:
    """Is the primary metric shown to be better? Shown to be worse is a failure, not shown is open.

    With a sequential result its bound decides, because a p-value below alpha at an early look is no evidence yet.
    """
    comparison = primary.comparison
    if comparison.absolute.standard_error == 0:
        reason = f"{primary.metric} does not vary within either arm, so there is nothing to test."
        return Criterion("statistical", f"p < {policy.alpha:g}", "no variance", "open", reason)
    if sequential is not None:
        bound = f"|Z| >= {sequential.look.bound:.2f} at {sequential.look.fraction:.0%} of the plan"
        # What was shown was shown where the bound was crossed; today's estimate may since lie beyond zero.
        shown = sequential.estimate if primary.direction == "higher" else -sequential.estimate
        status: Status = "open" if not sequential.crossed else "pass" if shown > 0 else "fail"
        reason = f"{primary.metric} changed by {primary.change}. {sequential.reason}"
        return Criterion("statistical", bound, f"Z = {sequential.statistic:.2f}", status, reason)
    p_value = comparison.p_value if comparison.p_value_adjusted is None else comparison.p_value_adjusted
    asked, actual = f"p < {policy.alpha:g}", _p(p_value)
    if p_value >= policy.alpha or primary.gain == 0:
        reason = f"{primary.metric} changed by {primary.change}, which chance may explain ({actual})."
        return Criterion("statistical", asked, actual, "open", reason)
    word: Status = "pass" if primary.gain > 0 else "fail"
    side = "better" if primary.gain > 0 else "worse"
    reason = f"{primary.metric} is {side} by {primary.change} ({actual})."
    return Criterion("statistical", asked, actual, word, reason)


def practical(primary: Evidence, policy: Policy) -> Criterion:
    """Is the estimated improvement as large as was declared to matter? Asked only where a minimum was declared."""
    asked = f"at least {policy.minimum_relative_effect:.2%}"
    relative = primary.comparison.relative
    if relative is None:
        return Criterion("practical", asked, "undefined", "open", f"{primary.metric} is zero in control.")
    gain = relative.estimate if primary.direction == "higher" else -relative.estimate
    enough = gain >= policy.minimum_relative_effect
    return Criterion(
        "practical",
        asked,
        f"{gain:+.2%}",
        "pass" if enough else "open",
        f"The improvement of {primary.metric}, {gain:+.2%}, is {'at least' if enough else 'less than'} the "
        f"{policy.minimum_relative_effect:.2%} that was declared to matter.",
    )


def bayesian(result: BayesianComparison, policy: Policy) -> Criterion:
    """Is the treatment probably better, and is little lost if it is not? Probably worse is a failure."""
    chance = result.probability_better
    base = abs(result.control.estimate)
    loss = result.expected_loss / base if base > 0 else 0.0
    asked = f"P(better) >= {policy.minimum_probability_better:.1%}, expected loss <= {policy.maximum_relative_loss:.2%}"
    actual = f"P(better) {_chance(chance)}, expected loss {_loss(loss)}"
    likely = chance >= policy.minimum_probability_better and loss <= policy.maximum_relative_loss
    status: Status = "pass" if likely else "fail" if chance <= 1 - policy.minimum_probability_better else "open"
    reason = (
        f"The probability that the treatment is better is {_chance(chance, '')} (prior {result.prior}); choosing it is "
    )
    return Criterion(
        "bayesian", asked, actual, status, f"{reason}expected to lose {_loss(loss, '')} of control's value."
    )


def revenue(case: BusinessCase, policy: Policy) -> Criterion:
    """Does the first year pay? A net benefit that is surely below the threshold is a failure."""
    asked = f"net benefit >= {policy.minimum_net_benefit:,.0f} in the first year"
    actual = f"{case.net.estimate:,.0f} ({case.net.low:,.0f} to {case.net.high:,.0f})"
    status: Status = "open"
    if case.net.estimate >= policy.minimum_net_benefit:
        status = "pass"
    elif case.net.high < policy.minimum_net_benefit:
        status = "fail"
    return Criterion("revenue", asked, actual, status, f"The first year brings a net benefit of {actual}.")


def guardrail(metric: Evidence) -> Criterion:
    """Is the guardrail shown to be within its margin? Shown to be outside is a failure, neither is open.

    The two-sided interval must lie on one side of the margin: a non-inferiority test at half of its alpha.
    """
    name, asked = f"guardrail {metric.metric}", f"worse by less than {metric.margin:.2%}"
    relative = metric.comparison.relative
    if relative is None:
        reason = f"{metric.metric} is zero in control, so no relative margin applies."
        return Criterion(name, asked, "undefined", "open", reason)
    sign = -1.0 if metric.direction == "higher" else 1.0
    loss = sign * relative.estimate
    least, most = sorted((sign * relative.low, sign * relative.high))
    actual = f"{loss:+.2%} worse ({least:+.2%} to {most:+.2%})" if loss > 0 else f"{-loss:+.2%} better"
    margin = f"its margin of {metric.margin:.2%}"
    if least > metric.margin:
        return Criterion(name, asked, actual, "fail", f"{metric.metric} is worse than {margin}.")
    if most < metric.margin:
        return Criterion(name, asked, actual, "pass", f"{metric.metric} stays within {margin}.")
    reason = f"{metric.metric} may be worse by up to {most:.2%}, beyond {margin}."
    return Criterion(name, asked, actual, "open", reason)


def _p(p_value: float) -> str:
    """A p-value with a floor: digits beyond it say nothing.

    >>> _p(0.0314), _p(8.4e-5)
    ('p = 0.0314', 'p < 0.0001')
    """
    return f"p = {p_value:.3g}" if p_value >= _LEAST else f"p < {_LEAST:g}"


def _chance(probability: float, equals: str = "= ") -> str:
    """A probability that is never rounded to certainty.

    >>> _chance(0.9512), _chance(0.99996), _chance(0.00001, "")
    ('= 95.12%', '> 99.99%', 'below 0.01%')
    """
    if probability > 1 - _LEAST:
        return f"{'>' if equals else 'above'} {1 - _LEAST:.2%}"
    if probability < _LEAST:
        return f"{'<' if equals else 'below'} {_LEAST:.2%}"
    return f"{equals}{probability:.2%}"


def _loss(share: float, equals: str = "= ") -> str:
    """A share of control's value, with a floor.

    >>> _loss(0.0021), _loss(1e-9)
    ('= 0.210%', '< 0.001%')
    """
    return f"{equals}{share:.3%}" if share >= 1e-5 else f"{'<' if equals else 'less than'} 0.001%"
