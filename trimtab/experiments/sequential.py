"""Group-sequential tests: looking early and often at an experiment of a planned size, with alpha kept.

Bounds follow from an alpha-spending function and the information at the looks that took place, so looks need be neither
equally spaced nor fixed beforehand; only their timing must not depend on the effect seen. Reference: C. Jennison and
B. W. Turnbull (2000), "Group Sequential Methods with Applications to Clinical Trials".

When the data end elsewhere than planned: a look at or beyond the planned information, or one declared to be the last,
gets all of alpha that is left, and its bound accounts for the information really seen, so that neither overrunning nor
stopping short costs the error rate. After that look nothing may be tested any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import inf, isfinite, sqrt

from scipy import optimize, stats

from trimtab.errors import BadInput
from trimtab.experiments.effects import Alternative, UpperBound, check_alpha
from trimtab.experiments.integration import HIGHEST_BOUND, Walk, check_times, crossing
from trimtab.experiments.spending import Spending


@dataclass(frozen=True, slots=True)
class Look:
    """One analysis of a running experiment.

    Attributes:
        fraction: Information at the look over the planned information.
        spent: Alpha spent up to and with this look.
        bound: The look rejects where Z (its absolute value, for two sides) exceeds it.
        nominal_p: P-value of a fixed test that lies on the bound.
    """

    fraction: float
    spent: float
    bound: UpperBound
    nominal_p: float


@dataclass(frozen=True, slots=True)
class SequentialDesign:
    """A group-sequential test as declared before the start.

    Attributes:
        planned: Planned information: units for a mean or proportion at fixed allocation, or 1 / variance of the effect.
        alpha: Type I error over all looks.
        spending: How alpha is spent.
        alternative: `two-sided` spends alpha / 2 on each side.
    """

    planned: float
    alpha: float = 0.05
    spending: Spending = field(default_factory=Spending)
    alternative: Alternative = "two-sided"

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if not (isfinite(self.planned) and self.planned > 0):
            raise BadInput(f"the planned information is {self.planned}; it must be positive.")

    def looks(self, information: Sequence[float], *, final: bool = False) -> tuple[Look, ...]:
        """Bounds of the looks so far.

        Args:
            information: Information at each look so far, increasing, in the unit of `planned`.
            final: The last of them is the end: it gets all of alpha that is left.

        Raises:
            BadInput: Information does not increase, or a look follows one that had spent all of alpha.

        >>> [round(look.bound, 4) for look in SequentialDesign(planned=3).looks([1, 2, 3])]
        [3.7103, 2.5114, 1.993]
        """
        check_times(information)
        if any(amount >= self.planned for amount in information[:-1]):
            raise BadInput(
                f"a look follows one at the planned information of {self.planned:g}, where all of alpha was spent.",
                remedy="Analyse once when the planned size is reached; the result of that look stands.",
            )
        fractions = tuple(amount / self.planned for amount in information)
        looks, walk, before = _until(self, fractions)
        spent = self.alpha if final else self._spent(fractions[-1])
        return (*looks, self._look(walk, spent, before))

    def _spent(self, fraction: float) -> float:
        sides = self._sides
        return sides * self.spending.spent(self.alpha / sides, fraction)

    def _look(self, walk: Walk, spent: float, before: float) -> Look:
        bound = walk.bound_above((spent - before) / self._sides)
        return Look(walk.time, spent, bound, min(1.0, self._sides * float(stats.norm.sf(bound))))

    @property
    def _sides(self) -> float:
        return 2.0 if self.alternative == "two-sided" else 1.0


@lru_cache(maxsize=1024)
def _until(design: SequentialDesign, fractions: tuple[float, ...]) -> tuple[tuple[Look, ...], Walk, float]:
    """The looks before the last of these, the walk that comes to it, and what was spent before.

    A running experiment asks for one look more each time, so that what is kept saves all but one step of the walk.
    """
    if len(fractions) == 1:
        return (), Walk.start(fractions), 0.0
    looks, walk, before = _until(design, fractions[:-1])
    spent = design._spent(fractions[-2])
    look = design._look(walk, spent, before)
    below = -look.bound if design.alternative == "two-sided" else -inf
    return (*looks, look), replace(walk, times=fractions).step(below, look.bound), spent


def wang_tsiatis_bounds(
    times: Sequence[float], *, alpha: float = 0.05, delta: float = 0.0, alternative: Alternative = "two-sided"
) -> tuple[float, ...]:
    """Classical bounds c t^(delta - 1/2): delta 0 is O'Brien and Fleming's, 0.5 is Pocock's constant one.

    Source: S. K. Wang and A. A. Tsiatis (1987). Times are scaled so that the last is 1.

    >>> round(wang_tsiatis_bounds([0.5, 1.0], delta=0.5)[-1], 4)
    2.1783
    """
    check_alpha(alpha)
    check_times(times)
    shape = [(time / times[-1]) ** (delta - 0.5) for time in times]
    two_sided = alternative == "two-sided"

    def excess(constant: float) -> float:
        upper = [constant * factor for factor in shape]
        return crossing(times, [-bound if two_sided else -inf for bound in upper], upper).total - alpha

    constant = float(optimize.brentq(excess, 0.0 if two_sided else -5.0, 20.0, xtol=1e-12))
    return tuple(constant * factor for factor in shape)


def peeking_error(
    looks: int, *, alpha: float = 0.05, times: Sequence[float] | None = None, alternative: Alternative = "two-sided"
) -> float:
    """Probability of a false positive where a fixed test at `alpha` is looked at again and again.

    Args:
        looks: Number of looks, equally spaced where `times` is not given.
        alpha: Level of the fixed test.
        times: Information at the looks.
        alternative: One side or two.

    >>> round(peeking_error(20), 4)
    0.2479
    """
    check_alpha(alpha)
    if looks < 1:
        raise BadInput(f"there are {looks} looks; at least one is needed.")
    two_sided = alternative == "two-sided"
    bound = float(stats.norm.isf(alpha / 2 if two_sided else alpha))
    when = times if times is not None else [(place + 1) / looks for place in range(looks)]
    return crossing(when, [-bound if two_sided else -inf] * looks, [bound] * looks).total


@dataclass(frozen=True, slots=True)
class SequentialPower:
    """What a sequential design costs and brings.

    Attributes:
        drift: Expected Z at full information that gives the power.
        inflation: Maximal information over that of a fixed test with the same power.
        expected_fraction: Expected information at stopping under the effect, over the maximal.
        crossings: Probability of stopping at each look under the effect.
        futility: Non-binding lower bounds on Z; empty where none were asked for.
    """

    drift: float
    inflation: float
    expected_fraction: float
    crossings: tuple[float, ...]
    futility: tuple[float, ...]


def sequential_power(
    design: SequentialDesign, times: Sequence[float], *, power: float = 0.8, futility: Spending | None = None
) -> SequentialPower:
    """The effect that the design detects with the given power, and how long it takes.

    With `futility`, the type II error is spent on lower bounds too (Pampallona, Tsiatis and Kim 2001). They are not
    binding: the upper bounds ignore them, so crossing one and going on costs power but never the type I error.

    Args:
        design: The design.
        times: Planned information fractions; the last must be 1.
        power: Probability of rejecting in the right direction.
        futility: How 1 - power is spent.

    Raises:
        BadInput: The last time is not 1, or the power lies outside (alpha, 1).
    """
    check_times(times)
    if abs(times[-1] - 1.0) > 1e-9:
        raise BadInput(f"planned looks end at {times[-1]:g} of the information; the last must be at 1.")
    if not design.alpha < power < 1:
        raise BadInput(f"power is {power}; it must lie between alpha and 1.")
    upper = [look.bound for look in design.looks([time * design.planned for time in times])]
    sides = 2.0 if design.alternative == "two-sided" else 1.0
    fixed = float(stats.norm.isf(design.alpha / sides) + stats.norm.ppf(power))
    below = [-bound if sides > 1 else -inf for bound in upper]

    def shortfall(drift: float) -> float:
        lower = below if futility is None else futility_bounds(times, upper, futility, drift, 1 - power)
        return sum(crossing(times, lower, upper, drift=drift).upper) - power

    most = 1.5 * fixed
    while shortfall(most) < 0:
        most *= 1.5
    drift = float(optimize.brentq(shortfall, 0.0, most, xtol=1e-9))
    lower = below if futility is None else futility_bounds(times, upper, futility, drift, 1 - power)
    paths = crossing(times, lower, upper, drift=drift)
    stops = [above + under for above, under in zip(paths.upper, paths.lower, strict=True)]
    stops[-1] += 1.0 - sum(stops)
    expected = sum(share * time for share, time in zip(stops, times, strict=True))
    inflation = (drift / fixed) ** 2
    return SequentialPower(drift, inflation, expected, tuple(stops), tuple(lower) if futility else ())


def futility_bounds(
    times: Sequence[float], upper: Sequence[float], spending: Spending, drift: float, beta: float
) -> list[float]:
    """Lower bounds on Z that spend `beta` under the drift; the last meets the upper bound, so that the test ends."""
    walk, before, lower = Walk.start(times, drift=drift), 0.0, []
    for time, high in zip(times[:-1], upper[:-1], strict=True):
        spent = spending.spent(beta, time)
        low = min(walk.bound_below(spent - before), high)
        lower.append(low)
        walk, before = walk.step(low, high), spent
    return [*lower, upper[-1]]


@dataclass(frozen=True, slots=True)
class SequentialResult:
    """What one look says.

    Attributes:
        look: The look and its bound.
        statistic: Z at the look.
        crossed: Whether Z lies beyond the bound, now or at an earlier look.
        stop: Whether testing is over: a bound was crossed, or all of alpha is spent.
        repeated_low: Lower end of the repeated interval, Z's effect -+ bound * standard error: valid at every look.
        repeated_high: Upper end of it.
        estimate: Median-unbiased effect by stage-wise ordering; the plain one while the test goes on.
        low: Lower end of the two-sided stage-wise interval at 1 - alpha; the repeated one while the test goes on.
        high: Upper end of it.
        p_value: Stage-wise p-value once the test has stopped; 1 while it goes on.
        reason: In words, why the test may or may not stop.
        futility: Non-binding lower bound on Z towards better; None where none was declared, or the test has stopped.
        futile: Whether Z lies below it.
    """

    look: Look
    statistic: float
    crossed: bool
    stop: bool
    repeated_low: float
    repeated_high: float
    estimate: float
    low: float
    high: float
    p_value: float
    reason: str
    futility: float | None = None
    futile: bool = False


def analyse(
    design: SequentialDesign, information: Sequence[float], statistics: Sequence[float], *, standard_error: float,
    final: bool = False, stagewise: bool = True,
) -> SequentialResult:  # fmt: skip
    """Judge the newest look in the light of those before.

    Args:
        design: The design.
        information: Information at each look so far, in the unit of the design's `planned`.
        statistics: Z at each look so far, positive where the treatment is greater.
        standard_error: Standard error of the effect at the newest look.
        final: The newest look is the last.
        stagewise: Work out estimate, interval and p-value of a test that has stopped; without it they are as though
            it went on, which is much faster where only the decision is asked for.

    Raises:
        BadInput: Lengths differ, a number is not finite, or the design forbids the looks.
    """
    if len(statistics) != len(information) or not statistics:
        raise BadInput(f"there are {len(information)} looks and {len(statistics)} statistics.")
    if not (all(map(isfinite, statistics)) and isfinite(standard_error) and standard_error >= 0):
        raise BadInput("statistics and standard error of a look must be finite.")
    looks = design.looks(information, final=final)
    values = [min(max(z, -HIGHEST_BOUND), HIGHEST_BOUND) for z in statistics]
    crossings = [_beyond(design, look.bound, z) for look, z in zip(looks, values, strict=True)]
    look, effect = looks[-1], statistics[-1] * standard_error
    repeated = effect - look.bound * standard_error, effect + look.bound * standard_error
    crossed = any(crossings)
    if not crossed and look.spent < design.alpha:
        reason = _why_not(design, look, statistics[-1])
        return SequentialResult(look, statistics[-1], False, False, *repeated, effect, *repeated, 1.0, reason)
    end = crossings.index(True) if crossed else len(looks) - 1
    reason = _why(design, looks[end], statistics[end], end + 1, crossed)
    if not stagewise:
        return SequentialResult(look, statistics[-1], crossed, True, *repeated, effect, *repeated, 1.0, reason)
    # The stage-wise result belongs to the look where the test ended, at that look's own standard error.
    scale = standard_error * sqrt(information[-1] / information[end])
    ordering = _Stagewise(design, looks[: end + 1], values[end])
    middle, low, high = (ordering.effect(level) * scale for level in (0.5, design.alpha / 2, 1 - design.alpha / 2))
    p_value = ordering.p_value()
    return SequentialResult(look, statistics[-1], crossed, True, *repeated, middle, low, high, p_value, reason)


@dataclass(frozen=True, slots=True)
class _Stagewise:
    """Stage-wise ordering (Tsiatis, Rosner and Mehta 1984): crossing earlier is more extreme, then the larger Z."""

    design: SequentialDesign
    looks: tuple[Look, ...]
    statistic: float

    def p_value(self) -> float:
        """Of no effect, for the design's alternative."""
        if (
            self.design.alternative == "two-sided"
        ):  # The bounds are symmetric, so either tail is the upper one mirrored.
            return min(1.0, 2 * replace(self, statistic=abs(self.statistic)).exceeding(0.0))
        return self.exceeding(0.0)

    def effect(self, level: float) -> float:
        """Effect, in standard errors of the last look, at which a greater path has probability `level`."""
        sign, root = self._sign, sqrt(self.looks[-1].fraction)

        def distance(effect: float) -> float:
            return self.exceeding(effect / root) - (level if sign > 0 else 1 - level)

        guess, reach = sign * self.statistic, 10.0
        while distance(guess - reach) > 0 or distance(guess + reach) < 0:
            reach *= 2
        return sign * float(optimize.brentq(distance, guess - reach, guess + reach, xtol=1e-9))

    def exceeding(self, drift: float) -> float:
        """Probability, under a drift towards the alternative, of a path at least as extreme in its direction."""
        two_sided = self.design.alternative == "two-sided"
        bounds = [*(look.bound for look in self.looks[:-1]), self._sign * self.statistic]
        floors = [*(-bound if two_sided else -inf for bound in bounds[:-1]), -inf]
        return sum(crossing([look.fraction for look in self.looks], floors, bounds, drift=drift).upper)

    @property
    def _sign(self) -> float:
        return -1.0 if self.design.alternative == "less" else 1.0


def _beyond(design: SequentialDesign, bound: float, z: float) -> bool:
    if design.alternative == "two-sided":
        return abs(z) >= bound
    return (z if design.alternative == "greater" else -z) >= bound


def _why_not(design: SequentialDesign, look: Look, z: float) -> str:
    return (
        f"Go on: Z = {z:.2f} has not reached {look.bound:.2f} at {look.fraction:.0%} of the planned information; "
        f"{look.spent / design.alpha:.0%} of alpha is spent."
    )


def _why(design: SequentialDesign, look: Look, z: float, number: int, crossed: bool) -> str:
    if crossed:
        return (
            f"Stop: at look {number}, with {look.fraction:.0%} of the planned information, Z = {z:.2f} lies beyond "
            f"{look.bound:.2f}; looking this often leads astray in at most {design.alpha:.1%} of experiments."
        )
    return f"Stop: all of alpha is spent at look {number} and Z = {z:.2f} has not reached {look.bound:.2f}."
