"""Non-inferiority: showing that a metric is not worse than control by more than a margin.

A guardrail that is merely "not significantly worse" proves nothing when the data are few. Here the hypothesis to refute
is that the treatment is worse by the margin, so few data mean that safety is not shown.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from scipy import stats

from trimtab.errors import BadInput
from trimtab.experiments.effects import Alternative, Comparison, Direction, Reference, check_alpha, statistic_of
from trimtab.experiments.proportions import Proportion
from trimtab.experiments.score import difference_interval, difference_statistic


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Result of a one-sided test against a margin.

    Attributes:
        margin: Tolerated deterioration, positive: in the metric's unit, or of control's value where `relative`.
        relative: Whether the margin is relative.
        statistic: Z, or t; larger speaks for safety.
        p_value: P-value of the hypothesis that the treatment is worse by the margin or more.
        worst: One-sided confidence bound of the deterioration, in the margin's unit; negative is an improvement.
        shown: Whether the p-value is below alpha.
        alpha: One-sided level.
    """

    margin: float
    relative: bool
    statistic: float
    p_value: float
    worst: float
    shown: bool
    alpha: float


def noninferior_proportions(
    control: Proportion,
    treatment: Proportion,
    *,
    margin: float,
    alpha: float = 0.025,
    direction: Direction = "higher",
    method: Literal["wald", "score"] = "score",
) -> NonInferiority:
    """Test two rates against an absolute margin.

    `wald` takes the unpooled variance (as Blackwelder 1982 does), `score` the one under the hypothesis (Farrington and
    Manning 1990, with the factor N / (N - 1) of Miettinen and Nurminen 1985).

    Args:
        control: Control's counts.
        treatment: The treatment's counts.
        margin: Tolerated deterioration of the rate, in (0, 1).
        alpha: One-sided level.
        direction: Whether a higher or a lower rate is better.
        method: Variance of the statistic.

    Raises:
        BadInput: Margin or alpha lie outside (0, 1).

    >>> result = noninferior_proportions(Proportion(950, 1000), Proportion(940, 1000), margin=0.02)
    >>> round(result.p_value, 6)
    0.164906
    """
    check_alpha(alpha)
    if not 0 < margin < 1:
        raise BadInput(f"the margin is {margin}; it must lie in (0, 1).")
    sign = 1.0 if direction == "higher" else -1.0
    gain = sign * (treatment.rate - control.rate)
    error = (control.variance + treatment.variance) ** 0.5
    if method == "wald":
        statistic = statistic_of(gain + margin, error)
        worst = -gain + float(stats.norm.isf(alpha)) * error
    else:
        counts = (control.successes, control.n, treatment.successes, treatment.n)
        statistic = sign * difference_statistic(*counts, difference=-sign * margin)
        side: Alternative = "greater" if direction == "higher" else "less"
        low, high = difference_interval(*counts, alpha=alpha, alternative=side)
        worst = -low if direction == "higher" else high
    p_value = float(stats.norm.sf(statistic))
    return NonInferiority(margin, False, statistic, p_value, worst, p_value < alpha, alpha)


def noninferior(
    comparison: Comparison,
    *,
    margin: float,
    relative: bool = True,
    alpha: float = 0.025,
    direction: Direction = "higher",
) -> NonInferiority:
    """Test any comparison against a margin.

    The statistic is (gain + margin) over the effect's standard error, absolute or relative by the delta method.

    Args:
        comparison: Treatment against control, of plain or adjusted estimates.
        margin: Tolerated deterioration, positive: 0.02 is 2% of control's value where `relative`, else 0.02 units.
        relative: Whether the margin is relative.
        alpha: One-sided level.
        direction: Whether higher or lower is better.

    Raises:
        BadInput: The margin is not positive, or it is relative and control's value is zero.
    """
    check_alpha(alpha)
    if not (isfinite(margin) and margin > 0):
        raise BadInput(f"the margin is {margin}; it must be positive.")
    effect = comparison.relative if relative else comparison.absolute
    if effect is None:
        raise BadInput(
            "a relative margin has no meaning where control's value is zero.", remedy="Give an absolute one."
        )
    sign = 1.0 if direction == "higher" else -1.0
    gain = sign * effect.estimate
    reference = Reference(alpha, "greater", comparison.degrees_of_freedom)
    statistic = statistic_of(gain + margin, effect.standard_error)
    p_value = reference.p_value(statistic)
    worst = -gain + reference.critical * effect.standard_error
    return NonInferiority(margin, relative, statistic, p_value, worst, p_value < alpha, alpha)
