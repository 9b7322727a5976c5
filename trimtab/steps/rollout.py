"""Starts a rollout and takes it from one decision to the next.

Each decision is recorded in the audit log before anything is done about it; the world is then made to follow
(`rollout_converge`), and the tracker is given a copy. A process that dies in between loses nothing of the rollout: the
next one goes on from the record. A tracker that is away keeps no user with a version that was taken back.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from trimtab.errors import BadInput, NotFound, TrimtabError
from trimtab.ports import Ports
from trimtab.rollout.audit import AuditEntry, dump_entry
from trimtab.rollout.machine import advance
from trimtab.rollout.observation import Command, Decision
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan, dump_plan
from trimtab.rollout.state import RolloutState, begin
from trimtab.steps.rollout_converge import converge, server_name
from trimtab.steps.rollout_observe import observe

TRACKED = "rollouts"  # The tracker's experiment that holds one run per rollout.


@dataclass(frozen=True, slots=True)
class Config:
    """Which rollout to drive.

    Attributes:
        name: Name of the rollout.
        known_until: Outcomes are known until then; by the plan's time of reporting where absent.
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
        untracked: Why the tracker has not heard of every decision; empty where it has. The next step tells it.
    """

    name: str
    model: str
    state: RolloutState
    decision: Decision
    drained: bool
    servers: dict[str, str]
    untracked: str = ""


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
        BadInput: A rollout of that name runs by another plan, another one of the model has not ended or has shipped a
            version that is not champion yet, or another one's servers have the same names.
    """
    with ports.rollouts.starting():
        if plan.name in ports.rollouts.names():
            if dump_plan(ports.rollouts.plan(plan.name)) != dump_plan(plan):
                raise BadInput(
                    f"rollout '{plan.name}' was started with another plan.",
                    remedy="Rules do not change while data come in: abort it, or give the new plan a name of its own.",
                )
            return ports.rollouts.state(plan.name)
        _check_others(plan, ports)
        control, treatment = (
            ports.registry.resolve(plan.model, reference).version for reference in (plan.control, plan.treatment)
        )
        state = begin(plan, control=control, treatment=treatment, now=_now())
        ports.rollouts.create(plan, state)
        return state


def _check_others(plan: RolloutPlan, ports: Ports) -> None:
    """Whether the rollouts so far leave room for this one."""
    earlier: list[RolloutState] = []
    for name in ports.rollouts.names():
        other, state = ports.rollouts.plan(name), ports.rollouts.state(name)
        if server_name(other, CONTROL) == server_name(plan, CONTROL):
            raise BadInput(
                f"the servers of rollout '{plan.name}' would be named like those of rollout '{name}'.",
                remedy="Choose a name that differs in more than '.', '_' and '-'.",
            )
        if other.model != plan.model:
            continue
        if not state.over:
            raise BadInput(
                f"rollout '{name}' of model '{plan.model}' has not ended.",
                remedy="A model's users can be divided by one rollout at a time: wait for it, or abort it.",
            )
        earlier.append(state)
    newest = max(earlier, key=lambda state: state.created, default=None)
    if newest is not None and newest.status == "shipped" and not _promoted(plan.model, newest, ports):
        raise BadInput(
            f"rollout '{newest.name}' of model '{plan.model}' has shipped version {newest.treatment}, but the alias "
            "has not moved yet.",
            remedy="Start that rollout once more: it goes on from there.",
        )


def _promoted(model: str, shipped: RolloutState, ports: Ports) -> bool:
    """Whether the version that a rollout shipped has become champion since."""
    version = ports.registry.resolve(model, str(shipped.treatment))
    if version.tags.get("promoted_after") == shipped.name:
        return True
    try:
        return ports.registry.resolve(model, "champion").version == shipped.treatment
    except NotFound:
        return False


