"""One look at a running rollout: is the treatment shown to be better, or worse, or neither yet?

Good news and bad news have tests of their own, each one-sided at alpha / 2. Good news spends its error as O'Brien and
Fleming's bounds do, nearly all at the planned end, so a version ships early only where it is much better. Bad news
spends its error evenly (Pocock's way), so that a worse version is taken back early. Neither test needs the other to
stop where it says so, so overruling either costs no error rate of the other.

Earlier looks enter as they were recorded. Guardrails are judged by repeated intervals: harm at the level that bad news
has at this look, shared by all guardrails (Bonferroni); safety at the level that good news has, shared by none, because
shipping asks for all of them at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trimtab.errors import BadInput
from trimtab.experiments import criteria
from trimtab.experiments.analysis.checks import check
from trimtab.experiments.analysis.compare import Choices, compare_bayes, compare_cells, compare_part, compare_summaries
from trimtab.experiments.analysis.evidence import Material
from trimtab.experiments.analysis.judge import policy
from trimtab.experiments.analysis.over_time import daily_effects, look_information
from trimtab.experiments.business import BusinessInputs, business_case, effect_of
from trimtab.experiments.criteria import Criterion, Evidence
from trimtab.experiments.effects import Comparison
from trimtab.experiments.moments import Moments
from trimtab.experiments.sequential import SequentialResult, analyse
from trimtab.experiments.spec import ExperimentSpec
from trimtab.experiments.verdict import health_line
from trimtab.rollout.calibration import calibration
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan
from trimtab.rollout.state import RecordedLook, RolloutState, experiment_of
from trimtab.types import Decision, Interval

LEAST_LEVEL = 1e-12  # Of an interval; early bounds of O'Brien and Fleming lie where no t quantile can be computed.
_NO_NEWS = 1e-6  # Growth of the information that is no new look.


@dataclass(frozen=True, slots=True)
class LookResult:
    """What a look says.

    Attributes:
        number: Which look it is, from 1 on.
        time: When it was taken.
        information: Units that would be as informative at the plan's weights.
        fraction: That over the planned units.
        statistic: Z of the primary metric, treatment minus control.
        units: Units by arm whose outcome is known.
        effect: Treatment minus control on the primary metric. While the tests go on, the plain estimate with the ends
            of both tests' repeated intervals; once one has stopped, median-unbiased with the stage-wise interval. None
            without data.
        relative: The plain estimate over control's value; None where that is zero.
        good_bound: Z towards better that ships.
        bad_bound: Z towards worse that takes back.
        level: One-sided nominal level of good news.
        last: Whether all of alpha is spent, so that nothing may be tested any more.
        decision: `roll_back` where harm is shown, `hold` where the data are not sound or do not tell yet, or `ship`.
        reasons: Why, one sentence each.
        criteria: The whole decision matrix.
        problems: What forbids a winner, one sentence each.
    """

    number: int
    time: datetime
    information: float
    fraction: float
    statistic: float
    units: Mapping[str, int]
    effect: Interval | None
    relative: float | None
    good_bound: float
    bad_bound: float
    level: float
    last: bool
    decision: Decision
    reasons: tuple[str, ...]
    criteria: tuple[Criterion, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Tests:
    """Both tests at this look."""

    number: int
    information: float
    good: SequentialResult
    bad: SequentialResult
    guard_level: float


def judge_look(
    plan: RolloutPlan,
    state: RolloutState,
    material: Material,
    *,
    now: datetime,
    last: bool = False,
    predictions: Mapping[str, Moments] | None = None,
    stagewise: bool = True,
) -> LookResult | None:
    """Judge what is known by now.

    Args:
        plan: The plan.
        state: The state, with the looks so far.
        material: The data, read by the rules of `experiment_of`.
        now: Aware time of the look.
        last: Nobody is enrolled any more and every window is closed, so this look gets all of alpha that is left.
        predictions: Joint moments of outcome and prediction by arm, read by `calibration_request`.
        stagewise: Work out the stage-wise interval of a test that has stopped; the decision does not need it.

    Returns:
        The result; None where there is nothing new to judge, which the last look never says.

    Raises:
        BadInput: All of alpha was spent at an earlier look, or an arm in the data is not one of the rollout's.
    """
    if state.tested:
        raise BadInput(f"the last look of rollout '{plan.name}' has been taken; nothing may be tested any more.")
    spec = _rules(plan, state, now)
    strange = sorted(set(material.arms) - {CONTROL, TREATMENT})
    if strange:
        raise BadInput(f"the events of rollout '{plan.name}' name the arm '{strange[0]}', which it does not have.")
    found = compare_part(spec, spec.primary or "", material.arms, TREATMENT)
    tests = None if found is None else _test(plan, spec, state.looks, material, found, last=last)
    if found is None or tests is None:
        return _without_data(state, material, now) if last else None
    matrix = _matrix(plan, spec, state, material, found, tests=tests, now=now, predictions=predictions or {})
    problems = check(spec, material, plan.weights, daily_effects(spec, material, (TREATMENT,))).problems
    decision, reasons = _decide(matrix, problems)
    return LookResult(
        number=tests.number,
        time=now,
        information=tests.information,
        fraction=tests.good.look.fraction,
        statistic=found.statistic,
        units=material.counts,
        effect=_effect(plan, state.looks, found, tests, last=last, stagewise=stagewise),
        relative=None if found.relative is None else found.relative.estimate,
        good_bound=tests.good.look.bound,
        bad_bound=tests.bad.look.bound,
        level=tests.good.look.nominal_p,
        last=last or tests.information >= plan.planned_units,
        decision=decision,
        reasons=reasons,
        criteria=(health_line(problems), *matrix),
        problems=problems,
    )


def _rules(plan: RolloutPlan, state: RolloutState, now: datetime) -> ExperimentSpec:
    """The experiment's rules at this look.

    The sample-ratio test spends its alpha over the looks, alpha / (k (k + 1)) at the k-th. How long the rollout must
    last is a condition of shipping, and no problem of the data.
    """
    spec = experiment_of(plan, state, outcomes="", until=now)
    number = len(state.looks) + 1
    return spec.model_copy(
        update={"sample_ratio_alpha": spec.sample_ratio_alpha / (number * (number + 1)), "minimum_days": 0}
    )


def _test(
    plan: RolloutPlan,
    spec: ExperimentSpec,
    earlier: Sequence[RecordedLook],
    material: Material,
    found: Comparison,
    *,
    last: bool,
) -> _Tests | None:
    """Both tests; None where nothing was learnt since the look before."""
    information = look_information(spec, material.arms, TREATMENT, found)
    if earlier and information <= earlier[-1].information * (1 + _NO_NEWS):
        if not last:
            return None
        # The look before turns out to have been the last: its bound then gets the alpha that is left.
        earlier, information = earlier[:-1], earlier[-1].information
    times = [*(look.information for look in earlier), information]
    statistics = [*(look.statistic for look in earlier), found.statistic]
    error = found.absolute.standard_error
    good, bad = (
        analyse(design, times, statistics, standard_error=error, final=last, stagewise=False)
        for design in (plan.good_news, plan.bad_news())
    )
    shared = plan.bad_news(questions=plan.guardrails).looks(times, final=last)[-1].nominal_p
    return _Tests(len(times), information, good, bad, shared)


def _matrix(
    plan: RolloutPlan,
    spec: ExperimentSpec,
    state: RolloutState,
    material: Material,
    found: Comparison,
    *,
    tests: _Tests,
    now: datetime,
    predictions: Mapping[str, Moments],
) -> tuple[Criterion, ...]:
    """Every line but health; the first is good news, the second bad news."""
    primary = spec.primary or ""
    rules, evidence = policy(spec), Evidence(primary, found, plan.better)
    lines = [_better(evidence, tests.good), _worse(evidence, tests.bad)]
    if rules.minimum_relative_effect > 0:
        lines.append(criteria.practical(evidence, rules))
    if spec.bayes.decides:
        lines.append(
            criteria.bayesian(compare_bayes(spec, primary, material.arms[CONTROL], material.arms[TREATMENT]), rules)
        )
    if spec.business is not None:
        money = spec.business
        figures = BusinessInputs(
            money.units_per_year, money.value_per_conversion, money.one_off_cost, money.yearly_cost
        )
        lines.append(criteria.revenue(business_case(effect_of(found), figures), rules))
    if plan.experiment.minimum_days:
        lines.append(_long_enough(plan, state, now))
    good, bad = max(tests.good.look.nominal_p, LEAST_LEVEL), max(tests.guard_level, LEAST_LEVEL)
    lines += [_guardrail(spec, material, name, good=good, bad=bad) for name in plan.metric_guardrails]
    if plan.service.calibration is not None:
        margin = plan.service.calibration.margin
        lines.append(calibration(predictions.get(TREATMENT), margin=margin, good=good, bad=bad))
    return tuple(lines)


def _decide(matrix: Sequence[Criterion], problems: Sequence[str]) -> tuple[Decision, tuple[str, ...]]:
    """Harm first, whatever state the data are in: taking back is what is safe. Then health, then what is missing."""
    harm = tuple(line.reason for line in matrix if line.status == "fail" and line.name.startswith(_HARM))
    if harm:
        return "roll_back", harm
    if problems:
        return "hold", tuple(problems)
    short = tuple(line.reason for line in matrix if line.status != "pass")
    return ("hold", short) if short else ("ship", tuple(line.reason for line in matrix))


_HARM = ("worse", "guardrail")


def _better(evidence: Evidence, test: SequentialResult) -> Criterion:
    asked = f"Z towards better >= {test.look.bound:.2f} at {test.look.fraction:.0%} of the plan"
    reason = f"{evidence.metric} changed by {evidence.change}. Good news: {test.reason}"
    return Criterion("better", asked, f"Z = {test.statistic:.2f}", "pass" if test.crossed else "open", reason)


def _worse(evidence: Evidence, test: SequentialResult) -> Criterion:
    asked = f"Z towards worse < {test.look.bound:.2f} at {test.look.fraction:.0%} of the plan"
    reason = f"{evidence.metric} changed by {evidence.change}. Bad news: {test.reason}"
    return Criterion("worse", asked, f"Z = {test.statistic:.2f}", "fail" if test.crossed else "pass", reason)


def _long_enough(plan: RolloutPlan, state: RolloutState, now: datetime) -> Criterion:
    least = plan.experiment.minimum_days
    days = (now - (state.steps[0] if state.steps else state.since)) / timedelta(days=1)
    reason = f"Units have met the treatment for {days:.1f} days; at least {least} were declared."
    return Criterion(
        "duration", f"at least {least} days", f"{days:.1f} days", "pass" if days >= least else "open", reason
    )


def _guardrail(spec: ExperimentSpec, material: Material, name: str, *, good: float, bad: float) -> Criterion:
    """One metric guardrail: harm is judged by the interval's end at `bad`, safety by the other at `good`."""
    strict, plain = (_compare(spec, material, name, alpha=2 * level) for level in (bad, good))
    metric = spec.metrics[name]
    if strict is None or plain is None:
        reason = f"Guardrail {name} has no data to judge."
        return Criterion(f"guardrail {name}", f"worse by less than {metric.margin:.2%}", "no data", "open", reason)
    if strict.relative is not None and plain.relative is not None:
        ends = (plain.relative.low, strict.relative.high)
        if metric.direction == "lower":
            ends = (strict.relative.low, plain.relative.high)
        strict = replace(strict, relative=replace(strict.relative, low=ends[0], high=ends[1]))
    return criteria.guardrail(Evidence(name, strict, metric.direction, metric.margin))


