"""Does the machine keep its promises? Whole rollouts against a known truth, through the same looks and decisions.

Units arrive as a Poisson process and are divided at random. Sums of units are drawn, not units: binomial for a binary
metric, normal for a mean, which is what their tests assume. Outcomes are known once the attribution window has closed.
The clock goes in steps in which half of the units of a look arrive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from trimtab.errors import BadInput
from trimtab.experiments.analysis.evidence import Material
from trimtab.experiments.cells import Cell, UnitCheck
from trimtab.experiments.moments import Moments
from trimtab.experiments.proportions import Proportion, wilson_interval
from trimtab.rollout.look import LookResult, judge_look
from trimtab.rollout.machine import advance, is_last_look, look_due
from trimtab.rollout.observation import Observation
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan
from trimtab.rollout.service import ServiceLevel
from trimtab.rollout.state import TERMINAL, Status, begin
from trimtab.types import Interval

START = datetime(2026, 1, 5, tzinfo=UTC)
_PARTS = 2  # Steps of the clock per look.
_LONGEST = timedelta(days=1)  # A step of the clock, however few units arrive.
_P99_MS, _P99_REACH = 20.0, 1.02  # Of either arm's server, and of the ends of its interval.


@dataclass(frozen=True, slots=True)
class MetricTruth:
    """One metric as it really is.

    Attributes:
        control: Expected value of a unit in control.
        lift: Relative effect of the treatment.
        deviation: Standard deviation of a unit; of a binary metric it follows from the rate.
    """

    control: float
    lift: float = 0.0
    deviation: float = 0.0

    def value(self, arm: str) -> float:
        """Expected value of a unit of an arm."""
        return self.control * (1 + self.lift) if arm == TREATMENT else self.control


@dataclass(frozen=True, slots=True)
class Truth:
    """The world of a rollout.

    Attributes:
        metrics: Truth by metric of the plan.
        units_per_day: Eligible units that come for the first time on a day.
        failures: Share of an arm's requests that it cannot answer.
        prediction_error: By how much the treatment's predictions lie above what happens.
    """

    metrics: Mapping[str, MetricTruth]
    units_per_day: float
    failures: Mapping[str, float] = field(default_factory=dict)
    prediction_error: float = 0.0


@dataclass(frozen=True, slots=True)
class SimulatedRollout:
    """What became of one rollout.

    Attributes:
        status: How it ended.
        treated: Units that met the treatment before it was over.
        enrolled: Units in both arms.
        days: How long it took.
        looks: Looks that were taken.
        step: Place of the ramp's step where it ended.
    """

    status: Status
    treated: int
    enrolled: int
    days: float
    looks: int
    step: int


@dataclass(frozen=True, slots=True)
class Ends:
    """How many simulated rollouts ended in one way: a share with Wilson's 95% interval."""

    runs: int
    share: Interval


@dataclass(frozen=True, slots=True)
class SimulationSummary:
    """Many simulated rollouts of one truth.

    Attributes:
        runs: Rollouts.
        ends: By status.
        treated: Mean number of units that met the treatment.
        treated_quantiles: The median, and the 90th and 99th percentile.
        fixed_horizon: Units that meet the treatment in a test of the planned units with one look, once their windows
            have closed. Like `treated` it counts who comes in the meantime.
        days: Mean duration.
        looks: Mean number of looks.
    """

    runs: int
    ends: dict[str, Ends]
    treated: float
    treated_quantiles: tuple[float, float, float]
    fixed_horizon: float
    days: float
    looks: float


def simulate_rollouts(
    plan: RolloutPlan, truth: Truth, *, runs: int, rng: np.random.Generator
) -> tuple[SimulatedRollout, ...]:
    """Run many rollouts.

    Args:
        plan: The plan.
        truth: The world.
        runs: Number of rollouts.
        rng: Source of randomness.

    Raises:
        BadInput: There are no runs, the truth lacks a metric of the plan, or a metric is neither binary nor a mean.
    """
    if runs < 1:
        raise BadInput(f"{runs} runs were asked for; at least one is needed.")
    if not truth.units_per_day > 0:
        raise BadInput(f"{truth.units_per_day} units come on a day; there must be some.")
    for name, metric in plan.experiment.metrics.items():
        if metric.kind not in ("binary", "mean") or metric.before is not None:
            raise BadInput(f"metric '{name}' cannot be simulated: only binary metrics and means without a covariate.")
        if name not in truth.metrics:
            raise BadInput(f"the truth says nothing about metric '{name}'.")
        if metric.kind == "binary" and not all(0 < truth.metrics[name].value(arm) < 1 for arm in (CONTROL, TREATMENT)):
            raise BadInput(f"metric '{name}' is a rate; it must lie strictly between 0 and 1 in both arms.")
    return tuple(_World(plan, truth, rng).run() for _ in range(runs))


