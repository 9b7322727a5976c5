"""What an executive reads: one sentence, a handful of cards, and what to do now."""

from dataclasses import dataclass
from math import ceil

from scipy import stats

from trimtab.experiments.analysis.result import Health
from trimtab.experiments.criteria import Criterion
from trimtab.report import words
from trimtab.report.document import Block, Bullets, Note, Paragraph, Part
from trimtab.report.experiment import numbers
from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.words import Card


@dataclass(frozen=True, slots=True)
class PrimaryEffect:
    """The primary effect by the interval that the declared method promises.

    Attributes:
        estimate: Size and sign.
        bounds: Of the interval.
        interval: What sort of interval, e.g. `95% interval`.
        direction: `rose by`, `fell by` or `did not move`.
        size: Size without a sign.
    """

    estimate: str
    bounds: str
    interval: str
    direction: str
    size: str

    @property
    def sentence(self) -> str:
        """What the metric did."""
        moved = self.direction if self.direction == "did not move" else f"{self.direction} {self.size}"
        return f"{moved} ({self.interval} {self.bounds})"


def primary_effect(report: ExperimentReport) -> PrimaryEffect | None:
    """The primary effect of the treatment that the verdict is about; None where the data allow no comparison."""
    metric, found = report.primary, report.comparison
    if found is None:
        return None
    level = words.percent(1 - report.analysis.experiment.alpha, 0)
    if found.sequential is not None or found.always_valid is not None:
        plan = found.sequential or found.always_valid
        assert plan is not None
        low, high, point = plan.low, plan.high, plan.estimate
        bounds = numbers.bounds(low, high, lambda number: numbers.absolute(metric.kind, number))
        estimate, bounds = numbers.absolute(metric.kind, point), bounds.replace(" points to ", " to ")
        kind = f"{level} interval that allows for the looks"
    else:
        point = found.absolute.estimate
        estimate, bounds = numbers.shown(metric, found)
        kind = f"{level} interval"
    direction = "rose by" if point > 0 else "fell by" if point < 0 else "did not move"
    return PrimaryEffect(estimate, bounds, kind, direction, estimate.lstrip("+−"))


def lead(report: ExperimentReport) -> str:
    """The one sentence to read."""
    verdict, primary = report.analysis.verdict, report.analysis.experiment.primary
    if not report.healthy:
        return "Hold: the data of this experiment do not pass their checks, so it has no winner."
    effect = primary_effect(report)
    if verdict.decision == "ship" and effect is not None:
        best = f", the best of {len(report.analysis.verdict.arms)} treatments" if report.several else ""
        return f"Ship {report.treatment}{best}: {primary} {effect.sentence}."
    start = f"Roll back {report.treatment}" if verdict.decision == "roll_back" else "Hold"
    if effect is None:
        return f"{start}: {verdict.reasons[0]}"
    return f"{start}: {primary} {effect.sentence}{_but(report)}."


def _but(report: ExperimentReport) -> str:
    """What kept it from shipping, as clauses; a primary metric that is worse has said so."""
    arm = report.arm_verdict
    lines = [line for line in arm.criteria if line.status != "pass"] if arm else []
    if report.analysis.verdict.decision == "roll_back":
        lines = [line for line in lines if line.name.startswith("guardrail") and line.status == "fail"]
    if any(line.name == "statistical" for line in lines):
        lines = [line for line in lines if line.name != "practical"]
    clauses = [clause for line in lines if (clause := _clause(line))]
    return f", {numbers.joined(clauses)}" if clauses else ""


def _clause(line: Criterion) -> str:
    if line.name.startswith("guardrail"):
        name = line.name.removeprefix("guardrail ")
        return f"{name} {'is' if line.status == 'fail' else 'may be'} worse than its margin"
    if line.status == "fail":
        return {"revenue": "the first year does not pay"}.get(line.name, "")
    return {
        "statistical": "which chance may explain",
        "practical": "less than was declared to matter",
        "bayesian": "not probable enough to be better",
        "revenue": "not shown to pay in the first year",
    }.get(line.name, "")


def cards(report: ExperimentReport) -> tuple[Card, ...]:
    """The headlines: verdict, effect, guardrails, money, data."""
    found = [_verdict_card(report), _effect_card(report), _guardrail_card(report), _money_card(report)]
    return (*(card for card in found if card is not None), _data_card(report))


