"""An experiment's numbers as people write them."""

from collections.abc import Callable
from math import floor, isfinite, log10

from trimtab.experiments.analysis.result import ArmComparison, MetricResult
from trimtab.experiments.effects import Effect
from trimtab.experiments.spec import MetricKind
from trimtab.report import words
from trimtab.types import Interval

_MILLION = 1e6


def significant(value: float, digits: int = 4, *, signed: bool = False) -> str:
    """A number with so many digits that count, thousands separated, never in scientific notation.

    >>> significant(1.21578), significant(1234.5), significant(-0.0012345, 3)
    ('1.216', '1,234', '−0.00123')
    """
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - floor(log10(abs(value))))
    text = f"{value:{'+' if signed else ''},.{decimals}f}"
    return text.replace("-", "−")


def value(kind: MetricKind, number: float) -> str:
    """The value of a metric in one arm.

    >>> value("binary", 0.1512), value("mean", 72.4512)
    ('15.12%', '72.45')
    """
    return words.percent(number, 2) if kind == "binary" else significant(number)


def absolute(kind: MetricKind, number: float) -> str:
    """A difference between two arms: in points of a rate, else in the metric's unit.

    >>> absolute("binary", 0.01282)
    '+1.28 points'
    """
    if kind == "binary":
        return words.percent(number, 2, signed=True).removesuffix("%") + " points"
    return significant(number, 3, signed=True)


def relative(number: float) -> str:
    """A relative effect, with as many decimals as its size deserves.

    >>> relative(0.0848), relative(0.0012)
    ('+8.5%', '+0.12%')
    """
    return words.percent(number, 1 if abs(number) >= 0.01 else 2, signed=True)


def bounds(low: float, high: float, form: Callable[[float], str]) -> str:
    """The bounds of an interval, one of which may be open.

    >>> bounds(0.012, float("inf"), relative)
    'above +1.2%'
    """
    if not isfinite(high):
        return f"above {form(low)}" if isfinite(low) else "anything"
    return f"{form(low)} to {form(high)}" if isfinite(low) else f"below {form(high)}"


def shown(metric: MetricResult, comparison: ArmComparison) -> tuple[str, str]:
    """Effect and bounds of a comparison: relative where control's value is not zero."""
    if comparison.relative is None:
        return absolute_text(metric, comparison.absolute)
    effect = comparison.relative
    return relative(effect.estimate), bounds(effect.low, effect.high, relative)


def absolute_text(metric: MetricResult, effect: Effect) -> tuple[str, str]:
    """An absolute effect and its bounds."""

    def form(number: float) -> str:
        return absolute(metric.kind, number)

    return form(effect.estimate), bounds(effect.low, effect.high, form).replace(" points to ", " to ")


def p_value(number: float) -> str:
    """A p-value with three digits that count, and a floor.

    >>> p_value(0.00155), p_value(0.287), p_value(1e-9)
    ('p = 0.00155', 'p = 0.287', 'p < 0.0001')
    """
    return "p < 0.0001" if number < 1e-4 else f"p = {plain_p(number)}"


def plain_p(number: float) -> str:
    """A p-value for a column that is headed so."""
    return "< 0.0001" if number < 1e-4 else f"{number:.3g}" if number < 0.9995 else "1"


def money(amount: float, *, signed: bool = False) -> str:
    """An amount as a headline has it.

    >>> money(3_859_941), money(-950_000), money(12_345)
    ('3.86 million', '−950,000', '12,345')
    """
    sign = "+" if signed else ""
    text = f"{amount / _MILLION:{sign}.2f} million" if abs(amount) >= _MILLION else f"{amount:{sign},.0f}"
    return text.replace("-", "−")


def exact(amount: float) -> str:
    """An amount to the unit.

    >>> exact(-950_000.4)
    '−950,000'
    """
    return f"{amount:,.0f}".replace("-", "−")


def money_bounds(interval: Interval) -> str:
    """The bounds of an amount, in one unit.

    >>> money_bounds(Interval(2.9e6, 986_914, 4_833_247)), money_bounds(Interval(5.0, -10.0, 20.0))
    ('0.99 to 4.83 million', '−10 to 20')
    """
    if max(abs(interval.low), abs(interval.high)) >= _MILLION:
        text = f"{interval.low / _MILLION:.2f} to {interval.high / _MILLION:.2f} million"
    else:
        text = f"{interval.low:,.0f} to {interval.high:,.0f}"
    return text.replace("-", "−")


def joined(names: tuple[str, ...] | list[str]) -> str:
    """Names as a sentence has them.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def count(number: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "unit"), count(1200, "unit")
    ('1 unit', '1,200 units')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
