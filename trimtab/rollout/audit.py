"""The audit log of a rollout: one JSON line per decision, with what was seen, from which the state follows again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import orjson
from pydantic import TypeAdapter, ValidationError

from trimtab.errors import BadInput
from trimtab.rollout.machine import advance
from trimtab.rollout.observation import Decision, Observation
from trimtab.rollout.plan import RolloutPlan
from trimtab.rollout.state import RolloutState, begin


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One decision.

    Attributes:
        seen: What was known.
        decision: What was decided.
        state: The state from then on.
    """

    seen: Observation
    decision: Decision
    state: RolloutState


_ADAPTER = TypeAdapter(AuditEntry)


def dump_entry(entry: AuditEntry) -> bytes:
    """An entry as one line of JSON, without the line's end."""
    return orjson.dumps(asdict(entry))


def parse_entry(line: bytes, *, where: str) -> AuditEntry:
    """An entry from a line.

    Args:
        line: The JSON.
        where: Where it came from, for messages.

    Raises:
        BadInput: It is not an entry.
    """
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise BadInput(f"{where}: {place or 'the line'}: {problem['msg']}.") from error


def replay(plan: RolloutPlan, entries: Sequence[AuditEntry]) -> RolloutState:
    """The state that follows from what was seen.

    Args:
        plan: The plan.
        entries: The audit log, from its first entry on.

    Raises:
        BadInput: The log is empty, or an entry's state does not follow from what was seen.
    """
    if not entries:
        raise BadInput(f"the audit log of rollout '{plan.name}' is empty.")
    first = entries[0].state
    state = begin(plan, control=first.control, treatment=first.treatment, now=first.created)
    for number, entry in enumerate(entries, start=1):
        state, _ = advance(plan, state, entry.seen)
        if state != entry.state:
            raise BadInput(
                f"entry {number} of the audit log of rollout '{plan.name}' does not follow from the ones before it.",
                remedy="The log or the plan was changed, or another version of this program wrote it.",
            )
    return state
