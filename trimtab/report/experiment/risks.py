"""What could go wrong with acting on this report, each derived from a measured value."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from trimtab.report import words
from trimtab.report.document import Cell, Paragraph, Part, Table, head, row
from trimtab.report.experiment import numbers
from trimtab.report.experiment.headline import primary_effect
from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.words import Tone

Level = Literal["high", "medium", "low"]
WEEK_DAYS = 7
_USED_UP = 0.5  # A guardrail that may use up half of its margin is worth watching.
_TONES: dict[Level, Tone] = {"high": "bad", "medium": "neutral", "low": "neutral"}


@dataclass(frozen=True, slots=True)
class Risk:
    """One risk.

    Attributes:
        level: How much it matters to the decision.
        name: What it is.
        found: What was measured.
        answer: What to do about it.
    """

    level: Level
    name: str
    found: str
    answer: str


def risks(report: ExperimentReport) -> tuple[Risk, ...]:
    """All risks, the gravest first."""
    found = [*_of_rules(report), *_of_data(report)]
    if report.healthy:
        found += [*_of_effect(report), *_of_money(report), *_of_metrics(report)]
    order: dict[Level, int] = {"high": 0, "medium": 1, "low": 2}
    return tuple(sorted(found, key=lambda risk: order[risk.level]))


def risk_section(report: ExperimentReport) -> Part:
    """The risks as a table."""
    found = risks(report)
    if not found:
        return Part("risks", "Risks", "Risks", (Paragraph("Nothing in the measured values calls for a warning."),))
    rows = tuple(row(risk.name, Cell(risk.level, tone=_TONES[risk.level]), risk.found, risk.answer) for risk in found)
    return Part("risks", "Risks", "Risks", (Table(head("Risk", "Weight", "~Measured", "~What to do"), rows),))


def _of_rules(report: ExperimentReport) -> Iterator[Risk]:
    subject = report.analysis.experiment
    if subject.changes:
        yield Risk(
            "high",
            "Rules changed",
            f"{numbers.count(len(subject.changes), 'rule')} of the declared spec changed: "
            f"{'; '.join(subject.changes)}.",
            "Ask whether the change was made after looking at the data; if it was, repeat the experiment.",
        )
    elif not report.locked:
        yield Risk(
            "low",
            "Rules not locked",
            "No spec was locked before the start, so nothing shows that the rules were not fitted to the data.",
            "Lock a spec before the next experiment.",
        )


def _of_data(report: ExperimentReport) -> Iterator[Risk]:
    health, days = report.analysis.health, {day.day for day in report.analysis.days}
    for problem in health.problems:
        yield Risk("high", "Faulty data", problem, "Find the cause before reading an effect.")
    if not days:
        yield Risk(
            "medium",
            "Novelty unknown",
            "There is no effect by day, so it may be wearing off or confined to a few days.",
            "Give the column of the exposure's time, and watch the effect during the launch.",
        )
    elif len(days) < WEEK_DAYS:
        yield Risk(
            "medium",
            "Short",
            f"The data cover {numbers.count(len(days), 'day')}, so not a whole week.",
            "Run whole weeks.",
        )


def _of_effect(report: ExperimentReport) -> Iterator[Risk]:
    effect, found = primary_effect(report), report.comparison
    if effect is None or found is None:
        return
    power, asked = found.power, report.spec.power
    if power is not None and power < asked:
        size = words.percent(report.spec.minimum_relative_effect, 1)
        shown = report.analysis.verdict.decision == "ship"
        yield Risk(
            "medium",
            "Low power",
            f"The experiment had {words.percent(power, 0)} power for the declared effect of {size}; "
            f"{words.percent(asked, 0)} was planned."
            + (" Effects that such an experiment finds tend to be overestimated." if shown else ""),
            f"Plan with the low end of the interval ({effect.bounds})." if shown else "Plan a larger experiment.",
        )
    moved = [line for line in report.analysis.sensitivity if line.moves and line.treatment == report.treatment]
    if moved:
        named = "; ".join(f"{line.variation}: {words.VERDICTS[line.decision].lower()}" for line in moved)
        yield Risk("medium", "Depends on choices", f"The verdict would move with {named}.", "Weigh it as a close call.")


def _of_money(report: ExperimentReport) -> Iterator[Risk]:
    case = report.case
    if case is None:
        return
    if case.net.low < 0 <= case.net.high:
        yield Risk(
            "medium",
            "May not pay",
            f"At the low end of the effect's interval the first year nets {numbers.money(case.net.low)}.",
            "Launch in phases, and measure again before the cost is spent.",
        )
    seen = len({day.day for day in report.analysis.days})
    basis = numbers.count(seen, "day") if seen else "a test of unstated length"
    yield Risk(
        "low",
        "Extrapolated",
        f"A year's benefit is drawn from {basis}; prices, traffic and the effect are taken to stay.",
        "Keep a holdout and repeat the arithmetic with what it shows.",
    )


def _of_metrics(report: ExperimentReport) -> Iterator[Risk]:
    alpha = report.analysis.experiment.alpha
    for name, metric in report.analysis.metrics.items():
        found = next((one for one in metric.comparisons if one.treatment == report.treatment), None)
        if found is None or metric.role == "primary":
            continue
        worse = (found.absolute.estimate < 0) == (metric.direction == "higher") and found.absolute.estimate != 0
        change, bounds = numbers.shown(metric, found)
        if worse and found.p_value_adjusted < alpha:
            inside = f", inside its margin of {words.percent(metric.margin, 0)}" if _inside(report, name) else ""
            yield Risk(
                "medium",
                f"{name} deteriorates",
                f"{name} is worse by {change.lstrip('+−')} ({bounds}){inside}.",
                "Accept it knowingly, or mend it before the last phase of the launch.",
            )
        elif found.noninferiority is not None and found.noninferiority.worst > _USED_UP * metric.margin:
            worst = words.percent(found.noninferiority.worst, 1)
            yield Risk(
                "low",
                f"{name} near its margin",
                f"{name} may be worse by up to {worst}, of {words.percent(metric.margin, 1)} tolerated.",
                "Watch it at every phase of the launch.",
            )


def _inside(report: ExperimentReport, name: str) -> bool:
    arm = report.arm_verdict
    return arm is not None and any(line.name == f"guardrail {name}" and line.status == "pass" for line in arm.criteria)
