"""Comparisons within strata: units that were divided by other weights at other times.

Where weights change while the metric's level changes too, arms hold different mixtures of times, and their plain
difference compares times as much as treatments (Simpson's paradox). So arms are compared within each stratum, and the
differences averaged.

Estimand: the average of the strata's effects, a stratum h counting by n0 n1 / (n0 + n1) of its units in control and
treatment. Source: W. G. Cochran (1954), "Some methods for strengthening the common chi-square tests", section 5; the
weights of Mantel and Haenszel. With equal variances they are the inverse variances, so a ramp with a small share of
treated units does not blow up the interval, and looks keep independent increments; they depend on counts, never on
outcomes. Where the effect is the same in all strata, that effect is what is estimated.

Both arms' moments are standardised to these weights. Means and their covariances follow from the strata; the effective
number of units is the one that gives the standardised mean its variance (for rates J. N. K. Rao and A. J. Scott 1992,
"A simple method for the analysis of clustered binary data"). Every estimator then works as it does on plain moments.
"""

from collections.abc import Mapping

import numpy as np

from trimtab.experiments.moments import Moments

LEAST_UNITS = 2  # A stratum's variance needs two units in each arm.

Strata = Mapping[str, Moments]


def stratum_weights(control: Strata, treatment: Strata) -> dict[str, float]:
    """Weight of each stratum that can be compared; they add up to 1. Empty where none can.

    >>> one, many = (Moments.of_summary("y", n=n, mean=0.0, variance=1.0) for n in (20, 60))
    >>> stratum_weights({"ramp": many, "full": many}, {"ramp": one, "full": many})
    {'ramp': 0.3333333333333333, 'full': 0.6666666666666666}
    """
    precision = {
        name: control[name].n * treatment[name].n / (control[name].n + treatment[name].n)
        for name in control
        if name in treatment and min(control[name].n, treatment[name].n) >= LEAST_UNITS
    }
    total = sum(precision.values())
    return {name: share / total for name, share in precision.items()}


def standardise(arm: Strata, weights: Mapping[str, float], *, rate: bool = False) -> Moments:
    """One arm's moments as if its strata had the weights' shares.

    Args:
        arm: Moments by stratum, all of the same columns.
        weights: Shares that add up to 1, of strata with two units or more.
        rate: The first column holds 0 and 1, and is wanted as an effective number of successes among units.
    """
    parts = [(share, arm[name]) for name, share in weights.items()]
    mean = np.sum([share * part.mean for share, part in parts], axis=0)
    of_mean = np.sum([share**2 * part.covariance() / part.n for share, part in parts], axis=0)
    within = float(np.sum([share * part.covariance()[0, 0] for share, part in parts]))
    spread = float(mean[0] * (1 - mean[0])) if rate else within
    units = sum(part.n for _, part in parts)
    if of_mean[0, 0] > 0 and spread > 0:
        units = max(LEAST_UNITS, round(spread / float(of_mean[0, 0])))
    return Moments(parts[0][1].columns, units, mean, of_mean * (units * (units - 1)))


def equivalent_units(control: Strata, treatment: Strata, *, treated_share: float) -> float:
    """Units that would be as informative at one allocation: the information of a look over strata.

    Args:
        control: Control's moments by stratum.
        treatment: The treatment's.
        treated_share: Share of the treatment among both at the allocation that was planned.

    >>> half = Moments.of_summary("y", n=50, mean=0.0, variance=1.0)
    >>> equivalent_units({"all": half}, {"all": half}, treated_share=0.5)
    100.0
    """
    pairs = [(control[name].n, treatment[name].n) for name in stratum_weights(control, treatment)]
    return sum(one * other / (one + other) for one, other in pairs) / (treated_share * (1 - treated_share))
