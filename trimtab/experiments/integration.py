"""Exact crossing probabilities of a group-sequential test by recursive numerical integration.

Armitage, McPherson and Rowe (1969); C. Jennison and B. W. Turnbull (2000), "Group Sequential Methods", chapter 19. The
score process S(t) = Z(t) sqrt(t) has independent normal increments with variance dt and mean drift * dt, so the density
of paths that have not crossed yet goes from look to look by one convolution over the continuation region. Each region
is covered by Gauss-Legendre nodes, at least three to a standard deviation of the increments that meet there; the
integrands are analytic, so the error falls geometrically and is below 1e-10 for a hundred looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf, isfinite, sqrt

import numpy as np
from scipy import optimize, special

from trimtab.errors import BadInput
from trimtab.experiments.moments import Floats

_REACH = 8.5  # Standard deviations beyond which a normal density is nothing in double precision.
_NODES_PER_DEVIATION = 3.0
_LEAST_NODES, _MOST_NODES = 48, 4_000
_SLACK = 1e-2  # First width of the bracket of a bound.
HIGHEST_BOUND = 38.0  # The largest z whose tail probability is a positive float.


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """Paths that reached a look without having crossed a bound before.

    Attributes:
        times: Information fraction of every look, increasing.
        look: Number of looks behind the walk.
        drift: Mean of S(t) over t; zero under the null hypothesis.
        nodes: Values of S at the last look that are still in play.
        mass: Probability mass at the nodes.
    """

    times: tuple[float, ...]
    look: int
    drift: float
    nodes: Floats
    mass: Floats

    @classmethod
    def start(cls, times: Sequence[float], *, drift: float = 0.0) -> "Walk":
        """The walk before the first look.

        Raises:
            BadInput: Times are not finite, positive and increasing by at least 1e-6 of the last.
        """
        check_times(times)
        return cls(tuple(float(time) for time in times), 0, drift, np.zeros(1), np.ones(1))

    @property
    def time(self) -> float:
        """Information fraction of the look that comes next."""
        return self.times[self.look]

    def above(self, bound: float) -> float:
        """Probability of reaching the next look and finding Z above `bound` there."""
        return float(self.mass @ special.ndtr(-self._scaled(bound)))

    def below(self, bound: float) -> float:
        """Probability of reaching the next look and finding Z below `bound` there."""
        return float(self.mass @ special.ndtr(self._scaled(bound)))

    def bound_above(self, probability: float) -> float:
        """The bound that `above` gives this probability; the highest one where it is as good as zero."""
        if self.above(HIGHEST_BOUND) >= probability:
            return HIGHEST_BOUND
        if self.above(-HIGHEST_BOUND) <= probability:
            return -HIGHEST_BOUND
        # Paths that went on are no more than all paths, so the bound of a single look lies above this one.
        high = self.drift * sqrt(self.time) - float(special.ndtri(probability)) + _SLACK
        high, reach = min(high, HIGHEST_BOUND), _SLACK
        while self.above(high - reach) < probability:
            reach *= 4
        return float(
            optimize.brentq(lambda bound: self.above(bound) - probability, high - reach, high, xtol=1e-12, rtol=1e-14)
        )

    def bound_below(self, probability: float) -> float:
        """The bound that `below` gives this probability."""
        mirrored = Walk(self.times, self.look, -self.drift, -self.nodes, self.mass)
        return -mirrored.bound_above(probability)

    def step(self, lower: float, upper: float) -> "Walk":
        """Go through the next look; only paths with Z between the bounds go on."""
        time = self.time
        centre, reach = self.drift * time, _REACH * sqrt(time)
        low = max(lower * sqrt(time), centre - reach) if isfinite(lower) else centre - reach
        high = min(upper * sqrt(time), centre + reach) if isfinite(upper) else centre + reach
        if high <= low:
            return Walk(self.times, self.look + 1, self.drift, np.zeros(1), np.zeros(1))
        count = _NODES_PER_DEVIATION * (high - low) / self._finest()
        rounded = 16 * ceil(count / 16)  # Few distinct sizes, so that the cached rules are met again.
        points, weights = _legendre(min(max(rounded, _LEAST_NODES), _MOST_NODES))
        nodes = (low + high) / 2 + (high - low) / 2 * points
        deviation = sqrt(self._increment())
        gaps = (nodes[:, None] - self.nodes[None, :] - self.drift * self._increment()) / deviation
        density = np.exp(-0.5 * gaps * gaps) @ self.mass / (deviation * sqrt(2 * np.pi))
        return Walk(self.times, self.look + 1, self.drift, nodes, density * weights * (high - low) / 2)

    def _increment(self, look: int | None = None) -> float:
        look = self.look if look is None else look
        return self.times[look] - (self.times[look - 1] if look else 0.0)

    def _finest(self) -> float:
        following = self._increment(self.look + 1) if self.look + 1 < len(self.times) else inf
        return sqrt(min(self._increment(), following))

    def _scaled(self, bound: float) -> Floats:
        increment = self._increment()
        return np.asarray((bound * sqrt(self.time) - self.nodes - self.drift * increment) / sqrt(increment))


@dataclass(frozen=True, slots=True)
class Crossing:
    """Probabilities of crossing first at each look.

    Attributes:
        upper: Of crossing the upper bounds, per look.
        lower: Of crossing the lower bounds, per look.
    """

    upper: tuple[float, ...]
    lower: tuple[float, ...]

    @property
    def total(self) -> float:
        """Probability of crossing at all."""
        return sum(self.upper) + sum(self.lower)


def crossing(times: Sequence[float], lower: Sequence[float], upper: Sequence[float], *, drift: float = 0.0) -> Crossing:
    """Probabilities of crossing bounds on Z for the first time, look by look.

    Args:
        times: Information fractions of the looks, increasing.
        lower: Lower bound at each look; minus infinity for none.
        upper: Upper bound at each look; infinity for none.
        drift: Expected Z at information fraction one.

    Raises:
        BadInput: Times do not increase, or the lengths differ.

    >>> round(crossing([0.5, 1.0], [-1.96, -1.96], [1.96, 1.96]).total, 4)
    0.0831
    """
    if not len(times) == len(lower) == len(upper):
        raise BadInput(f"there are {len(times)} looks, {len(lower)} lower and {len(upper)} upper bounds.")
    walk = Walk.start(times, drift=drift)
    above, below = [], []
    for low, high in zip(lower, upper, strict=True):
        above.append(walk.above(high))
        below.append(walk.below(low))
        walk = walk.step(low, high)
    return Crossing(tuple(above), tuple(below))


def check_times(times: Sequence[float]) -> None:
    """Refuse looks that are not at finite, positive, increasing information."""
    if not len(times):
        raise BadInput("there are no looks.")
    steps = np.diff(np.asarray(times, dtype=float), prepend=0.0)
    if not (np.isfinite(steps).all() and (steps >= 1e-6 * times[-1]).all()):
        raise BadInput(f"looks are at {list(times)}; information must be finite, positive and increasing.")


@lru_cache(maxsize=512)
def _legendre(count: int) -> tuple[Floats, Floats]:
    points, weights = special.roots_legendre(count)
    return points, weights