def run(config: Config, ports: Ports) -> Result:
    """See what is known, decide, record it, and make the world follow.

    Args:
        config: The configuration.
        ports: The ports. The caller drives the rollout (`ports.rollouts.driving`).

    Raises:
        NotFound: There is no such rollout.
        Unavailable: A server or a service does not answer; for the tracker alone, the result says so.
    """
    plan, state = ports.rollouts.plan(config.name), ports.rollouts.state(config.name)
    if config.follow and state.status == "pending" and ports.rollouts.next_command(plan.name) is None:
        converge(plan, state, ports, clock=_now)  # Servers may take minutes, and what is decided starts on time.
    seen = observe(plan, state, ports, now=_now(), known_until=config.known_until)
    after, decision = advance(plan, state, seen)
    news = not state.over and (after != state or decision.action != "hold" or seen.command is not None)
    entry = AuditEntry(seen, decision, after)
    if news:
        ports.rollouts.record(plan.name, entry)
    try:
        result = _followed(config, plan, entry, ports)
    finally:
        untracked = _track_news(plan, ports)
    return replace(result, untracked=untracked)


def superseded(name: str, ports: Ports) -> bool:
    """Whether a rollout has ended and a later one has the model's users, so that route and aliases are the later one's.

    Args:
        name: Name of the rollout.
        ports: Uses `rollouts`.

    Raises:
        NotFound: There is no such rollout.
    """
    state, model = ports.rollouts.state(name), ports.rollouts.plan(name).model
    return state.over and any(
        ports.rollouts.plan(other).model == model and ports.rollouts.state(other).created > state.created
        for other in ports.rollouts.names()
    )


def _followed(config: Config, plan: RolloutPlan, entry: AuditEntry, ports: Ports) -> Result:
    """Make the world follow a decision, where that is asked for and still this rollout's business."""
    decision, state = entry.decision, entry.state
    if not config.follow:
        return Result(plan.name, plan.model, state, decision, drained=False, servers={})
    if superseded(plan.name, ports):
        return Result(plan.name, plan.model, state, decision, drained=True, servers={})
    command = _answered(plan.name, ports) if state.over else None
    found = converge(plan, state, ports, clock=_now, command=command)
    if found.drained:
        _remove_earlier(plan, state, ports)
    servers = {arm: endpoint.url for arm, endpoint in found.endpoints.items()}
    return Result(plan.name, plan.model, state, decision, found.drained, servers)


def _remove_earlier(plan: RolloutPlan, state: RolloutState, ports: Ports) -> None:
    """The servers of earlier rollouts of the model: the last of them answered everyone until this rollout began."""
    for name in ports.rollouts.names():
        other = ports.rollouts.plan(name)
        if other.model == plan.model and ports.rollouts.state(name).created < state.created:
            for arm in (CONTROL, TREATMENT):
                ports.deployer.remove(server_name(other, arm), model=other.model, rollout=other.name)


def _answered(name: str, ports: Ports) -> Command | None:
    """The command that ended a rollout, also where another process obeyed it; None where no person did."""
    return next((entry.seen.command for entry in ports.rollouts.audit(name) if entry.state.over), None)


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
    state = ports.rollouts.state(name)
    waiting = None if state.over else ports.rollouts.next_command(name)
    return Status(name, ports.rollouts.plan(name), state, _telling(decisions)[-newest:], waiting)


def _telling(decisions: Sequence[Decision]) -> tuple[Decision, ...]:
    last = len(decisions) - 1
    return tuple(one for place, one in enumerate(decisions) if one.action != "hold" or place == last)


def _track_news(plan: RolloutPlan, ports: Ports) -> str:
    """Record what the tracker has not heard of: the newest decision, and those of a time when it was away.

    Returns:
        Why it could not be told; empty where it was. The audit log is the record, so nobody has to wait for this one.
    """
    entries, told = list(ports.rollouts.audit(plan.name)), ports.rollouts.tracked(plan.name)
    for number, entry in enumerate(entries[told:], start=told + 1):
        if entry.decision.action != "hold" or entry.seen.look is not None:
            try:
                _track(plan, entry, ports)
            except TrimtabError as error:
                return str(error)
        ports.rollouts.mark_tracked(plan.name, number)
    return ""


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
