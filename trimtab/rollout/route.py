"""What a router is told about one model: its arms, who belongs to which, and since when.

The whole of it is one JSON document, so that a file, a ConfigMap or an admin call can carry it. Weights change at a
stated moment: each phase says when it starts, and a request is assigned by the phase in force at its own time. Routers
that hear of a change sooner or later than one another therefore still switch together, and the analysis knows to the
second which weights each exposure was under.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from math import inf
from urllib.parse import quote

import orjson
from pydantic import TypeAdapter, ValidationError

from trimtab.errors import BadInput
from trimtab.experiments.assignment import Arm, Experiment, Holdout, Layer
from trimtab.types import Event

SCHEMA_VERSION = 1
LONGEST_NAME = 200  # bytes of an experiment's or a model's name, escaped: files and folders are called by it
_EVENT_FIELDS = frozenset(column.name for column in fields(Event))


@dataclass(frozen=True, slots=True)
class Target:
    """Where an arm's server answers: `<url>/v1/models/<model>:predict` and `<url>/v2/models/<model>/infer`."""

    url: str
    model: str
    version: int


@dataclass(frozen=True, slots=True)
class RoutePhase:
    """A stretch of time with weights of its own.

    Attributes:
        starts: From when it is in force; aware.
        weights: Share of the enrolled units by arm.
        eligible: Attribute to the values that take part; everyone where empty. Others are answered by control.
        share: Share of the route's enrolled units that take part already. Raising it moves no unit between arms, which
            raising a weight does.
    """

    starts: datetime
    weights: Mapping[str, float]
    eligible: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Route:
    """One model's routing. Without an experiment everyone is answered by control and nothing is logged.

    Attributes:
        model: Name in the router's URL.
        control: The arm that answers whoever is in no experiment, and in place of an arm that fails.
        arms: Target by arm, control among them. Phases and the shadow may name only these.
        experiment: Name of the running experiment, in the event log and as the salt of the randomisation.
        phases: In order of time, from the experiment's start; at least one where there is an experiment.
        share: Share of eligible units that are enrolled.
        layer: Range of a layer.
        holdout: Units left out of everything.
        unit_field: Field of an instance (v1) or tensor (v2) that holds the unit, where no header does.
        attributes: Fields of an instance that are logged as segments; those of `eligible` are among them.
        timeout_ms: An arm that takes longer is given up, and control answers.
        shadow: Arm that is sent a copy of requests, and whose answers are only logged; none where empty.
        shadow_share: Share of requests that are copied.
        revision: Grows with each change.
        published: When it was published, so that one can tell when every router has heard of it; aware.
        schema_version: Version of this document.
    """

    model: str
    control: str
    arms: Mapping[str, Target]
    experiment: str = ""
    phases: tuple[RoutePhase, ...] = ()
    share: float = 1.0
    layer: Layer | None = None
    holdout: Holdout | None = None
    unit_field: str = ""
    attributes: tuple[str, ...] = ()
    timeout_ms: float = 1_000.0
    shadow: str = ""
    shadow_share: float = 1.0
    revision: int = 1
    published: datetime | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        where = f"the route of model '{self.model}'"
        if self.schema_version != SCHEMA_VERSION:
            raise BadInput(f"{where} has schema version {self.schema_version}; this router reads {SCHEMA_VERSION}.")
        if self.control not in self.arms:
            raise BadInput(f"{where} has no arm '{self.control}' to be its control; arms: {', '.join(self.arms)}.")
        if self.shadow and self.shadow not in self.arms:
            raise BadInput(f"{where} shadows the arm '{self.shadow}', which it does not have.")
        if self.experiment and not self.phases:
            raise BadInput(f"{where} runs the experiment '{self.experiment}' without a phase.")
        if not 0 < self.timeout_ms < inf:
            raise BadInput(f"{where} has a timeout of {self.timeout_ms} ms; it must be positive.")
        if not 0 <= self.shadow_share <= 1:
            raise BadInput(f"{where} has a shadow share of {self.shadow_share}; it must lie in [0, 1].")
        if not (fits(self.model) and fits(self.experiment)):
            raise BadInput(
                f"{where}: the name of the model or the experiment is too long.", remedy="Use a shorter one."
            )
        self._check_attributes(where)
        starts = [phase.starts for phase in self.phases]
        if any(start.tzinfo is None for start in starts) or starts != sorted(set(starts)):
            raise BadInput(f"the phases of {where} must have zones and be in order of time, each with its own start.")
        for phase in self.phases:
            if set(phase.weights) != {name for name in self.arms if name != self.shadow or name in phase.weights}:
                raise BadInput(f"a phase of {where} has weights of {sorted(phase.weights)}, not of its arms.")
            missing = set(phase.eligible) - set(self.attributes)
            if missing:
                raise BadInput(f"{where} limits a phase by '{min(missing)}', which is not among its attributes.")
        for place in range(len(self.phases)):
            self._experiment(place)

    def _check_attributes(self, where: str) -> None:
        """They become columns of the event log, and engines do not tell upper from lower case there."""
        seen: set[str] = set()
        for name in self.attributes:
            if name.lower() in _EVENT_FIELDS:
                raise BadInput(f"{where} has the attribute '{name}', which is named like a field of the event log.")
            if name.lower() in seen:
                raise BadInput(f"{where} has the attribute '{name}' twice, upper and lower case being the same.")
            seen.add(name.lower())

    def experiment_at(self, moment: datetime) -> Experiment | None:
        """The randomisation in force at a moment; None without an experiment, or before its first phase.

        Args:
            moment: Aware time of the request.
        """
        begun = sum(phase.starts <= moment for phase in self.phases)
        return self._experiment(begun - 1) if self.experiment and begun else None

    def _experiment(self, place: int) -> Experiment:
        phase = self.phases[place]
        names = tuple(phase.weights)
        return Experiment(
            name=self.experiment,
            arms=tuple(Arm(name, weight) for name, weight in phase.weights.items()),
            control=self.control,
            share=self.share * phase.share,
            layer=self.layer,
            holdout=self.holdout,
            segments=phase.eligible,
            earlier=tuple(tuple(past.weights[name] for name in names) for past in self.phases[:place]),
        )


def fits(name: str) -> bool:
    """Whether a name is short enough for what is called by it.

    >>> fits("checkout"), fits("x" * 201), fits("ü" * 50)
    (True, False, False)
    """
    return len(quote(name, safe="").replace(".", "%2E")) <= LONGEST_NAME


_ADAPTER = TypeAdapter(Route)


def dump_route(route: Route) -> bytes:
    """A route as JSON."""
    body = asdict(route)
    for phase in body["phases"]:
        phase["starts"] = phase["starts"].astimezone(UTC).isoformat()
    if route.published is not None:
        body["published"] = route.published.astimezone(UTC).isoformat()
    return orjson.dumps(body, option=orjson.OPT_INDENT_2)


def parse_route(document: bytes, *, where: str) -> Route:
    """A route from JSON.

    Args:
        document: The JSON.
        where: Where it came from, for messages.

    Raises:
        BadInput: It is not JSON, lacks a field, or contradicts itself.
    """
    try:
        return _ADAPTER.validate_json(document)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise BadInput(f"{where}: {place or 'the document'}: {problem['msg']}.") from error
