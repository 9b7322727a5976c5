"""Non-binding futility: when a running test is so unlikely to succeed that going on hardly pays.

The type II error is spent on lower bounds as alpha is on the upper ones (Pampallona, Tsiatis and Kim 2001, "Interim
monitoring of group sequential trials using spending functions for the type I and type II error probabilities"). The
upper bounds ignore them, so going on in spite of futility costs no type I error, only time.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from trimtab.experiments.effects import Direction
from trimtab.experiments.sequential import SequentialDesign, SequentialResult, sequential_power
from trimtab.experiments.spending import Spending


def futility_bound(
    design: SequentialDesign, information: Sequence[float], *, power: float, spending: Spending
) -> float | None:
    """Lower bound on Z, towards better, at the newest look; None from the planned end on.

    Args:
        design: The design.
        information: Information at each look so far, in the unit of the design's `planned`.
        power: Power at the planned end for the effect that the design is for.
        spending: How 1 - power is spent.

    >>> round(futility_bound(SequentialDesign(2.0), [1.0], power=0.8, spending=Spending("pocock")), 2)
    0.98
    """
    times = [amount / design.planned for amount in information]
    if times[-1] >= 1.0:
        return None
    bound = sequential_power(design, [*times, 1.0], power=power, futility=spending).futility[len(times) - 1]
    return bound if isfinite(bound) else None


def with_futility(
    result: SequentialResult,
    design: SequentialDesign,
    information: Sequence[float],
    *,
    power: float,
    spending: Spending,
    direction: Direction,
) -> SequentialResult:
    """A look that goes on, with what the futility bound says of it.

    Args:
        result: The look.
        design: The design.
        information: Information at each look so far.
        power: Power at the planned end.
        spending: How 1 - power is spent.
        direction: Whether higher or lower is better.
    """
    bound = None if result.stop else futility_bound(design, information, power=power, spending=spending)
    if bound is None:
        return result
    towards = result.statistic if direction == "higher" else -result.statistic
    futile = towards < bound
    said = f"Futility: Z towards better is {towards:.2f}, and the bound {bound:.2f} "
    said += (
        f"is not reached. If the planned effect were real, at most {1 - power:.0%} of experiments would end so; "
        "stopping is advised. The bound does not bind: going on keeps alpha."
        if futile
        else "is kept; there is no reason to give up."
    )
    return replace(result, futility=bound, futile=futile, reason=f"{result.reason} {said}")
