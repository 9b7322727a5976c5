"""The hot path: whose request it is, which arm answers, what is logged.

The unit is pseudonymised at once and assigned by the same pure function that the analysis uses. An exposure is logged
for each request and enrolled unit that was answered, under the arm that the unit was assigned to.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any, NamedTuple

import orjson

from serving.router import metrics
from serving.router.arms import ArmServer, Protocol, Question, Served, answer_probability, serve
from serving.router.body import Subject, json_length, read_v1, read_v2, unit_text
from serving.router.http import JSON, Headers, Refused, Reply
from serving.router.shadow import Shadow
from serving.router.table import Assigner, ModelRoute
from trimtab.errors import BadInput, TrimtabError
from trimtab.ports import EventWriter
from trimtab.sessions.privacy import unit_pseudonym
from trimtab.types import Event

# Of one connection only, written anew, or such that the answer could not be read.
_NOT_PASSED = frozenset(
    {
        b"host",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"expect",
        b"accept-encoding",
    }
)


class Placed(NamedTuple):
    """A subject and its arm.

    Attributes:
        subject: From the body.
        unit: Pseudonym; empty where the request names no unit.
        arm: Server that is to answer.
        enrolled: Whether it takes part in the experiment, so that its answer is an exposure.
    """

    subject: Subject
    unit: str
    arm: ArmServer
    enrolled: bool


class Part(NamedTuple):
    """What one arm was asked of a request, and its answer.

    Attributes:
        arm: The arm that was to answer.
        placed: Subjects that it answers.
        rows: Places of its instances in the caller's body, in order; empty where it was sent the whole body.
        served: The answer.
    """

    arm: ArmServer
    placed: list[Placed]
    rows: list[int]
    served: Served


class Request(NamedTuple):
    """A prediction request.

    Attributes:
        id: Of its own.
        time: When it came; aware.
        model: The model's route.
        assigner: The randomisation in force; None where no experiment runs.
        document: The JSON of a v1 body; empty for v2.
        question: What a server is asked where one answers all of it.
    """

    id: str
    time: datetime
    model: ModelRoute
    assigner: Assigner | None
    document: dict[str, Any]
    question: Question


class Predictions:
    """Answers prediction requests.

    Args:
        key: Secret key of the pseudonyms.
        events: Where exposures go.
        shadow: Where copies of requests go.
        unit_header: Header that holds the unit id.
    """

    def __init__(self, *, key: bytes, events: EventWriter, shadow: Shadow, unit_header: str) -> None:
        self._key = key
        self._events = events
        self._shadow = shadow
        self._unit_header = unit_header.lower().encode("ascii")
        self._process = secrets.token_hex(8)
        self._numbers = count()

    async def answer(self, model: ModelRoute, protocol: Protocol, headers: Headers, body: bytes) -> Reply:
        """Answer a request.

        Args:
            model: The model's route.
            protocol: By which the request came.
            headers: Its headers, names in lower case.
            body: Its body.

        Raises:
            BadInput: It is wrong.
            Refused: Nobody could answer.
        """
        started = time.perf_counter()
        placed: list[Placed] = []
        try:
            request, subjects = self._read(model, protocol, headers, body)
            placed = [self._place(request, subject) for subject in subjects]
            parts = await self._ask(request, placed)
        except Exception as error:
            _count_failed(model, placed, error, time.perf_counter() - started)
            raise
        reply = _merged(request, parts)
        waited = time.perf_counter() - started
        if reply.status < 300:
            self._log_exposures(request, parts, waited * 1e3)
            if model.shadow is not None:
                self._shadow.offer(model, request.question, unit=placed[0].unit or request.id, request=request.id)
        _count(model, parts, reply.status, waited)
        reply.headers.extend(_explanation(request, parts))
        return reply

    def pseudonym(self, unit: str) -> str:
        """The id under which a unit is assigned and logged; a pseudonym stays what it is."""
        return unit_pseudonym(unit, self._key)

    def _read(
        self, model: ModelRoute, protocol: Protocol, headers: Headers, body: bytes
    ) -> tuple[Request, list[Subject]]:
        now = datetime.now(UTC)
        unit, passed = self._headers(headers)
        route = model.route
        document: dict[str, Any] = {}
        rows = -1
        if protocol == "v1":
            document, subjects = read_v1(body, unit=unit, unit_field=route.unit_field, attributes=route.attributes)
            rows = len(document["instances"]) if subjects[0].rows else -1
        else:
            length = json_length(headers)
            subject = read_v2(body, json_bytes=length, unit=unit, names=route.attributes, unit_field=route.unit_field)
            subjects = [subject]
        question = Question(protocol, passed, body, rows, model.seconds)
        name = f"{self._process}-{next(self._numbers):x}"
        return Request(name, now, model, model.assigner_at(now), document, question), subjects

    def _headers(self, headers: Headers) -> tuple[str | None, bytes]:
        """The unit of the header, and the header lines that the arm is sent; both know it as a pseudonym only."""
        unit: str | None = None
        lines = []
        for name, value in headers:
            if name == self._unit_header:
                try:
                    unit = unit_text(value.decode("utf-8"))
                except UnicodeDecodeError as error:
                    raise BadInput("the unit id in the header is not UTF-8.") from error
                if unit:
                    unit = self.pseudonym(unit)
                    lines.append(b"%b: %b\r\n" % (name, unit.encode()))
            elif name == b"content-encoding" and value.lower() != b"identity":
                raise Refused(415, "compressed bodies are not read.", remedy="Send the body as it is.")
            elif name not in _NOT_PASSED:
                lines.append(b"%b: %b\r\n" % (name, value))
        return unit, b"".join(lines)

    def _place(self, request: Request, subject: Subject) -> Placed:
        """The arm of a subject. Without a unit id it is drawn anew, by the same weights and rules."""
        model, assigner = request.model, request.assigner
        unit = self.pseudonym(subject.unit) if subject.unit is not None else ""
        if assigner is None:
            return Placed(subject, unit, model.control, enrolled=False)
        if unit:
            arm = assigner.arm(unit, subject.attributes)
        else:
            metrics.count(metrics.UNASSIGNED, model.model, "no_unit")
            arm = assigner.arm(secrets.token_hex(8), subject.attributes, remember=False)
        if not arm:
            metrics.count(metrics.UNASSIGNED, model.model, "not_enrolled")
            return Placed(subject, unit, model.control, enrolled=False)
        return Placed(subject, unit, model.servers[arm], enrolled=bool(unit))

    async def _ask(self, request: Request, placed: list[Placed]) -> list[Part]:
        model, question = request.model, request.question
        twins = model.twins if request.assigner is None else ()
        arm = placed[0].arm
        if all(one.arm is arm for one in placed):
            return [Part(arm, placed, [], await serve(arm, model.control, twins, question))]
        groups: dict[str, list[Placed]] = {}
        for one in placed:
            groups.setdefault(one.arm.name, []).append(one)
        instances = request.document["instances"]
        rows = [sorted(row for one in group for row in one.subject.rows) for group in groups.values()]
        bodies = [_written({**request.document, "instances": [instances[row] for row in of]}) for of in rows]
        arms = [group[0].arm for group in groups.values()]
        answers = await asyncio.gather(
            *(
                serve(arm, model.control, twins, question._replace(body=body, rows=len(of)))
                for arm, body, of in zip(arms, bodies, rows, strict=True)
            )
        )
        return [Part(*part) for part in zip(arms, groups.values(), rows, answers, strict=True)]

    def _log_exposures(self, request: Request, parts: Sequence[Part], waited_ms: float) -> None:
        for part in parts:
            served = part.served
            for one in part.placed:
                if not one.enrolled:
                    continue
                assert request.assigner is not None
                self._events.put(
                    Event(
                        id=f"{request.id}.{one.subject.rows[0]}" if one.subject.rows else request.id,
                        kind="exposure",
                        experiment=request.assigner.experiment.name,
                        unit=one.unit,
                        time=request.time,
                        arm=part.arm.name,
                        version=served.version,
                        segments=one.subject.attributes,
                        served_by=served.arm if served.failure else "",
                        fallback=served.failure,
                        latency_ms=waited_ms,
                        probability=_probability(request.question.protocol, part, one.subject),
                    )
                )
                metrics.count(metrics.EXPOSURES, request.model.model, part.arm.name)


def _written(document: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError as error:  # which is stricter than the decoder
        raise BadInput(
            f"the body cannot be divided between arms: {error}.", remedy="Send one request per unit."
        ) from error


def _probability(protocol: Protocol, part: Part, subject: Subject) -> float:
    first = subject.rows[0] if subject.rows else 0
    return answer_probability(protocol, part.served, part.rows.index(first) if part.rows else first)


def _merged(request: Request, parts: Sequence[Part]) -> Reply:
    """The answer of the only part as it is, or those of several put together in the caller's order."""
    refusal = next((part.served.answer for part in parts if part.served.answer.status >= 300), None)
    answer = refusal or parts[0].served.answer
    if refusal or len(parts) == 1:
        return Reply(answer.status, answer.headers, answer.body)
    predictions: list[Any] = [None] * len(request.document["instances"])
    for part in parts:
        for row, prediction in zip(part.rows, part.served.document["predictions"], strict=True):
            predictions[row] = prediction
    return Reply(200, [JSON], orjson.dumps({**parts[0].served.document, "predictions": predictions}))


