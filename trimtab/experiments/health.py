"""Whether an experiment's data may be believed at all. An unhealthy experiment has no winner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from scipy import stats

from trimtab.errors import BadInput

SRM_ALPHA = 0.01  # One false alarm in a hundred experiments, for mismatches that would otherwise pass unseen.


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Do the arms hold the shares of units that they were configured to?

    Attributes:
        p_value: Of the chi-square goodness-of-fit test.
        statistic: Pearson's chi-square.
        degrees_of_freedom: Arms with a positive weight, less one.
        expected: Expected number of units by arm.
        unexpected: Arms that hold units though their weight is zero.
        mismatch: Whether p is below the threshold, or an arm holds units that it should not.
    """

    p_value: float
    statistic: float
    degrees_of_freedom: int
    expected: dict[str, float]
    unexpected: tuple[str, ...]
    mismatch: bool


def sample_ratio(
    counts: Mapping[str, int], weights: Mapping[str, float], *, threshold: float = SRM_ALPHA
) -> SampleRatio:
    """Test for a sample-ratio mismatch in one phase (a change of weights is a new phase).

    Pearson's chi-square against the configured weights, over the arms with a positive weight (Fabijan et al. 2019,
    "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments"). No units at all are no mismatch: p = 1.

    Args:
        counts: Units by arm.
        weights: Configured weight by arm; they need not add up to one.
        threshold: A p-value below it is a mismatch.

    Raises:
        BadInput: An arm is not configured, fewer than two weights are positive, or a number is negative or not finite.

    >>> round(sample_ratio({"a": 821588, "b": 815482}, {"a": 0.5, "b": 0.5}).statistic, 4)
    22.7744
    """
    unknown = sorted(set(counts) - set(weights))
    if unknown:
        raise BadInput(f"arms {unknown} are not configured.", remedy=f"Configured arms: {sorted(weights)}.")
    for arm, weight in weights.items():
        count = counts.get(arm, 0)
        if not (isfinite(weight) and weight >= 0 and isfinite(count) and count >= 0):
            raise BadInput(f"arm '{arm}' has weight {weight} and {count} units; neither may be negative or infinite.")
    running = [arm for arm, weight in weights.items() if weight > 0]
    if len(running) < 2:
        raise BadInput(f"only {len(running)} arm has a positive weight.", remedy="Give weights of two or more arms.")
    unexpected = tuple(arm for arm, count in counts.items() if count > 0 and weights[arm] == 0)
    observed = np.array([counts.get(arm, 0) for arm in running], dtype=float)
    shares = np.array([weights[arm] for arm in running], dtype=float)
    expected = observed.sum() * shares / shares.sum()
    statistic = float(((observed - expected) ** 2 / expected).sum()) if observed.sum() > 0 else 0.0
    p_value = float(stats.chi2.sf(statistic, len(running) - 1))
    return SampleRatio(
        p_value=p_value,
        statistic=statistic,
        degrees_of_freedom=len(running) - 1,
        expected=dict(zip(running, expected.tolist(), strict=True)),
        unexpected=unexpected,
        mismatch=p_value < threshold or bool(unexpected),
    )


@dataclass(frozen=True, slots=True)
class PhasedSampleRatio:
    """Sample-ratio tests of an experiment whose weights changed while it ran.

    Attributes:
        p_value: Of all phases together.
        statistic: Sum of the phases' statistics.
        degrees_of_freedom: Sum of the phases' degrees of freedom.
        phases: The test of each phase, in order.
        mismatch: Whether the phases together, or an arm without weight in one of them, show a mismatch.
    """

    p_value: float
    statistic: float
    degrees_of_freedom: int
    phases: tuple[SampleRatio, ...]
    mismatch: bool


def sample_ratio_by_phase(
    phases: Sequence[tuple[Mapping[str, int], Mapping[str, float]]], *, threshold: float = SRM_ALPHA
) -> PhasedSampleRatio:
    """Test all phases together, each against its own weights.

    Units are counted in the phase of their first exposure, so phases are independent and their chi-squares add up.
    Pooling the counts instead would call every ramp a mismatch.

    Args:
        phases: Units by arm, and weight by arm, of each phase.
        threshold: A p-value below it is a mismatch.

    Raises:
        BadInput: There is no phase, or one of them is wrong.

    >>> ramp = [({"a": 900, "b": 100}, {"a": 9, "b": 1}), ({"a": 500, "b": 500}, {"a": 1, "b": 1})]
    >>> sample_ratio_by_phase(ramp).mismatch
    False
    """
    if not phases:
        raise BadInput("there is no phase to test.")
    tests = tuple(sample_ratio(counts, weights, threshold=threshold) for counts, weights in phases)
    statistic = sum(test.statistic for test in tests)
    freedom = sum(test.degrees_of_freedom for test in tests)
    p_value = float(stats.chi2.sf(statistic, freedom))
    mismatch = p_value < threshold or any(test.unexpected for test in tests)
    return PhasedSampleRatio(p_value, statistic, freedom, tests, mismatch)
