"""P-values adjusted for the number of questions asked: an answer counts where its adjusted p is below alpha.

Bonferroni and Holm (1979) bound the probability of any false claim in the family; Benjamini and Hochberg (1995) bound
the expected share of false claims among the claims, for independent or positively dependent tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from trimtab.errors import BadInput
from trimtab.experiments.effects import Comparison

Correction = Literal["none", "bonferroni", "holm", "benjamini_hochberg"]


def adjust(p_values: Sequence[float], *, method: Correction = "holm") -> tuple[float, ...]:
    """Adjusted p-values in the order given.

    Args:
        p_values: P-values of the declared family.
        method: The correction.

    Raises:
        BadInput: A p-value lies outside [0, 1].

    >>> adjust([0.01, 0.04, 0.03], method="holm")
    (0.03, 0.06, 0.06)
    """
    values = np.asarray(p_values, dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise BadInput(f"p-values {tuple(p_values)} do not all lie in [0, 1].")
    count = len(values)
    if method == "none" or count == 0:
        return tuple(values.tolist())
    if method == "bonferroni":
        return tuple(np.minimum(values * count, 1.0).tolist())
    order = np.argsort(values, kind="stable")
    ranks = np.arange(1, count + 1)
    if method == "holm":
        ordered = np.maximum.accumulate(values[order] * (count - ranks + 1))
    else:
        ordered = np.minimum.accumulate((values[order] * count / ranks)[::-1])[::-1]
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(ordered, 1.0)
    return tuple(adjusted.tolist())


def adjust_family(family: Mapping[str, Comparison], *, method: Correction = "holm") -> dict[str, Comparison]:
    """The comparisons of one declared family with their adjusted p-values filled in."""
    adjusted = adjust([comparison.p_value for comparison in family.values()], method=method)
    return {
        name: replace(comparison, p_value_adjusted=value)
        for (name, comparison), value in zip(family.items(), adjusted, strict=True)
    }
