"""Thompson sampling with rewards that come late: an alternative to a fixed allocation, and what it costs.

A bandit sends more units to what looks better and so loses fewer conversions while it learns. It gives up inference:
the allocation depends on the data, so arm means are biased (downwards for arms that were dropped early), ordinary
intervals and p-values do not hold, and a change over time is mistaken for a difference between arms. Use it to choose
among many short-lived variants, not to measure an effect.

A conversion that may come days after the exposure must not be counted as a failure until its time is over, or the
newest and therefore the most favoured arm looks the worst. Only exposures older than the attribution window are
counted, successes as well as failures: counting early successes at once would favour the newest arm instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trimtab.errors import BadInput
from trimtab.experiments.bayes import BetaPrior, Posterior, probability_best
from trimtab.experiments.moments import Floats
from trimtab.experiments.proportions import Proportion

CAVEAT = (
    "The allocation followed the outcomes: the arms' observed rates are biased and their ordinary intervals and "
    "p-values do not hold. Confirm the winner in an experiment with a fixed allocation before quoting an effect."
)


@dataclass(frozen=True, slots=True)
class BanditState:
    """What a bandit knows at one time.

    Attributes:
        matured: Successes and units per arm, of exposures older than the attribution window.
        pending: Units per arm whose outcome is still open; they count for nothing yet.
        prior: Prior of every arm's rate.
        caveat: What the allocation costs.
    """

    matured: dict[str, tuple[int, int]]
    pending: dict[str, int]
    prior: BetaPrior
    caveat: str = CAVEAT

    def posterior(self, arm: str) -> Posterior:
        """What is believed about an arm's rate."""
        successes, n = self.matured[arm]
        if n == 0:
            return Posterior("beta", self.prior.a, self.prior.b)
        return Posterior.of_proportion(Proportion(successes, n), self.prior)


def observe(
    arms: Sequence[str],
    *,
    exposed_arm: npt.NDArray[np.generic],
    exposed_at: Floats,
    rewarded_at: Floats,
    now: float,
    window: float,
    prior: BetaPrior | None = None,
) -> BanditState:
    """Count what may be counted at a time.

    Args:
        arms: All arms, also those not exposed yet.
        exposed_arm: Arm of each exposure, shape [exposures].
        exposed_at: Time of each, in any unit, shape [exposures].
        rewarded_at: Time of the first reward, infinite where none came yet, shape [exposures].
        now: The time; later exposures and rewards are not seen.
        window: A reward counts if it comes within this time of its exposure.
        prior: Prior of every arm's rate; uniform by default.

    Raises:
        BadInput: Lengths differ, the window is not positive, an arm is unknown, or a reward precedes its exposure.
    """
    if not len(exposed_arm) == len(exposed_at) == len(rewarded_at):
        raise BadInput(f"exposures have {len(exposed_arm)} arms, {len(exposed_at)} and {len(rewarded_at)} times.")
    if not window > 0:
        raise BadInput(f"the attribution window is {window}; it must be positive.")
    unknown = sorted(set(map(str, np.unique(exposed_arm))) - set(arms))
    if unknown:
        raise BadInput(f"arms {unknown} are not among {list(arms)}.")
    if (rewarded_at < exposed_at).any() or not np.isfinite(exposed_at).all() or np.isnan(rewarded_at).any():
        raise BadInput("exposure times must be finite, and no reward may come before its exposure.")
    seen = exposed_at <= now
    ripe = seen & (exposed_at + window <= now)
    success = ripe & (rewarded_at - exposed_at <= window)
    matured, pending = {}, {}
    for arm in arms:
        own = exposed_arm == arm
        matured[arm] = int((success & own).sum()), int((ripe & own).sum())
        pending[arm] = int((seen & ~ripe & own).sum())
    return BanditState(matured, pending, prior or BetaPrior())


def allocation(state: BanditState, *, floor: float = 0.0) -> dict[str, float]:
    """Share of the next units for each arm: its exact posterior probability to be the best (W. R. Thompson 1933).

    Args:
        state: What is known.
        floor: Least share of every arm, so that none is starved by early bad luck.

    Raises:
        BadInput: The floor is negative, or leaves nothing to share out.

    >>> state = BanditState({"a": (10, 100), "b": (10, 100)}, {"a": 0, "b": 0}, BetaPrior())
    >>> round(allocation(state)["a"], 6)
    0.5
    """
    count = len(state.matured)
    if not 0 <= floor * count <= 1:
        raise BadInput(f"a floor of {floor} for {count} arms is not a share.")
    chances = probability_best({arm: state.posterior(arm) for arm in state.matured})
    return {arm: floor + (1 - floor * count) * chance for arm, chance in chances.items()}


def choose(shares: Mapping[str, float], units: int, *, rng: np.random.Generator) -> npt.NDArray[np.object_]:
    """Draw the arms of the next units, shape [units]."""
    return rng.choice(np.array(list(shares), dtype=object), size=units, p=list(shares.values()))