def _compare(spec: ExperimentSpec, material: Material, name: str, *, alpha: float) -> Comparison | None:
    """A guardrail's comparison at a level; None where there is too little to compare."""
    try:
        if spec.metrics[name].kind == "quantile":
            arms = material.quantiles.get(name, {})
            if CONTROL not in arms or TREATMENT not in arms:
                return None
            rules = spec.model_copy(update={"alpha": alpha})
            return compare_summaries(rules, name, arms[CONTROL], arms[TREATMENT])
        return compare_cells(spec, name, material.arms[CONTROL], material.arms[TREATMENT], Choices(alpha=alpha))
    except BadInput:  # Fewer than two units with a value in an arm, or a ratio whose denominator is zero.
        return None


def _effect(
    plan: RolloutPlan,
    earlier: Sequence[RecordedLook],
    found: Comparison,
    tests: _Tests,
    *,
    last: bool,
    stagewise: bool,
) -> Interval:
    estimate, error = found.absolute.estimate, found.absolute.standard_error
    stopped = plan.bad_news() if tests.bad.crossed else plan.good_news if tests.good.stop else None
    if stagewise and stopped is not None:
        kept = earlier[: tests.number - 1]
        result = analyse(
            stopped,
            [*(look.information for look in kept), tests.information],
            [*(look.statistic for look in kept), found.statistic],
            standard_error=error,
            final=last,
        )
        return Interval(result.estimate, result.low, result.high)
    below, above = (tests.good, tests.bad) if plan.better == "higher" else (tests.bad, tests.good)
    return Interval(estimate, estimate - below.look.bound * error, estimate + above.look.bound * error)


def _without_data(state: RolloutState, material: Material, now: datetime) -> LookResult:
    """The last look where no unit's outcome is known in one of the arms."""
    line = Criterion("better", "data in both arms", "no data", "open", "There are no data to judge.")
    return LookResult(
        number=len(state.looks) + 1,
        time=now,
        information=0.0,
        fraction=0.0,
        statistic=0.0,
        units=material.counts,
        effect=None,
        relative=None,
        good_bound=0.0,
        bad_bound=0.0,
        level=0.0,
        last=True,
        decision="hold",
        reasons=(line.reason,),
        criteria=(line,),
    )
