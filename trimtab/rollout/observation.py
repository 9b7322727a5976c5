"""What a rollout sees at one moment, and what it decides: plain values that an audit log keeps.

JSON has neither infinity nor NaN; a level that is unknown is written as null.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import nan
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from trimtab.experiments.criteria import Criterion
from trimtab.rollout.look import LookResult
from trimtab.rollout.service import ServiceLevel

Action = Literal["start_shadow", "start_ramp", "grow", "settle", "ship", "roll_back", "hold", "end", "abort"]


def _unknown(raw: Any) -> Any:
    return {key: nan if value is None else value for key, value in raw.items()} if isinstance(raw, dict) else raw


_Level = Annotated[ServiceLevel, BeforeValidator(_unknown)]


@dataclass(frozen=True, slots=True)
class Command:
    """What a person asks for.

    Attributes:
        kind: Ship now, or give up.
        who: Who asks.
        why: The reason, for the audit log.
        time: When it was asked.
    """

    kind: Literal["promote", "abort"]
    who: str
    why: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known at one moment.

    Attributes:
        now: Aware time.
        look: A look that was just taken; None where none was due, or there was nothing new.
        levels: How each arm served the requests of its units since the state's `since`.
        shadow: How the treatment answered copies since then.
        enrolled: Units that were first exposed since the ramp began and until enrolment ended, of both arms; units
            that met both are left out, as they are from every look.
        open_windows: How many of them may still bring outcomes.
        command: What a person asks for.
        hearing_seconds: How long routers take, at most, to hear of what is decided.
    """

    now: datetime
    look: LookResult | None = None
    levels: Mapping[str, _Level] = field(default_factory=dict)
    shadow: Mapping[str, _Level] = field(default_factory=dict)
    enrolled: int = 0
    open_windows: int = 0
    command: Command | None = None
    hearing_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, with the evidence.

    Attributes:
        time: When.
        action: `start_shadow`, `start_ramp`, `grow`, `settle` (nobody is enrolled any more), `ship`, `roll_back`,
            `hold` (all stays as it is), `end` (the rollout ends without a winner) or `abort`.
        before: Status before, with the step: `ramping 1/3`.
        after: Status after.
        weight: Share of the eligible units that the treatment answers from then on.
        reasons: Why, one sentence each, the weightiest first.
        criteria: The lines of evidence that were judged.
        numbers: Figures, by name.
    """

    time: datetime
    action: Action
    before: str
    after: str
    weight: float
    reasons: tuple[str, ...]
    criteria: tuple[Criterion, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