def recommendation(report: ExperimentReport) -> Part:
    """The verdict, why, and what to do."""
    verdict, subject = report.analysis.verdict, report.analysis.experiment
    tone = words.TONES[verdict.decision] if report.healthy else "bad"
    blocks: list[Block] = [Note(f"{words.VERDICTS[verdict.decision]}.", verdict.reasons, tone)]
    if subject.hypothesis:
        blocks.append(Paragraph(f"Expected beforehand: {subject.hypothesis}"))
    blocks += [Paragraph("What to do now:"), Bullets(next_steps(report), numbered=True)]
    return Part("recommendation", "Verdict", "Recommendation", tuple(blocks))


def next_steps(report: ExperimentReport) -> tuple[str, ...]:
    """What follows from the verdict."""
    if not report.healthy:
        return _repairs(report.analysis.health)
    decision = report.analysis.verdict.decision
    if decision == "ship":
        return (
            f"Launch {report.treatment} in the phases of the launch plan; begin each only when its gate holds.",
            "Keep a small share on control while it ramps up, so that the effect can be measured again.",
        )
    if decision == "roll_back":
        return (
            f"Send all units back to {report.analysis.experiment.control} now.",
            "Find out why it did harm before another version is tried; test that as a new experiment.",
        )
    return _while_open(report)


def _repairs(health: Health) -> tuple[str, ...]:
    """How to find what is wrong; from what the checks measured, not from their words."""
    found = []
    if health.srm.mismatch:
        found.append(
            "Find why the arms do not have their shares: compare them by day, device and log source, and look for "
            "redirects, filtered bots, and events that one arm loses or sends late. Weighting the arms does not help."
        )
    if any(not line.balanced for lines in health.balance.values() for line in lines):
        found.append(
            "Find why the arms differed before the start: no treatment can cause that, so assignment or logging did."
        )
    if any(trend.present for trend in health.novelty.values()):
        found.append("Let it run until the effect is steady, and judge the days after that.")
    return (
        *found,
        "Mend whatever else the validity checks name, and only then read the effects.",
        "Run it again under a new name, so that units are assigned anew.",
    )


def _while_open(report: ExperimentReport) -> tuple[str, ...]:
    arm = report.arm_verdict
    status = {line.name: line.status for line in arm.criteria} if arm else {}
    steps = []
    if status.get("statistical") == "open":
        steps.append(_more_units(report))
    elif "fail" in status.values():
        failed = numbers.joined([name for name, value in status.items() if value == "fail"])
        steps.append(f"Do not launch while the data speak against: {failed}.")
    if status.get("practical") == "open" and status.get("statistical") == "pass":
        steps.append("Decide whether an effect of this size is worth its upkeep; it is below what was declared.")
    guards = [name.removeprefix("guardrail ") for name, value in status.items() if name.startswith("guardrail")
              and value == "open"]  # fmt: skip
    if guards:
        steps.append(f"Collect enough units to show that {numbers.joined(guards)} stays within its margin, or mend it.")
    return tuple(steps) or (f"Keep {report.analysis.experiment.control} and collect data.",)


def _more_units(report: ExperimentReport) -> str:
    found, control = report.comparison, report.analysis.experiment.control
    if found is None:
        return f"Keep {control} and collect data in every arm."
    if found.sequential is not None and not found.sequential.stop:
        return "Keep it running to the next look; the looks are paid for."
    if found.always_valid is not None:
        return "Keep it running if the answer is worth the traffic; the interval allows looking at any time."
    wanted = units_needed(report)
    if wanted is None:
        return f"Keep {control}. To ask again, declare the smallest effect that matters and design for it."
    size = words.percent(report.spec.minimum_relative_effect, 1)
    seen = sum(report.primary.arms[arm].units for arm in (found.control, found.treatment))
    if wanted > seen:
        return (
            f"Keep {control}. To find an effect of {size} with {words.percent(report.spec.power, 0)} power, plan a new "
            f"experiment of about {wanted:,} units (this one had {seen:,}); running this one on until it is "
            "significant would not keep the error rate."
        )
    return (
        f"Keep {control}: the experiment was large enough to find an effect of {size} with "
        f"{words.percent(report.spec.power, 0)} power. Try something bolder."
    )