def summarise(plan: RolloutPlan, truth: Truth, rollouts: Sequence[SimulatedRollout]) -> SimulationSummary:
    """Count what became of rollouts.

    Args:
        plan: The plan.
        truth: The world that they met.
        rollouts: At least one.
    """
    runs, treated = len(rollouts), np.array([one.treated for one in rollouts], dtype=float)
    ends: dict[str, Ends] = {}
    for status in sorted(TERMINAL):
        count = sum(one.status == status for one in rollouts)
        ends[status] = Ends(count, Interval(count / runs, *wilson_interval(Proportion(count, runs))))
    median, high, highest = (float(value) for value in np.quantile(treated, (0.5, 0.9, 0.99)))
    return SimulationSummary(
        runs=runs,
        ends=ends,
        treated=float(treated.mean()),
        treated_quantiles=(median, high, highest),
        fixed_horizon=(plan.planned_units + truth.units_per_day * plan.window_hours / 24) * plan.split,
        days=float(np.mean([one.days for one in rollouts])),
        looks=float(np.mean([one.looks for one in rollouts])),
    )


@dataclass(slots=True)
class _Batch:
    """Units of both arms that came in one step of the clock."""

    time: datetime
    cells: dict[str, Cell]


class _World:
    """One rollout: its clock, its units and its machine."""

    def __init__(self, plan: RolloutPlan, truth: Truth, rng: np.random.Generator) -> None:
        self.plan, self.truth, self.rng = plan, truth, rng
        self.state = begin(plan.model_copy(update={"allow_same_version": True}), control=1, treatment=2, now=START)
        self.now = START
        self.open: list[_Batch] = []
        self.known = {arm: _nobody(plan, arm) for arm in (CONTROL, TREATMENT)}
        self.enrolled = {CONTROL: 0, TREATMENT: 0}
        self.treated = 0
        self.served = {CONTROL: (0, 0), TREATMENT: (0, 0)}  # Requests and failures since the step began.

    def run(self) -> SimulatedRollout:
        while not self.state.over:
            before = self.state
            self.state, _ = advance(self.plan, self.state, self._observation())
            if self.state.since != before.since:
                self.served = {CONTROL: (0, 0), TREATMENT: (0, 0)}
            if not self.state.over:
                self._pass_time()
        days = (self.now - START) / timedelta(days=1)
        return SimulatedRollout(
            self.state.status,
            self.treated,
            sum(self.enrolled.values()),
            days,
            len(self.state.looks),
            self.state.step,
        )

    def _observation(self) -> Observation:
        open_windows = sum(cell.units for batch in self.open for cell in batch.cells.values())
        enrolled = sum(self.enrolled.values())
        shadow = self.state.status == "shadow"
        levels = {arm: _level(*self.served[arm]) for arm in (CONTROL, TREATMENT) if self.served[arm][0]}
        return Observation(
            now=self.now,
            look=self._look(enrolled, open_windows),
            levels={arm: level for arm, level in levels.items() if not (shadow and arm == TREATMENT)},
            shadow={TREATMENT: levels[TREATMENT]} if shadow and TREATMENT in levels else {},
            enrolled=enrolled,
            open_windows=open_windows,
        )

    def _look(self, enrolled: int, open_windows: int) -> LookResult | None:
        if not look_due(self.plan, self.state, now=self.now, enrolled=enrolled, open_windows=open_windows):
            return None
        material = Material(
            "simulation",
            self.known,
            units=UnitCheck(enrolled - open_windows, open_windows=open_windows),
        )
        last = is_last_look(self.state, open_windows=open_windows)
        return judge_look(
            self.plan, self.state, material, now=self.now, last=last, predictions=self._predictions(), stagewise=False
        )

    def _predictions(self) -> dict[str, Moments]:
        name = self.plan.predicted
        if name is None:
            return {}
        outcome = self.known[TREATMENT].moments[name]
        predicted = self.truth.metrics[name].value(TREATMENT) + self.truth.prediction_error
        spread = np.array([[float(outcome.comoment[0, 0]), 0.0], [0.0, 0.0]])
        means = np.array([float(outcome.mean[0]), predicted])
        return {TREATMENT: Moments((*outcome.columns, "probability"), outcome.n, means, spread)}

    def _pass_time(self) -> None:
        """Let the clock run until half of the units of a look have come, or the next window closes."""
        state, plan = self.state, self.plan
        share = plan.enrolled_share(state.step) if state.running else 1.0
        wanted = plan.look_units if state.running else plan.shadow.requests if plan.shadow else 1
        per_day = self.truth.units_per_day * share
        step = min(timedelta(days=wanted / _PARTS / per_day), _LONGEST)
        begins = max(self.now, state.since)
        self.now = begins + step
        came = int(self.rng.poisson(per_day * (step / timedelta(days=1))))
        if state.running:
            self._arrive(came)
        elif plan.shadow is not None and state.status == "shadow":
            self._serve({CONTROL: came, TREATMENT: int(self.rng.binomial(came, plan.shadow.share))})
        self._close_windows()

    def _arrive(self, came: int) -> None:
        treated = int(self.rng.binomial(came, self.plan.split))
        units = {CONTROL: came - treated, TREATMENT: treated}
        self.treated += treated
        self._serve(units)
        if self.state.status == "ramping":  # Whoever comes later is served, but counts no more.
            cells = {arm: self._outcomes(arm, n) for arm, n in units.items()}
            self.open.append(_Batch(self.now, cells))
            self.enrolled = {arm: self.enrolled[arm] + n for arm, n in units.items()}

    def _serve(self, requests: Mapping[str, int]) -> None:
        for arm, n in requests.items():
            failed = int(self.rng.binomial(n, self.truth.failures.get(arm, 0.0)))
            self.served[arm] = self.served[arm][0] + n, self.served[arm][1] + failed

    def _outcomes(self, arm: str, n: int) -> Cell:
        moments = {}
        for name, metric in self.plan.experiment.metrics.items():
            truth, column = self.truth.metrics[name], metric.column or ""
            if n == 0:
                moments[name] = Moments.empty((column,))
            elif metric.kind == "binary":
                successes = int(self.rng.binomial(n, truth.value(arm)))
                moments[name] = _binary(column, successes, n)
            else:
                mean = self.rng.normal(truth.value(arm), truth.deviation / n**0.5)
                spread = truth.deviation**2 * self.rng.chisquare(n - 1) if n > 1 else 0.0
                moments[name] = Moments((column,), n, np.array([mean]), np.array([[spread]]))
        return Cell(arm, "", n, moments)

    def _close_windows(self) -> None:
        until = self.now - timedelta(hours=self.plan.window_hours)
        closed = [batch for batch in self.open if batch.time <= until]
        self.open = self.open[len(closed) :]
        for batch in closed:
            for arm, cell in batch.cells.items():
                self.known[arm] = _together(self.known[arm], cell)


def _nobody(plan: RolloutPlan, arm: str) -> Cell:
    metrics = plan.experiment.metrics
    return Cell(arm, "", 0, {name: Moments.empty((metric.column or "",)) for name, metric in metrics.items()})


def _together(cell: Cell, other: Cell) -> Cell:
    moments = {name: part.merge(other.moments[name]) for name, part in cell.moments.items()}
    return replace(cell, units=cell.units + other.units, moments=moments)


def _binary(column: str, successes: int, n: int) -> Moments:
    return Moments((column,), n, np.array([successes / n]), np.array([[successes * (n - successes) / n]]))


def _level(requests: int, failures: int) -> ServiceLevel:
    return ServiceLevel(requests, failures, _P99_MS / 2, _P99_MS, _P99_MS / _P99_REACH, _P99_MS * _P99_REACH)
