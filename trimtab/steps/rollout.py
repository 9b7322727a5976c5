"""Starts a rollout and takes it from one decision to the next.

Each decision is recorded before anything is done about it, in the audit log and with the tracker, and the world is then
made to follow (`rollout_converge`). A process that dies in between loses nothing: the next one goes on from the record.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trimtab.errors import BadInput
from trimtab.ports import Ports
from trimtab.rollout.audit import AuditEntry, dump_entry
from trimtab.rollout.machine import advance
from trimtab.rollout.observation import Command, Decision
from trimtab.rollout.plan import RolloutPlan, dump_plan
from trimtab.rollout.state import RolloutState, begin
from trimtab.steps.rollout_converge import converge
from trimtab.steps.rollout_observe import observe

TRACKED = "rollouts"  # The tracker's experiment that holds one run per rollout.


@dataclass(frozen=True, slots=True)
class Config:
    """Which rollout to drive.

    Attributes:
        name: Name of the rollout.
        known_until: Outcomes are known until then; until now where absent.
        follow: Make the world follow. Whoever only decides leaves that to the process that holds the servers.
    """

    name: str
    known_until: datetime | None = None
    follow: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """What a step did.

    Attributes:
        name: Name of the rollout.
        model: Registered model.
        state: The state from now on.
        decision: What was decided.
        drained: Whether the rollout has ended and the arm that lost is gone.
        servers: Where each arm is served.
    """

    name: str
    model: str
    state: RolloutState
    decision: Decision
    drained: bool
    servers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Status:
    """A rollout at a glance.

    Attributes:
        name: Name of the rollout.
        plan: The plan.
        state: The state.
        decisions: The newest decisions that were more than to hold, and the very newest; oldest first.
        waiting: A command that nobody has answered yet.
    """

    name: str
    plan: RolloutPlan
    state: RolloutState
    decisions: tuple[Decision, ...]
    waiting: Command | None


def start(plan: RolloutPlan, ports: Ports) -> RolloutState:
    """Pin the versions and keep the rollout; nothing is deployed yet. One that was started before goes on.

    Args:
        plan: The plan.
        ports: Uses `registry` and `rollouts`.

    Raises:
        NotFound: The model has no such version.
        BadInput: A rollout of that name runs by another plan, or another one runs for the model.
    """
    if plan.name in ports.rollouts.names():
        if dump_plan(ports.rollouts.plan(plan.name)) != dump_plan(plan):
            raise BadInput(
                f"rollout '{plan.name}' was started with another plan.",
                remedy="Rules do not change while data come in: abort it, or give the new plan a name of its own.",
            )
        return ports.rollouts.state(plan.name)
    for name in ports.rollouts.names():
        if ports.rollouts.plan(name).model == plan.model and not ports.rollouts.state(name).over:
            raise BadInput(
                f"rollout '{name}' of model '{plan.model}' has not ended.",
                remedy="A model's users can be divided by one rollout at a time: wait for it, or abort it.",
            )
    versions = [ports.registry.resolve(plan.model, reference).version for reference in (plan.control, plan.treatment)]
    state = begin(plan, control=versions[0], treatment=versions[1], now=_now())
    ports.rollouts.create(plan, state)
    return state


def run(config: Config, ports: Ports) -> Result:
    """See what is known, decide, record it, and make the world follow.

    Args:
        config: The configuration.
        ports: The ports. The caller drives the rollout (`ports.rollouts.driving`).

    Raises:
        NotFound: There is no such rollout.
        Unavailable: A server or a service does not answer.
    """
    plan, state = ports.rollouts.plan(config.name), ports.rollouts.state(config.name)
    now = _now()
    seen = observe(plan, state, ports, now=now, known_until=config.known_until)
    after, decision = advance(plan, state, seen)
    news = after != state or decision.action != "hold" or seen.command is not None
    if news and not state.over:
        entry = AuditEntry(seen, decision, after)
        ports.rollouts.record(plan.name, entry)
        if decision.action != "hold" or seen.look is not None:
            _track(plan, entry, ports)
    if not config.follow:
        return Result(plan.name, plan.model, after, decision, drained=False, servers={})
    found = converge(plan, after, ports, now=_now(), command=seen.command)
    servers = {arm: endpoint.url for arm, endpoint in found.endpoints.items()}
    return Result(plan.name, plan.model, after, decision, found.drained, servers)


def ask(name: str, command: Command, ports: Ports) -> None:
    """Leave a command for whoever drives a rollout.

    Raises:
        NotFound: There is no such rollout.
        BadInput: It has ended.
    """
    state = ports.rollouts.state(name)
    if state.over:
        raise BadInput(f"rollout '{name}' has ended: {state.status.replace('_', ' ')}.")
    ports.rollouts.ask(name, command)


def status(name: str, ports: Ports, *, newest: int = 10) -> Status:
    """A rollout at a glance.

    Raises:
        NotFound: There is no such rollout.
    """
    decisions = [entry.decision for entry in ports.rollouts.audit(name)]
    return Status(
        name,
        ports.rollouts.plan(name),
        ports.rollouts.state(name),
        _telling(decisions)[-newest:],
        ports.rollouts.next_command(name),
    )


def _telling(decisions: Sequence[Decision]) -> tuple[Decision, ...]:
    last = len(decisions) - 1
    return tuple(one for place, one in enumerate(decisions) if one.action != "hold" or place == last)


def _track(plan: RolloutPlan, entry: AuditEntry, ports: Ports) -> None:
    """Record a decision with its evidence in the tracker's run of this rollout."""
    decision, taken = entry.decision, len(entry.state.looks)
    moment = decision.time.strftime("%Y%m%dT%H%M%S%f")
    with (
        ports.tracker.run(plan.name, experiment=TRACKED, resume=True) as tracked,
        tempfile.TemporaryDirectory() as folder,
    ):
        tracked.tags(
            {
                "model": plan.model,
                "control_version": str(entry.state.control),
                "treatment_version": str(entry.state.treatment),
                "status": decision.after,
                "decision": decision.action,
                "reason": " ".join(decision.reasons)[:500],
            }
        )
        tracked.metrics({**decision.numbers, "treated_weight": decision.weight}, step=taken)
        evidence = Path(folder) / f"{moment}-{decision.action}.json"
        evidence.write_bytes(dump_entry(entry))
        tracked.artifact(evidence, folder="decisions")


def _now() -> datetime:
    return datetime.now(UTC)
