"""What an effect is worth: conversions, revenue, net benefit, return and payback, each with the effect's interval.

Linear extrapolation: the effect of the experiment is taken to hold for a year and for all units. The interval carries
the uncertainty of the effect only, not of prices, traffic, or of how long the effect lasts.
"""

from dataclasses import dataclass
from math import isfinite

from trimtab.errors import BadInput
from trimtab.experiments.effects import Comparison
from trimtab.types import Interval


@dataclass(frozen=True, slots=True)
class BusinessInputs:
    """Figures that the business supplies.

    Attributes:
        units_per_year: Units that would meet the treatment in a year.
        value_per_conversion: Revenue or margin of one conversion; 1 for a metric that is money per unit already.
        one_off_cost: Cost to build and launch.
        yearly_cost: Cost to run for a year.
        share: Share of the units that get the treatment, 0 to 1.
    """

    units_per_year: float
    value_per_conversion: float
    one_off_cost: float = 0.0
    yearly_cost: float = 0.0
    share: float = 1.0

    def __post_init__(self) -> None:
        figures = (self.units_per_year, self.value_per_conversion, self.one_off_cost, self.yearly_cost, self.share)
        if not all(isfinite(figure) and figure >= 0 for figure in figures) or self.share > 1:
            raise BadInput(f"business figures {figures} must be finite and not negative, and the share at most 1.")


@dataclass(frozen=True, slots=True)
class BusinessCase:
    """What a year with the treatment brings.

    Attributes:
        conversions: Additional conversions a year.
        revenue: Additional revenue a year.
        cost: Cost of the first year.
        net: Revenue less cost in the first year.
        return_on_investment: Net over cost; None where there is no cost. 3.0 is 300%.
        payback_months: Months until the revenue has paid the first year's cost; None where it never does.
        surely_positive: Whether the whole interval of the net benefit is above zero.
    """

    conversions: Interval
    revenue: Interval
    cost: float
    net: Interval
    return_on_investment: Interval | None
    payback_months: float | None
    surely_positive: bool


def business_case(effect: Interval, inputs: BusinessInputs) -> BusinessCase:
    """Extrapolate an absolute effect per unit to a year.

    Args:
        effect: Additional conversions (or money) per unit, with its interval.
        inputs: The business's figures.

    Raises:
        BadInput: The effect is not finite.

    >>> case = business_case(Interval(0.0128, 0.006, 0.019), BusinessInputs(4e6, 75, one_off_cost=950_000))
    >>> round(case.revenue.estimate), round(case.payback_months, 1)
    (3840000, 3.0)
    """
    if not all(map(isfinite, (effect.estimate, effect.low, effect.high))):
        raise BadInput(f"an effect of {effect} has no finite interval.", remedy="Use a two-sided interval.")
    conversions = _scaled(effect, inputs.units_per_year * inputs.share)
    revenue = _scaled(conversions, inputs.value_per_conversion)
    cost = inputs.one_off_cost + inputs.yearly_cost
    net = Interval(revenue.estimate - cost, revenue.low - cost, revenue.high - cost)
    payback = None
    if revenue.estimate > 0 or cost == 0:
        payback = 12 * cost / revenue.estimate if cost > 0 else 0.0
    return BusinessCase(
        conversions=conversions,
        revenue=revenue,
        cost=cost,
        net=net,
        return_on_investment=_scaled(net, 1 / cost) if cost > 0 else None,
        payback_months=payback,
        surely_positive=net.low > 0,
    )


def effect_of(comparison: Comparison) -> Interval:
    """The absolute effect of a comparison as an interval."""
    return Interval(comparison.absolute.estimate, comparison.absolute.low, comparison.absolute.high)


def revenue_effect(control_rate: float, treatment_rate: float, control_value: float, treatment_value: float) -> float:
    """Additional revenue per unit where both the rate and the value of a conversion change.

    >>> round(revenue_effect(0.10, 0.11, 50.0, 51.0), 2)
    0.61
    """
    return treatment_rate * treatment_value - control_rate * control_value


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(interval.estimate * factor, interval.low * factor, interval.high * factor)
