"""What is to be done about one resource now: pure of Kubernetes, so that everything that decides is tested without it.

The same steps run as behind `trimtab rollout`: they start a rollout, obey commands, decide and make the world follow.
The rollout store is the record. A status is written from it and never read for a decision, so a controller that dies
between any two lines is caught up with by the next call.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NoReturn

from trimtab.errors import BadInput, NotFound, TrimtabError, Unavailable
from trimtab.ports import Ports
from trimtab.rollout.observation import Command, Decision
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan, dump_plan
from trimtab.rollout.resource import ModelExperiment, ResourceMetadata
from trimtab.rollout.resource_status import Condition, mirrored, progress, timestamp, with_conditions
from trimtab.rollout.state import RolloutState
from trimtab.steps import rollout
from trimtab.steps.rollout_converge import drain_time, free_from, server_name

_STARTING = threading.Lock()  # Two resources of one model are started one after the other, so that the second sees it.
DELETED = "the ModelExperiment was deleted."
_CONVERGED = Condition("Ready", "True", "Converged")
_NOT_SOONER = ("Waiting", "Suspended", "Deleted", "Invalid")  # Nothing is mended by trying again sooner than usual.


@dataclass(frozen=True, slots=True)
class Notice:
    """An event for whoever watches the resource."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        status: The status from now on, whole.
        notices: Events.
        answered: Whether the command in the annotations was taken over, so that they can go.
        done: Whether nothing is left to do: the experiment has ended, and the arm that lost is gone.
        failed: Why it has to be tried again, sooner than usual; empty where it went well.
    """

    status: Mapping[str, Any]
    notices: tuple[Notice, ...] = ()
    answered: bool = False
    done: bool = False
    failed: str = ""


class _Refused(TrimtabError):
    """The experiment waits, or is refused; `reason` is the condition's."""

    def __init__(self, reason: str, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Turn:
    """One call."""

    metadata: ResourceMetadata
    ports: Ports
    now: datetime
    suspended: bool = False
    notices: list[Notice] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def status(self) -> Mapping[str, Any]:
        return self.metadata.status


def reconcile(
    resource: ModelExperiment, ports: Ports, *, now: datetime, wanted: Callable[[], bool] = lambda: True
) -> Outcome:
    """Take an experiment one decision further.

    Args:
        resource: The resource.
        ports: The ports.
        now: Aware time.
        wanted: Whether the resource is still there, and not being deleted.

    Returns:
        What came of it. Errors of Trimtab's are a condition of the status, and a reason to try again.
    """
    turn = _Turn(resource.metadata, ports, now, resource.suspend)
    return _reconciled(
        turn,
        start=lambda: _start(turn, resource.plan, wanted),
        ready=lambda: _unchanged(turn, resource.plan),
    )


def refused(metadata: ResourceMetadata, error: BadInput, ports: Ports, *, now: datetime) -> Outcome:
    """What becomes of a resource whose specification is not valid: nothing, but that a person may end it.

    Args:
        metadata: The resource's metadata.
        error: What is wrong with its specification.
        ports: The ports.
        now: Aware time.
    """

    def invalid() -> NoReturn:
        raise _Refused("Invalid", str(error))

    return _reconciled(_Turn(metadata, ports, now), start=invalid, ready=invalid)


def _reconciled(turn: _Turn, *, start: Callable[[], Outcome], ready: Callable[[], Condition]) -> Outcome:
    """Start a rollout, or obey, check the specification, and drive it; what is over or was commanded is not checked.

    Args:
        turn: The call.
        start: Starts it.
        ready: Checks the specification; what it says is told where all goes well.
    """
    answered = False
    try:
        state = _recorded(turn)
        if state is None:
            return start()
        _check_owner(turn, state)
        answered = _commanded(turn, state)
        with turn.ports.rollouts.driving(turn.name):
            checked = not state.over and turn.ports.rollouts.next_command(turn.name) is None
            return replace(_driven(turn, ready() if checked else _CONVERGED), answered=answered)
    except (TrimtabError, OSError) as error:
        return replace(_stalled(turn, error), answered=answered)


def release(metadata: ResourceMetadata, ports: Ports, *, now: datetime) -> Outcome:
    """Take one step towards letting a deleted resource go: abort, lead users away from the arm, remove it.

    Args:
        metadata: The resource's metadata; its specification does not matter any more.
        ports: The ports.
        now: Aware time.

    Returns:
        What came of it; `done` once nothing is left of it but the arm that answers everyone.
    """
    turn = _Turn(metadata, ports, now)
    try:
        with _STARTING:  # a start that is under way is waited for, and none begins afterwards
            state = _recorded(turn)
        if state is None or not _is_own(metadata, state):
            return Outcome(metadata.status, done=True)
        with ports.rollouts.driving(turn.name):
            if not state.over and ports.rollouts.next_command(turn.name) is None:
                rollout.ask(turn.name, Command("abort", "kubernetes", DELETED, now), ports)
            return _driven(turn)
    except (TrimtabError, OSError) as error:
        return _stalled(turn, error)


def _recorded(turn: _Turn) -> RolloutState | None:
    try:
        return turn.ports.rollouts.state(turn.name)
    except NotFound:
        return None


def _is_own(metadata: ResourceMetadata, state: RolloutState) -> bool:
    """Whether a rollout is this resource's, and not one of an earlier resource, or of the command line, of its name.

    A rollout that goes on is taken over: so does one that a backup brought back.
    """
    return bool(metadata.status.get("controlVersion")) or not state.over or state.created >= metadata.created


def _start(turn: _Turn, plan: RolloutPlan, wanted: Callable[[], bool]) -> Outcome:
    """Pin the versions. The arms come with the next call: they may take minutes, in which the status is to speak."""
    if turn.suspended:
        raise _Refused("Suspended", "It has not been started, because 'suspend' is true.")
    with _STARTING:
        if not wanted():
            raise _Refused("Deleted", "It is being deleted, so it is not started.")
        _await_others(turn, plan.model)
        state = rollout.start(plan, turn.ports)
    turn.notices.append(Notice("Normal", "Started", f"Version {state.treatment} against version {state.control}."))
    status = {
        "phase": "Pending",
        "controlVersion": state.control,
        "treatmentVersion": state.treatment,
        "since": timestamp(state.since),
    }
    deploying = "The arms are being deployed."
    conditions = (
        Condition("Ready", "False", "Deploying", deploying),
        Condition("Progressing", "True", "Deploying", deploying),
        Condition("Decided", "False", "Undecided"),
    )
    return _outcome(turn, status, conditions)


def _check_owner(turn: _Turn, state: RolloutState) -> None:
    if not _is_own(turn.metadata, state):
        raise _Refused(
            "NameTaken",
            f"A rollout '{turn.name}' has ended before this resource was made: {state.status.replace('_', ' ')}.",
            remedy="Choose another name: it divides the users, and the event log tells experiments apart by it.",
        )


def _unchanged(turn: _Turn, plan: RolloutPlan) -> Condition:
    """Rules do not change while data come in: it goes on by those of the start, guardrails included."""
    if dump_plan(turn.ports.rollouts.plan(turn.name)) == dump_plan(plan):
        return _CONVERGED
    changed = Condition(
        "Ready",
        "False",
        "SpecChanged",
        "The specification is not the one that the experiment was started with, by which it goes on. "
        "Rules do not change while data come in: undo the change, or abort and apply it by another name.",
    )
    turn.notices.extend(_news(turn.status, changed))
    return changed


def _await_others(turn: _Turn, model: str) -> None:
    """Wait while another rollout has the model's users, or an ended one's arm may still be sent some."""
    ports = turn.ports
    for name in ports.rollouts.names():
        plan = ports.rollouts.plan(name)
        if plan.model != model:
            continue
        state = ports.rollouts.state(name)
        if not state.over:
            raise _Refused("Waiting", f"Experiment '{name}' of model '{model}' has not ended.")
        if turn.now < free_from(plan, state, ports):
            raise _Refused("Waiting", f"The arm of experiment '{name}' that lost is being drained.")


def _commanded(turn: _Turn, state: RolloutState) -> bool:
    """Hand the annotations' command on; returns whether it is taken over."""
    try:
        command = turn.metadata.command(now=turn.now)
    except BadInput as error:
        turn.notices.append(Notice("Warning", "UnknownCommand", str(error)))
        return True
    if command is None:
        return False
    if state.over:
        turn.notices.append(
            Notice("Warning", "CommandTooLate", f"The experiment has ended, so nobody can {command.kind} it.")
        )
        return True
    waiting = turn.ports.rollouts.next_command(turn.name)
    if waiting is None or (waiting.kind, waiting.who, waiting.why) != (command.kind, command.who, command.why):
        rollout.ask(turn.name, command, turn.ports)
    return True


def _driven(turn: _Turn, ready: Condition = _CONVERGED) -> Outcome:
    """Decide and make the world follow, or only say where it stands; the caller drives the rollout."""
    rollouts = turn.ports.rollouts
    plan, state = rollouts.plan(turn.name), rollouts.state(turn.name)
    if rollout.superseded(turn.name, turn.ports):
        return _gone(turn, plan)
    if turn.suspended and not state.over and rollouts.next_command(turn.name) is None:
        return _standing(turn, plan, state)
    before = len(list(rollouts.audit(turn.name)))
    try:
        result = rollout.run(rollout.Config(turn.name), turn.ports)
    finally:  # What is decided is told also where the world cannot follow yet.
        taken = [entry.decision for entry in rollouts.audit(turn.name)]
        turn.notices.extend(_notice(decision) for decision in taken[before:] if decision.action != "hold")
    decision = taken[-1] if result.state.over else result.decision
    status = mirrored(plan, result.state, decision, _looked(taken), result.servers)
    status["drained"] = result.drained
    if result.untracked and ready == _CONVERGED:
        ready = Condition("Ready", "False", "Untracked", result.untracked)
        turn.notices.extend(_news(turn.status, ready))
    return _outcome(turn, status, (ready, *progress(result.state, decision)), done=result.drained)


def _standing(turn: _Turn, plan: RolloutPlan, state: RolloutState) -> Outcome:
    """Nothing is decided; the status says so."""
    taken = [entry.decision for entry in turn.ports.rollouts.audit(turn.name)]
    if not taken:
        return _outcome(turn, {"phase": "Waiting"}, (Condition("Progressing", "False", "Suspended"),))
    servers = {str(arm["name"]): str(arm["url"]) for arm in turn.status.get("arms") or ()}
    status = mirrored(plan, state, taken[-1], _looked(taken), servers)
    return _outcome(turn, status, progress(state, taken[-1], suspended=True))


def _looked(taken: Sequence[Decision]) -> list[Decision]:
    return [decision for decision in taken if "look" in decision.numbers]


def _gone(turn: _Turn, plan: RolloutPlan) -> Outcome:
    """A later experiment has arms of its own: these go once its route has reached every router."""
    ready = (Condition("Ready", "True", "Superseded", "A later experiment has the model's users."),)
    arms, freed = turn.status.get("arms") or (), turn.status.get("superseded")
    if freed and not arms:
        return _outcome(turn, {}, ready, done=True)
    route = turn.ports.routes.get(plan.model)
    if route is None or {str(arm["url"]) for arm in arms} & {target.url for target in route.arms.values()}:
        return _outcome(turn, {"superseded": None}, ready)
    since = datetime.fromisoformat(str(freed)) if freed else turn.now
    if turn.now < since + drain_time(plan, turn.ports.routes.hearing):
        return _outcome(turn, {"superseded": timestamp(since)}, ready)
    for arm in (CONTROL, TREATMENT):
        turn.ports.deployer.remove(server_name(plan, arm), model=plan.model)
    return _outcome(turn, {"superseded": timestamp(since), "arms": [], "drained": True}, ready, done=True)


def _notice(decision: Decision) -> Notice:
    words = decision.action.replace("_", " ").title().replace(" ", "")
    kind: Literal["Normal", "Warning"] = "Warning" if decision.action in ("roll_back", "abort") else "Normal"
    change = f"{decision.before} to {decision.after}, treatment at {decision.weight:.0%}.".replace("_", " ")
    return Notice(kind, words, " ".join((change, *decision.reasons))[:1000])


def _stalled(turn: _Turn, error: TrimtabError | OSError) -> Outcome:
    """The status says why it does not go on; what was known before stays."""
    if isinstance(error, OSError):
        error = Unavailable(f"a file or a connection failed: {error}.", remedy="Check the controller's volume.")
    reason = _reason(error)
    ready = Condition("Ready", "False", reason, str(error))
    going = Condition("Progressing", "True" if isinstance(error, Unavailable) else "False", reason, str(error))
    phase = turn.status.get("phase") or ("Waiting" if reason in ("Waiting", "Suspended") else "Pending")
    outcome = _outcome(turn, {"phase": phase}, (ready, going))
    notices = (*outcome.notices, *_news(turn.status, ready))
    return replace(outcome, notices=notices, failed="" if reason in _NOT_SOONER else str(error))


def _reason(error: TrimtabError) -> str:
    if isinstance(error, _Refused):
        return error.reason
    if isinstance(error, Unavailable):
        return "Unavailable"
    if isinstance(error, NotFound):
        return "NotFound"
    return "Refused"


def _news(before: Mapping[str, Any], ready: Condition) -> tuple[Notice, ...]:
    """An event, where the condition has not said so before."""
    known: Mapping[str, Any] = next((one for one in before.get("conditions") or () if one.get("type") == "Ready"), {})
    if (known.get("reason"), known.get("message")) == (ready.reason, ready.message):
        return ()
    return (Notice("Normal" if ready.reason == "Waiting" else "Warning", ready.reason, ready.message[:1000]),)


def _outcome(
    turn: _Turn, status: Mapping[str, Any], conditions: tuple[Condition, ...], *, done: bool = False
) -> Outcome:
    generation = turn.metadata.generation
    whole = {
        **turn.status,
        **status,
        "observedGeneration": generation,
        "conditions": with_conditions(turn.status, conditions, generation=generation, now=turn.now),
    }
    return Outcome(whole, tuple(turn.notices), done=done)


# How soon the same call may be tried again, doubled each time.
_SOON, _LATE = timedelta(seconds=5), timedelta(minutes=5)


def pause(attempt: int) -> timedelta:
    """How long to wait after a failure.

    Args:
        attempt: How often it has failed before.
    """
    return min(_LATE, _SOON * 2 ** min(attempt, 10))
