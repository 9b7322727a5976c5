"""A sample of sessions by design: as many that converted as did not, and the weights that undo the design.

Half converted makes a small sample informative about both kinds of session, but it is not the mix that a shop sees.
Every row therefore carries the weight that restores the natural class mix, so that an effect can be stated for both.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import BadInput


@dataclass(frozen=True, slots=True)
class DesignSample:
    """Rows drawn by design, converted first.

    Attributes:
        rows: Positions of the drawn rows in the source, shape [sessions].
        converted: Number of drawn rows that converted; they come first in `rows`.
        weights: Weight of each drawn row in the natural class mix, shape [sessions], summing to one.
        base_rate: Share of converted rows in the source.
    """

    rows: NDArray[np.int64]
    converted: int
    weights: NDArray[np.float64]
    base_rate: float

    def __len__(self) -> int:
        return len(self.rows)

    def resample(self, resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """How often each row is in each stratified bootstrap resample.

        Rows are drawn with replacement within converted and within not converted, as the design drew them, so that
        class sizes (and with them the weights' sum) are the same in every resample (Davison & Hinkley 1997, ch. 3.2).

        Args:
            resamples: Number of bootstrap resamples.
            rng: Source of randomness.

        Returns:
            Counts, shape [resamples, sessions].
        """
        strata = (self.converted, len(self) - self.converted)
        counts = [rng.multinomial(size, np.full(size, 1 / size), size=resamples) for size in strata]
        return np.concatenate(counts, axis=1).astype(np.float64)


def draw_balanced(label: NDArray[np.integer], *, sessions: int, rng: np.random.Generator) -> DesignSample:
    """Draw sessions at random, half of which converted.

    With too few rows of one class, both halves shrink to what that class has: the sample stays balanced.

    Args:
        label: One 0 or 1 per row of the source, shape [rows].
        sessions: Number of sessions wanted; the odd one is a converted session.
        rng: Source of randomness.

    Raises:
        BadInput: Fewer than two rows of a class, or `sessions` below four.

    >>> sample = draw_balanced(np.array([0] * 90 + [1] * 10), sessions=505, rng=np.random.default_rng(0))
    >>> len(sample), sample.converted, sample.base_rate
    (20, 10, 0.1)
    """
    if sessions < 4:
        raise BadInput(f"sessions is {sessions}; at least 4 are needed to state an interval.")
    converted, other = np.flatnonzero(label == 1), np.flatnonzero(label == 0)
    if min(len(converted), len(other)) < 2:
        raise BadInput(
            f"the held-out sessions have {len(converted)} that converted and {len(other)} that did not; "
            "at least two of each are needed for a what-if.",
            remedy="Give more sessions.",
        )
    wanted = (sessions - sessions // 2, sessions // 2)
    if len(converted) < wanted[0] or len(other) < wanted[1]:
        wanted = (min(len(converted), len(other)),) * 2
    rows = np.concatenate(
        [rng.choice(pool, size=size, replace=False) for pool, size in zip((converted, other), wanted, strict=True)]
    )
    base_rate = len(converted) / (len(converted) + len(other))
    weights = np.repeat([base_rate / wanted[0], (1 - base_rate) / wanted[1]], wanted)
    return DesignSample(rows, wanted[0], weights, base_rate)
