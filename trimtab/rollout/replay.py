"""What would have happened: outcomes of a version's decisions on sessions that were logged under a random treatment.

Replay (Li, Chu, Langford and Wang 2011, "Unbiased Offline Evaluation of Contextual-bandit-based News Article
Recommendation Algorithms", Algorithm 2): a logged session counts for a version where the version decides what was done
to that session at random. Those sessions are a random sample of what the version would have met.

Assumptions: the treatment was randomised with the stated probability whatever the session; one session's treatment does
not change another's outcome; the held-out sessions come from the population that the version will serve.
"""

import numpy as np
import numpy.typing as npt

from trimtab.errors import BadInput

Flags = npt.NDArray[np.bool_]

ASSUMPTIONS = (
    "The treatment was randomised with the probability that the spec states, whatever the session.",
    "One session's treatment does not change another session's outcome.",
    "The held-out sessions come from the population that the version will serve.",
)


def replayed(logged: Flags, decided: Flags, *, probability: float, rng: np.random.Generator) -> Flags:
    """Which logged sessions count for a version.

    Where treatment and no treatment were not equally likely, the commoner one is thinned, so that each session counts
    with the same probability min(p, 1 - p) whatever the version decides; the paper's logging policy is uniform.

    Args:
        logged: Whether the session was treated, shape [rows].
        decided: Whether the version would treat it, shape [rows].
        probability: Probability p of the treatment in the log.
        rng: Source of the thinning.

    Returns:
        Whether the session counts, shape [rows].

    Raises:
        BadInput: The probability is not strictly between 0 and 1, or the shapes differ.

    >>> logged, decided = np.array([True, True, False]), np.array([True, False, False])
    >>> replayed(logged, decided, probability=0.5, rng=np.random.default_rng(0)).tolist()
    [True, False, True]
    """
    if not 0 < probability < 1:
        raise BadInput(f"the probability of the treatment is {probability}; it must lie strictly between 0 and 1.")
    if logged.shape != decided.shape:
        raise BadInput(f"there are {len(logged)} logged sessions but {len(decided)} decisions.")
    propensity = np.where(decided, probability, 1 - probability)
    kept = rng.random(len(logged)) < min(probability, 1 - probability) / propensity
    return np.asarray((logged == decided) & kept)