def units_needed(report: ExperimentReport) -> int | None:
    """Units in both arms that find the declared effect with the declared power, at the variance that was seen.

    From (z of alpha + z of power)^2 times variance over effect^2; None where no effect was declared.
    """
    found, spec = report.comparison, report.spec
    if found is None or spec.minimum_relative_effect <= 0:
        return None
    arms = report.primary.arms
    target = spec.minimum_relative_effect * abs(arms[found.control].value)
    if target == 0 or found.absolute.standard_error == 0:
        return None
    tail = spec.alpha / (1 if spec.alternative == "one-sided" else 2)
    reach = float(stats.norm.isf(tail) + stats.norm.ppf(spec.power))
    seen = arms[found.control].units + arms[found.treatment].units
    return ceil(seen * (reach * found.absolute.standard_error / target) ** 2)


def _verdict_card(report: ExperimentReport) -> Card:
    decision = report.analysis.verdict.decision
    if not report.healthy:
        return Card("Verdict", "Hold", "no winner until the data pass their checks.", "bad", "recommendation")
    sentence = {
        "ship": f"{report.treatment} meets everything that shipping asks for.",
        "roll_back": f"{report.treatment} does harm.",
        "hold": "not everything that shipping asks for is shown.",
    }[decision]
    return Card("Verdict", words.VERDICTS[decision], sentence, words.TONES[decision], "recommendation")


def _effect_card(report: ExperimentReport) -> Card:
    name, effect = report.analysis.experiment.primary, primary_effect(report)
    if not report.healthy:
        return Card(f"Effect on {name}", "Not read", "effects of faulty data mislead.", "neutral", "effects")
    if effect is None:
        return Card(f"Effect on {name}", "None", "the data allow no comparison.", "neutral", "effects")
    found = report.comparison
    assert found is not None
    before, after = (
        numbers.value(report.primary.kind, report.primary.arms[arm].value) for arm in (found.control, found.treatment)
    )
    seen = f"from {before} to {after}"
    if found.sequential is not None or found.always_valid is not None:
        seen = f"{before} and {after} over all units so far"
    sentence = f"{seen}; {effect.interval} {effect.bounds}."
    figure = effect.estimate.replace(" points", " pt")
    return Card(f"Effect on {name}", figure, sentence, _effect_tone(report), "effects")


def _effect_tone(report: ExperimentReport) -> words.Tone:
    arm = report.arm_verdict
    status = next((line.status for line in arm.criteria if line.name == "statistical"), "open") if arm else "open"
    tones: dict[str, words.Tone] = {"pass": "good", "fail": "bad"}
    return tones.get(status, "neutral")


def _guardrail_card(report: ExperimentReport) -> Card | None:
    arm = report.arm_verdict
    lines = [line for line in arm.criteria if line.name.startswith("guardrail")] if arm else []
    if not lines or not report.healthy:
        return None
    safe = sum(line.status == "pass" for line in lines)
    if safe == len(lines):
        sentence, tone = "shown to stay within the margins.", "good"
    elif any(line.status == "fail" for line in lines):
        broken = numbers.joined([line.name.removeprefix("guardrail ") for line in lines if line.status == "fail"])
        sentence, tone = f"shown to be safe; {broken} is worse than its margin.", "bad"
    else:
        unsure = numbers.joined([line.name.removeprefix("guardrail ") for line in lines if line.status == "open"])
        sentence, tone = f"shown to be safe; {unsure} may be worse than its margin.", "neutral"
    return Card("Guardrails", f"{safe} of {len(lines)}", sentence, tone, "guardrails")  # type: ignore[arg-type]


def _money_card(report: ExperimentReport) -> Card | None:
    case = report.case
    if case is None or not report.healthy:
        return None
    tone: words.Tone = "good" if case.surely_positive else "bad" if case.net.high < 0 else "neutral"
    sentence = f"net benefit ({numbers.money_bounds(case.net)})"
    if case.return_on_investment is not None:
        sentence += f"; return {words.percent(case.return_on_investment.estimate, 0)}"
    if case.payback_months is not None and case.cost > 0:
        sentence += f"; pays back in {case.payback_months:.1f} months"
    figure = numbers.money(case.net.estimate).replace(" million", "M")
    return Card("First year", figure, f"{sentence}.", tone, "business")


def _data_card(report: ExperimentReport) -> Card:
    health = report.analysis.health
    count, ratio = len(health.problems), f"sample ratio {numbers.p_value(health.srm.p_value)}"
    if count:
        figure = numbers.count(count, "problem")
        return Card("Data", figure, f"stop the verdict; {ratio}." if count > 1 else f"stops the verdict; {ratio}.",
                    "bad", "validity")  # fmt: skip
    units = sum(health.counts.values())
    return Card("Data", "Valid", f"{units:,} units pass every check; {ratio}.", "good", "validity")
