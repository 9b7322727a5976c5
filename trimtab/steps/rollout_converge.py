"""Makes the world as a rollout's state says: servers, routes, aliases. Doing it again changes nothing.

The state is recorded first and the world follows, so that whoever died on the way is caught up with by the next one.
Servers are removed last, once no router can still be sending them requests.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from trimtab.errors import NotFound
from trimtab.ports import Ports
from trimtab.rollout.observation import Command
from trimtab.rollout.plan import CONTROL, TREATMENT, RolloutPlan
from trimtab.rollout.route import Target
from trimtab.rollout.state import RolloutState, route_of
from trimtab.steps import promote
from trimtab.types import Decision, Endpoint


@dataclass(frozen=True, slots=True)
class Converged:
    """How far the world is.

    Attributes:
        endpoints: Where each arm is served.
        drained: Whether nothing is left to do: the rollout has ended, and the arm that lost is gone.
    """

    endpoints: dict[str, Endpoint]
    drained: bool


def converge(
    plan: RolloutPlan,
    state: RolloutState,
    ports: Ports,
    *,
    clock: Callable[[], datetime],
    command: Command | None = None,
) -> Converged:
    """Deploy the arms that the state needs, tell the routers, move aliases, and remove what is drained.

    Args:
        plan: The plan.
        state: The state.
        ports: Uses `deployer`, `registry` and `routes`.
        clock: Gives the aware time: servers may take minutes to start.
        command: What a person asked for, where that brought the state about.

    Raises:
        Unavailable: A server does not start, or a service does not answer.
        NotFound: A pinned version is gone.
    """
    endpoints = {arm: _deployed(plan, state, arm, ports) for arm in _needed(state)}
    _publish(plan, state, endpoints, ports, clock)
    if state.status == "shipped":
        _promote(plan, state, ports, command)
    if state.status == "rolled_back":
        _retire(plan, state, ports)
    over = state.over and clock() >= free_from(plan, state, ports)
    if over:
        for arm in {CONTROL, TREATMENT} - set(endpoints):
            ports.deployer.remove(server_name(plan, arm), model=plan.model)
    return Converged(endpoints, over)


def server_name(plan: RolloutPlan, arm: str) -> str:
    """Name of an arm's server, unique over all rollouts."""
    return f"{plan.name.replace('.', '-').replace('_', '-')}-{arm}"


def _needed(state: RolloutState) -> tuple[str, ...]:
    if state.status == "shipped":
        return (TREATMENT,)
    return (CONTROL,) if state.over else (CONTROL, TREATMENT)


def _deployed(plan: RolloutPlan, state: RolloutState, arm: str, ports: Ports) -> Endpoint:
    pinned = state.control if arm == CONTROL else state.treatment
    version = ports.registry.resolve(plan.model, str(pinned))
    return ports.deployer.deploy(version, arm=server_name(plan, arm))


def _publish(
    plan: RolloutPlan,
    state: RolloutState,
    endpoints: dict[str, Endpoint],
    ports: Ports,
    clock: Callable[[], datetime],
) -> None:
    """Tell the routers, where that is news; revisions grow over all rollouts of a model."""
    targets = {arm: Target(found.url, found.model, found.version) for arm, found in endpoints.items()}
    route, current = route_of(plan, state, targets), ports.routes.get(plan.model)
    if current is None:
        ports.routes.publish(replace(route, published=clock()))
    elif replace(route, revision=current.revision, published=current.published) != current:
        revision = max(route.revision, current.revision + 1)
        ports.routes.publish(replace(route, revision=revision, published=clock()))


def _promote(plan: RolloutPlan, state: RolloutState, ports: Ports, command: Command | None) -> None:
    override = f"{command.who}: {command.why}" if command is not None and command.kind == "promote" else ""
    decision: Decision = "hold" if override else "ship"
    promote.run(promote.Config(plan.model, state.treatment, decision, experiment=plan.name, override=override), ports)


def _retire(plan: RolloutPlan, state: RolloutState, ports: Ports) -> None:
    """A version that was taken back is challenger no more, so that nobody rolls it out again unawares."""
    ports.registry.set_tags(plan.model, state.treatment, {"rolled_back_by": plan.name})
    try:
        challenger = ports.registry.resolve(plan.model, "challenger").version
    except NotFound:
        return
    if challenger == state.treatment != state.control:
        ports.registry.delete_alias(plan.model, "challenger")


def free_from(plan: RolloutPlan, state: RolloutState, ports: Ports) -> datetime:
    """When the arm that lost can be sent no request any more.

    That counts from the publication, which may come long after the decision: the cluster may have been away.

    Args:
        plan: The plan.
        state: The state of a rollout that has ended, of which routers have been told.
        ports: Uses `routes`.
    """
    route = ports.routes.get(plan.model)
    published = route.published if route else None
    return max(state.since, published or state.since) + drain_time(plan, ports.routes.hearing)


def drain_time(plan: RolloutPlan, hearing: timedelta) -> timedelta:
    """Until every router has heard of the route and every request under way has been answered or given up.

    Args:
        plan: The plan.
        hearing: How long routers take to hear of a route, at most.
    """
    return max(timedelta(seconds=plan.lead_seconds), hearing) + timedelta(milliseconds=2 * plan.timeout_ms)
