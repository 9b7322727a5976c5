"""Reads what an experiment logged, and says ship, roll back or hold, with the reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from trimtab.experiments.effects import Comparison, Effect
from trimtab.experiments.health import sample_ratio
from trimtab.experiments.proportions import Proportion, compare_proportions, wilson_interval
from trimtab.experiments.verdict import Criterion, Evidence, Policy
from trimtab.experiments.verdict import decide as judge
from trimtab.ports import Ports
from trimtab.types import Decision, Interval

CONVERSION = "conversion"
VALUE = "value"


@dataclass(frozen=True, slots=True)
class Config:
    """What to judge, and by which rules.

    Attributes:
        experiment: Name of the experiment in the event log.
        control: Name of the control arm.
        treatment: Name of the treatment arm.
        alpha: Significance level; intervals have confidence 1 - alpha.
        minimum_relative_effect: Relative improvement that shipping asks for.
        weights: Share of units that each arm was to be given; equal where empty.
        problem: Why the experiment cannot be judged, as the experiment step says it; empty where it can.
    """

    experiment: str
    control: str = "control"
    treatment: str = "treatment"
    alpha: float = 0.05
    minimum_relative_effect: float = 0.0
    weights: dict[str, float] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ArmOutcome:
    """What came of one arm's units.

    Attributes:
        arm: Name of the arm.
        users: Units exposed.
        conversions: Units that converted after their first exposure.
        rate: Share of units that converted, with Wilson's interval.
        value: What they brought in.
    """

    arm: str
    users: int
    conversions: int
    rate: Interval
    value: float


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict.

    Attributes:
        experiment: Name of the experiment.
        decision: `ship`, `roll_back` or `hold`.
        reasons: One sentence each, the weightiest first.
        criteria: The decision matrix.
        arms: Control, then treatment.
        absolute: Difference of the conversion rates; None without data in both arms.
        relative: The same relative to control; None where control has no conversion.
        p_value: Of the two-sided test of the difference; None without data in both arms.
        sample_ratio_p: P-value of the sample-ratio test.
        alpha: Significance level.
        method: The estimator, in words.
        moved_users: Units that were exposed in both arms.
        unexposed_outcomes: Outcomes of units without an exposure before them; they count for no arm.
    """

    experiment: str
    decision: Decision
    reasons: tuple[str, ...]
    criteria: tuple[Criterion, ...]
    arms: tuple[ArmOutcome, ...]
    absolute: Interval | None = None
    relative: Interval | None = None
    p_value: float | None = None
    sample_ratio_p: float = 1.0
    alpha: float = 0.05
    method: str = ""
    moved_users: int = 0
    unexposed_outcomes: int = 0


def run(config: Config, ports: Ports) -> Result:
    """Judge an experiment.

    A unit belongs to the arm of its first exposure, and converts where a conversion follows that exposure. Estimand:
    the difference of the probabilities that a unit converts; assumes that units do not influence each other.

    Args:
        config: The configuration.
        ports: The ports.

    Returns:
        The verdict; without data, a hold.

    Raises:
        BadInput: Alpha lies outside (0, 1), or the weights do not fit the arms.
    """
    exposures = ports.events.read(config.experiment, "exposure") if config.experiment else _no_events()
    outcomes = ports.events.read(config.experiment, "outcome") if config.experiment else _no_events()
    units = first_exposures(exposures)
    moved = int((exposures.groupby("unit")["arm"].nunique() > 1).sum())
    joined = after_exposure(outcomes, units)
    arms = tuple(_arm(arm, units, joined, config.alpha) for arm in (config.control, config.treatment))
    weights = config.weights or dict.fromkeys((config.control, config.treatment), 1.0)
    ratio = sample_ratio({str(arm): int(count) for arm, count in units["arm"].value_counts().items()}, weights)
    comparison = _compare(arms[0], arms[1], config.alpha)
    problems = _problems(config, arms, mismatch=ratio.mismatch, p_value=ratio.p_value, moved=moved)
    verdict = judge(
        Evidence(CONVERSION, comparison) if comparison else None,
        problems=problems,
        policy=Policy(alpha=config.alpha, minimum_relative_effect=config.minimum_relative_effect),
    )
    return Result(
        experiment=config.experiment,
        decision=verdict.decision,
        reasons=verdict.reasons,
        criteria=verdict.criteria,
        arms=arms,
        absolute=_interval(comparison.absolute) if comparison else None,
        relative=_interval(comparison.relative) if comparison and comparison.relative else None,
        p_value=comparison.p_value if comparison else None,
        sample_ratio_p=ratio.p_value,
        alpha=config.alpha,
        method=comparison.method if comparison else "",
        moved_users=moved,
        unexposed_outcomes=len(outcomes) - len(joined),
    )


def first_exposures(exposures: pd.DataFrame) -> pd.DataFrame:
    """`unit`, `arm` and `exposed` (time) of each unit's first exposure.

    Args:
        exposures: Exposures in time order, as the event log gives them.
    """
    first = exposures.drop_duplicates("unit")[["unit", "arm", "time"]]
    return first.rename(columns={"time": "exposed"})


def after_exposure(outcomes: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """Outcomes that follow the first exposure of their unit, with its arm.

    Args:
        outcomes: Outcomes, as the event log gives them.
        units: What `first_exposures` gives.
    """
    joined = outcomes.drop(columns="arm").merge(units, on="unit")
    return joined[joined["time"] >= joined["exposed"]]


def _arm(arm: str, units: pd.DataFrame, outcomes: pd.DataFrame, alpha: float) -> ArmOutcome:
    users = int((units["arm"] == arm).sum())
    here = outcomes[outcomes["arm"] == arm]
    conversions = int(here.loc[here["metric"] == CONVERSION, "unit"].nunique())
    value = float(here.loc[here["metric"] == VALUE, "value"].sum())
    if not users:
        return ArmOutcome(arm, 0, 0, Interval(0.0, 0.0, 1.0), value)
    proportion = Proportion(conversions, users)
    return ArmOutcome(
        arm, users, conversions, Interval(proportion.rate, *wilson_interval(proportion, alpha=alpha)), value
    )


def _compare(control: ArmOutcome, treatment: ArmOutcome, alpha: float) -> Comparison | None:
    if not (control.users and treatment.users):
        return None
    return compare_proportions(
        Proportion(control.conversions, control.users), Proportion(treatment.conversions, treatment.users), alpha=alpha
    )


def _problems(
    config: Config, arms: tuple[ArmOutcome, ...], *, mismatch: bool, p_value: float, moved: int
) -> tuple[str, ...]:
    """What forbids a judgement, whatever the effect."""
    counts: Mapping[str, int] = {arm.arm: arm.users for arm in arms}
    shown = ", ".join(f"{arm} {users:,}" for arm, users in counts.items())
    found = [config.problem] if config.problem else []
    if not all(counts.values()):
        found.append(f"Not every arm has users ({shown}).")
    elif not any(arm.conversions for arm in arms):
        found.append("No conversion was logged for either arm.")
    if mismatch:
        found.append(f"The arms do not hold the users that they should ({shown}; sample-ratio test p = {p_value:.2g}).")
    if moved:
        found.append(f"{moved:,} users were served by both arms.")
    return tuple(found)


def _interval(effect: Effect) -> Interval:
    return Interval(effect.estimate, effect.low, effect.high)


def _no_events() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=object) for name in ("id", "unit", "arm", "time", "metric", "value")})
