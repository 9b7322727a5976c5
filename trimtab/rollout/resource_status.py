"""What a resource's status says of a rollout: a mirror of the record, for people and for `kubectl wait`.

The record is the rollout store's; nothing is ever decided by what stands in a status.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from trimtab.rollout.observation import Decision
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan
from trimtab.rollout.state import RolloutState

LOOKS = 10  # The newest ones that a status shows.
_REASONS = 5
Truth = Literal["True", "False", "Unknown"]
_PHASES = {"rolled_back": "RolledBack"}
_VERDICTS: Mapping[str, str] = {"ship": "ship", "roll_back": "roll_back", "abort": "abort"}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, as Kubernetes has them.

    Attributes:
        type: `Ready` (arms and routes are as they should be), `Progressing` (it goes on by itself), `Healthy` (no
            guardrail fails, and the data are sound) or `Decided`.
        status: Whether that is so.
        reason: Why, as one word.
        message: Why, for people.
    """

    type: Literal["Ready", "Progressing", "Healthy", "Decided"]
    status: Truth
    reason: str
    message: str = ""


def mirrored(
    plan: RolloutPlan, state: RolloutState, decision: Decision, looked: Sequence[Decision], servers: Mapping[str, str]
) -> dict[str, Any]:
    """The part of a status that follows from the record.

    Args:
        plan: The plan.
        state: The state.
        decision: The newest decision; of an ended rollout, the one that ended it.
        looked: Decisions at which a look was taken, oldest first.
        servers: Where each arm is served.
    """
    versions = {CONTROL: state.control, TREATMENT: state.treatment}
    newest = looked[-1].numbers if looked else {}
    return {
        "phase": _PHASES.get(state.status, state.status.capitalize()),
        "step": f"{state.step + 1}/{len(plan.ramp)}" if state.steps else None,
        "weight": decision.weight,
        "verdict": _VERDICTS.get(decision.action, "hold"),
        "lift": _lift(newest),
        "effect": _effect(newest),
        "looks": [_look(one) for one in looked[-LOOKS:]],
        "nextLook": _next_look(plan, state, decision),
        "reasons": list(decision.reasons[:_REASONS]),
        "controlVersion": state.control,
        "treatmentVersion": state.treatment,
        "arms": [{"name": arm, "version": versions[arm], "url": url} for arm, url in servers.items()],
        "since": timestamp(state.since),
    }


def progress(state: RolloutState, decision: Decision, *, suspended: bool = False) -> tuple[Condition, ...]:
    """The conditions that follow from the record.

    Args:
        state: The state.
        decision: The newest decision; of an ended rollout, the one that ended it.
        suspended: Whether nothing is decided for the time being.
    """
    failing = [line.reason for line in decision.criteria if line.status == "fail"]
    phase = _PHASES.get(state.status, state.status.capitalize())
    said = " ".join(decision.reasons[:_REASONS])
    if state.over:
        going, decided = Condition("Progressing", "False", "Decided"), Condition("Decided", "True", phase, said)
    else:
        going = Condition("Progressing", "False", "Suspended") if suspended else Condition("Progressing", "True", phase)
        decided = Condition("Decided", "False", "Undecided", said)
    if failing:
        healthy = Condition("Healthy", "False", "GuardrailFails", " ".join(failing))
    elif state.looks and not state.sound:
        healthy = Condition("Healthy", "False", "DataNotSound", "The newest look found problems with the data.")
    elif not decision.criteria and not state.looks:
        healthy = Condition("Healthy", "Unknown", "NothingJudged", "No look has been taken yet.")
    else:
        healthy = Condition("Healthy", "True", "NoHarmShown")
    return going, healthy, decided


def with_conditions(
    status: Mapping[str, Any], conditions: Sequence[Condition], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Conditions as a status has them: one's transition time changes with its status alone, others are kept.

    Args:
        status: The status before.
        conditions: The conditions that are known now.
        generation: Generation that they speak of.
        now: Aware time.
    """
    before = {str(one["type"]): one for one in status.get("conditions") or ()}
    for new in conditions:
        old = before.get(new.type, {})
        unchanged = old.get("status") == new.status
        before[new.type] = {
            "type": new.type,
            "status": new.status,
            "reason": new.reason,
            "message": new.message,
            "observedGeneration": generation,
            "lastTransitionTime": old["lastTransitionTime"] if unchanged else timestamp(now),
        }
    return list(before.values())


def timestamp(moment: datetime) -> str:
    """A moment as Kubernetes writes it, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _look(decision: Decision) -> dict[str, Any]:
    numbers = decision.numbers
    named = {
        "fraction": "fraction",
        "statistic": "statistic",
        "goodBound": "good_bound",
        "badBound": "bad_bound",
        "lift": "relative_effect",
    }
    figures = {name: round(numbers[key], 6) for name, key in named.items() if key in numbers}
    return {"number": int(numbers["look"]), "time": timestamp(decision.time), **figures}


def _lift(numbers: Mapping[str, float]) -> str | None:
    return f"{numbers['relative_effect']:+.1%}" if "relative_effect" in numbers else None


def _effect(numbers: Mapping[str, float]) -> dict[str, float] | None:
    named = {"estimate": "effect", "low": "effect_low", "high": "effect_high"}
    found = {name: numbers[key] for name, key in named.items() if key in numbers}
    return found or None


def _next_look(plan: RolloutPlan, state: RolloutState, decision: Decision) -> dict[str, Any] | None:
    if not state.running or state.tested:
        return None
    numbers, newest = decision.numbers, state.looks[-1] if state.looks else None
    known = int(numbers.get("enrolled", 0) - numbers.get("open_windows", 0))
    if state.status == "settling":
        return {"units": int(numbers.get("enrolled", 0)), "known": known}
    asked = int(newest.information if newest else 0) + plan.look_units
    if newest is None or not plan.looks.minutes:
        return {"units": asked, "known": known}
    return {"units": asked, "known": known, "notBefore": timestamp(newest.time + timedelta(minutes=plan.looks.minutes))}
