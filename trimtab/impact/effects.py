"""From probabilities before and after improvements to effects with intervals."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab.impact.sample import DesignSample
from trimtab.impact.study import Effect, Improvement
from trimtab.types import Interval

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Ranks(NamedTuple):
    """Ranks of changes, 1 for the largest, and the bounds of their intervals; each of shape [changes]."""

    rank: IntArray
    low: IntArray
    high: IntArray


@dataclass(frozen=True, slots=True)
class Answers:
    """What the model says of the sampled sessions as they are and under each change.

    Attributes:
        before: Probabilities as they are, shape [sessions].
        after: Probabilities under each change, shape [sessions, changes].
        threshold: Probability from which a session counts as predicted to convert.
    """

    before: FloatArray
    after: FloatArray
    threshold: float

    @property
    def change(self) -> FloatArray:
        """Change of probability, shape [sessions, changes]."""
        return self.after - self.before[:, None]

    @property
    def crossed(self) -> IntArray:
        """1 where a session newly reaches the threshold, -1 where it no longer does, shape [sessions, changes]."""
        return (self.after >= self.threshold).astype(np.int64) - (self.before >= self.threshold).astype(np.int64)[
            :, None
        ]


class Bootstrap:
    """Stratified resamples of one sample, shared by everything that is estimated from it.

    Args:
        sample: The sample.
        resamples: Number of resamples.
        confidence: Confidence level of the percentile intervals.
        rng: Source of randomness.
    """

    def __init__(self, sample: DesignSample, *, resamples: int, confidence: float, rng: np.random.Generator) -> None:
        self._weights = sample.weights
        self._counts = sample.resample(resamples, rng)
        self._tails = ((1 - confidence) / 2, (1 + confidence) / 2)

    def improvements(self, answers: Answers, levels: FloatArray) -> list[Improvement]:
        """What each change does, in the sample and per 1,000 sessions of the natural mix.

        Args:
            answers: The model's answers.
            levels: Level of each change, shape [changes].
        """
        crossed = answers.crossed
        count = len(answers.before)
        sample = self._effects(answers, np.ones(count), sessions=count)
        population = self._effects(answers, 1_000 * self._weights, sessions=1_000)
        gained, lost = (crossed > 0).sum(axis=0).tolist(), (crossed < 0).sum(axis=0).tolist()
        return [Improvement(*parts) for parts in zip(levels.tolist(), gained, lost, sample, population, strict=True)]

    def ranks(self, change: FloatArray) -> Ranks:
        """Rank of each change's mean in the natural mix, with the interval of that rank.

        Args:
            change: Change of probability, shape [sessions, changes].
        """
        if not change.shape[1]:
            return Ranks(*(np.empty(0, dtype=np.int64),) * 3)
        estimate, resampled = self._totals(change * self._weights[:, None])
        rank = _descending_ranks(estimate[None, :])[0]
        low, high = np.quantile(_descending_ranks(resampled), self._tails, axis=0, method="nearest")
        return Ranks(rank, np.minimum(low, rank), np.maximum(high, rank))

    def _effects(self, answers: Answers, weights: FloatArray, *, sessions: int) -> list[Effect]:
        """Effects over `sessions` sessions, when each sampled session stands for `weights` of them."""
        flips = self._totals(np.abs(answers.crossed) * weights[:, None])
        change = self._totals(answers.change * weights[:, None])
        base = self._totals((answers.before * weights)[:, None])
        # Where the model expects no conversion at all there is no relative change to state: it is given as zero.
        share = [part / np.where(whole > 0, whole, np.inf) for part, whole in zip(change, base, strict=True)]
        columns = (self._intervals(*flips), self._intervals(*change), self._intervals(*share))
        return [Effect(sessions, *intervals) for intervals in zip(*columns, strict=True)]

    def _totals(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Column sums of `values` [sessions, m]: in the sample [m], and in each resample [resamples, m]."""
        return values.sum(axis=0), self._counts @ values

    def _intervals(self, estimate: FloatArray, resampled: FloatArray) -> list[Interval]:
        low, high = np.quantile(resampled, self._tails, axis=0)
        # Skew can push a percentile bound past the estimate; an interval that leaves it out would only confuse.
        bounds = zip(estimate.tolist(), np.minimum(low, estimate), np.maximum(high, estimate), strict=True)
        return [Interval(middle, float(bottom), float(top)) for middle, bottom, top in bounds]


def _descending_ranks(values: FloatArray) -> IntArray:
    order = np.argsort(-values, axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable") + 1
