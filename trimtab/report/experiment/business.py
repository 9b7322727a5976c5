"""The section on money: the arithmetic from the effect to a year's net benefit, one step a line."""

from dataclasses import dataclass

from trimtab.experiments.spec import Business
from trimtab.report import words
from trimtab.report.document import Block, Cell, Paragraph, Part, Table, head, row
from trimtab.report.experiment import numbers
from trimtab.report.experiment.model import ExperimentReport
from trimtab.types import Interval


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the arithmetic.

    Attributes:
        name: What is computed.
        rule: How, in words with the numbers.
        result: With the effect's interval; None where it is undefined.
        unit: `per unit`, `count`, `money`, `share` or `months`.
    """

    name: str
    rule: str
    result: Interval | None
    unit: str


def steps(report: ExperimentReport) -> tuple[Step, ...]:
    """From the effect to the payback; empty where there is no business case or the data may not be read."""
    case, figures, found = report.case, report.spec.business, report.comparison
    if case is None or figures is None or found is None or not report.healthy:
        return ()
    what, unit = _gain(report)
    effect = Interval(*(value / figures.units_per_year for value in _ends(case.conversions))) \
        if figures.units_per_year else Interval(0.0, 0.0, 0.0)  # fmt: skip
    made = [
        Step(f"Additional {what} per {unit}", f"{report.treatment} less {found.control}", effect, "per unit"),
        Step(f"Additional {what} a year", f"× {numbers.exact(figures.units_per_year)} {unit}s a year",
             case.conversions, "count"),
        Step("Additional revenue a year", f"× {figures.value_per_conversion:,g} each", case.revenue, "money"),
        Step("Net benefit of the first year", f"− {numbers.exact(case.cost)} cost ({_cost(figures)})",
             case.net, "money"),
    ]  # fmt: skip
    if case.cost > 0:
        made.append(
            Step("Return on investment", f"÷ {numbers.exact(case.cost)} cost", case.return_on_investment, "share")
        )
        made.append(Step("Months to payback", "12 × cost ÷ revenue", _payback(case.cost, case.revenue), "months"))
    return tuple(made)


def business(report: ExperimentReport) -> Part:
    """What a year with the treatment is worth."""
    made, figures = steps(report), report.spec.business
    if figures is None:
        text = "No business figures were declared (users a year, value, cost), so the effect has no price here."
    elif not report.healthy:
        text = "No business case is made of an effect that may be a fault of the data."
    elif not made:
        text = "There is no effect on the primary metric to price."
    else:
        return Part("business", "Business", "Business impact", (*_blocks(report, made),))
    return Part("business", "Business", "Business impact", (Paragraph(text),))


def summary_sentence(report: ExperimentReport) -> str:
    """The business case in one sentence; empty where there is none."""
    case = report.case
    if case is None or not report.healthy:
        return ""
    text = (
        f"A year with {report.treatment} is worth {numbers.money(case.revenue.estimate)} of additional revenue; minus "
        f"{numbers.money(case.cost)} of cost, a net benefit of {numbers.money(case.net.estimate)} "
        f"({numbers.money_bounds(case.net)})"
    )
    sure = "all of the interval is above zero" if case.surely_positive else "the interval does not rule out a loss"
    return f"{text}; {sure}."


def _blocks(report: ExperimentReport, made: tuple[Step, ...]) -> list[Block]:
    level = words.percent(1 - report.analysis.experiment.alpha, 0)
    rows = tuple(
        row(step.name, step.rule, *([_form(step.unit, value) for value in _ends(step.result)] if step.result else
            ["never", "", ""]))
        for step in made
    )  # fmt: skip
    places = [step.name for step in made].index("Net benefit of the first year")
    blocks: list[Block] = [
        Paragraph(summary_sentence(report)),
        Table(head("Step", "How", "#Estimate", "#Low", "#High"), rows, f"Low and high: the {level} interval of the "
              "effect, carried through", places),
        Paragraph(
            "The effect is taken to hold for a year and for all units. The interval holds the uncertainty of the "
            "effect only, not of prices, of traffic, or of how long the effect lasts.", muted=True,
        ),
    ]  # fmt: skip
    if report.several:
        blocks.append(_others(report))
    return blocks


def _others(report: ExperimentReport) -> Table:
    rows = tuple(
        row(arm, Cell(numbers.money(case.net.estimate), numbers.money_bounds(case.net)), numbers.money(case.cost))
        for arm, case in report.analysis.business.items()
    )
    return Table(head("Treatment", "#Net benefit of the first year", "#Cost"), rows)


def _gain(report: ExperimentReport) -> tuple[str, str]:
    what = "conversions" if report.primary.kind == "binary" else report.analysis.experiment.primary
    return what, report.spec.unit


def _cost(figures: Business) -> str:
    return f"{numbers.exact(figures.one_off_cost)} once, {numbers.exact(figures.yearly_cost)} a year"


def _payback(cost: float, revenue: Interval) -> Interval | None:
    """Months, worst bound last; None where the estimate never pays back, infinite where a bound does not."""
    if revenue.estimate <= 0:
        return None
    months = [12 * cost / value if value > 0 else float("inf") for value in _ends(revenue)]
    return Interval(*months)


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.estimate, interval.low, interval.high


def _form(unit: str, value: float) -> str:
    if unit == "per unit":
        return numbers.significant(value, 4, signed=True)
    if unit == "share":
        return words.percent(value, 0)
    if unit == "months":
        return "never" if value == float("inf") else words.decimal(value, 1)
    return numbers.exact(value)