def _explanation(request: Request, parts: Sequence[Part]) -> Headers:
    """Headers that say which arm and version answered, in whose place, and why."""
    names = request.model.header_names
    if len(parts) == 1 and len(parts[0].placed) == 1 and not parts[0].served.failure:
        return _usual(names, request, parts[0])
    placed = [one for part in parts for one in part.placed]
    enrolled = any(one.enrolled for one in placed)
    found = [
        (b"x-trimtab-arm", _listed([names[part.arm.name] for part in parts])),
        (b"x-trimtab-version", _listed([part.served.version.encode() for part in parts])),
        (b"x-trimtab-experiment", names[request.model.route.experiment] if enrolled else b""),
        (b"x-trimtab-request-id", request.id.encode()),
    ]
    if not all(one.unit for one in placed):
        found.append((b"x-trimtab-unit", b"absent"))
    if failed := [part for part in parts if part.served.failure]:
        found.append((b"x-trimtab-served-by", _listed([names[part.served.arm] for part in failed])))
        found.append((b"x-trimtab-fallback", _listed([part.served.failure.encode() for part in failed])))
    return found


def _usual(names: Mapping[str, bytes], request: Request, part: Part) -> Headers:
    """`_explanation` of one unit that was answered by its own arm, which is nearly all there is to explain."""
    one = part.placed[0]
    found = [
        (b"x-trimtab-arm", names[part.arm.name]),
        (b"x-trimtab-version", part.served.version.encode()),
        (b"x-trimtab-experiment", names[request.model.route.experiment] if one.enrolled else b""),
        (b"x-trimtab-request-id", request.id.encode()),
    ]
    return found if one.unit else [*found, (b"x-trimtab-unit", b"absent")]


def _listed(values: Sequence[bytes]) -> bytes:
    return values[0] if len(values) == 1 else b", ".join(dict.fromkeys(values))


def _count_failed(model: ModelRoute, placed: Sequence[Placed], error: Exception, waited: float) -> None:
    """Count a request that got no answer, under no arm where it was refused before one was chosen."""
    status = error.http_status if isinstance(error, TrimtabError) else 500
    for arm in dict.fromkeys(one.arm.name for one in placed) or [""]:
        metrics.count(metrics.REQUESTS, model.model, arm, f"{status // 100}xx")
    metrics.observe(metrics.LATENCY, model.model, waited)


def _count(model: ModelRoute, parts: Sequence[Part], status: int, waited: float) -> None:
    for part in parts:
        metrics.count(metrics.REQUESTS, model.model, part.arm.name, f"{status // 100}xx")
        if part.served.failure:
            metrics.count(metrics.FALLBACKS, model.model, part.arm.name, part.served.failure)
    metrics.observe(metrics.LATENCY, model.model, waited)
