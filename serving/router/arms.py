"""The servers behind a model's arms: who is asked, and who answers when one of them cannot.

A treatment that fails is answered for by control, and the caller is told. Control that fails is asked again, but no
treatment answers for it: users of control would then be treated, and the comparison would be between two mixtures.
Only where no experiment runs may another arm of the same version step in.
"""

import logging
import time
from math import nan
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import orjson

from serving.router.body import json_length, tensor_values
from serving.router.breaker import Breaker
from serving.router.http import Refused
from serving.router.upstream import Answer, ArmFailed, Failure, Upstream
from trimtab.errors import BadInput
from trimtab.rollout.route import Target

_log = logging.getLogger("trimtab.router")

Protocol = Literal["v1", "v2"]
# The router wrote the URL and the credentials, so these are no mistake of the caller's. Other 4xx are.
_NOT_THE_CALLERS = frozenset({401, 403, 404, 405, 407, 408, 421, 425, 429})
_RELOG_SECONDS = 10.0


class Question(NamedTuple):
    """What a server is asked.

    Attributes:
        protocol: Which of its URLs.
        passed: Header lines to pass on, each with its line end.
        body: The body.
        rows: Instances of a v1 body, which the answer must match; -1 where that is not known.
        seconds: How long each server may take.
    """

    protocol: Protocol
    passed: bytes
    body: bytes
    rows: int
    seconds: float


class Served(NamedTuple):
    """An answer, and who gave it.

    Attributes:
        answer: As the server gave it.
        document: Its JSON; empty for a refusal of the caller's request.
        arm: Arm that answered.
        version: Version that answered.
        failure: Why it was not the arm that was asked; empty where it was.
    """

    answer: Answer
    document: dict[str, Any]
    arm: str
    version: str
    failure: Failure | Literal[""]


class ArmServer:
    """The server of one arm.

    Args:
        name: The arm.
        target: Where it answers.
        upstream: Connections to it.
        breaker: Remembers its failures.
    """

    def __init__(self, name: str, target: Target, upstream: Upstream, breaker: Breaker) -> None:
        self.name = name
        self.target = target
        self.version = str(target.version)
        self.breaker = breaker
        self.upstream = upstream
        model = quote(target.model, safe="")
        paths = {"v1": f"/v1/models/{model}:predict", "v2": f"/v2/models/{model}/infer"}
        self._heads = {
            protocol: b"POST %b%b HTTP/1.1\r\nhost: %b\r\n" % (upstream.prefix, path.encode(), upstream.authority)
            for protocol, path in paths.items()
        }
        self._logged = float("-inf")

    async def ask(self, question: Question) -> Served:
        """Ask the server.

        Raises:
            ArmFailed: It gave no usable answer.
        """
        protocol, passed, body, rows, seconds = question
        request = b"%b%bcontent-length: %d\r\n\r\n%b" % (self._heads[protocol], passed, len(body), body)
        answer = await self.upstream.send(request, seconds=seconds)
        status = answer.status
        if 200 <= status < 300:
            return Served(answer, _document(answer, protocol, rows), self.name, self.version, "")
        if 400 <= status < 500 and status not in _NOT_THE_CALLERS:
            return Served(answer, {}, self.name, self.version, "")
        raise ArmFailed("error", f"it answered {status}: {answer.body[:200]!r}")

    def log_failure(self, failure: ArmFailed) -> None:
        """Say why the server failed, seldom: one that is down fails every request."""
        now = time.monotonic()
        if now - self._logged >= _RELOG_SECONDS:
            self._logged = now
            _log.warning("arm '%s' at %s failed (%s): %s", self.name, self.target.url, failure.failure, failure.detail)


async def serve(arm: ArmServer, control: ArmServer, twins: tuple[ArmServer, ...], question: Question) -> Served:
    """The answer of an arm, or of the one that may answer in its place.

    Args:
        arm: The arm that the unit belongs to.
        control: Answers in place of a treatment that fails.
        twins: Answer in place of a control that fails; of the same version, and only where no experiment runs.
        question: What is asked.

    Raises:
        Refused: Nobody could answer: 504 where control was too slow, or else 503.
    """
    failure: Failure | Literal[""] = ""
    if arm is not control:
        try:
            return await _guarded(arm, question)
        except ArmFailed as failed:
            failure = failed.failure
    last: ArmFailed | None = None
    for server in (control, control, *twins):
        if last is not None and last.failure == "timeout" and server is control:
            continue  # asking a server again that is too slow only adds to its load
        try:
            served = await server.ask(question)
        except ArmFailed as failed:
            server.log_failure(failed)
            last = failed
            failure = failure or failed.failure
            continue
        return served._replace(failure=failure if served.arm != arm.name else "")
    raise _nobody(control, last.failure if last else "error")


def answer_probability(protocol: Protocol, served: Served, place: int) -> float:
    """Probability of conversion under the action that an answer asks for; NaN where it states none.

    Args:
        protocol: By which the answer came.
        served: The answer.
        place: Place of the instance in it.
    """
    try:
        if protocol == "v1":
            found = served.document["predictions"][place]
            return float(found["probability"]) + (float(found.get("uplift", 0.0)) if found.get("act") else 0.0)
        body, outputs = served.answer.body, served.document["outputs"]
        offset = json_length(served.answer.headers) or 0
        values = {
            name: tensor_values(outputs, name, body, offset, most=place + 1)
            for name in ("probability", "uplift", "act")
        }
        uplift: Any = values["uplift"][place] if values["act"] and values["act"][place] else 0.0
        probability: Any = values["probability"][place]
        return float(probability) + float(uplift)
    except (LookupError, TypeError, ValueError, AttributeError, BadInput):
        return nan  # an arm may answer in a way of its own; that is no failure


async def _guarded(arm: ArmServer, question: Question) -> Served:
    if not arm.breaker.allows(now=time.monotonic()):
        raise ArmFailed("open_circuit")
    try:
        served = await arm.ask(question)
    except ArmFailed as failed:
        arm.breaker.failed(now=time.monotonic())
        arm.log_failure(failed)
        raise
    arm.breaker.succeeded()
    return served


def _nobody(control: ArmServer, failure: Failure) -> Refused:
    status = 504 if failure == "timeout" else 503
    return Refused(status, f"arm '{control.name}' could not answer ({failure}).", remedy="Try again later.")


def _document(answer: Answer, protocol: Protocol, rows: int) -> dict[str, Any]:
    """The JSON of a good answer.

    Raises:
        ArmFailed: It is not what the protocol says.
    """
    body = answer.body
    try:
        document = orjson.loads(body[: json_length(answer.headers)])
    except (ValueError, BadInput) as error:
        raise ArmFailed("error", f"its answer is not JSON: {body[:100]!r}") from error
    found = document.get("predictions" if protocol == "v1" else "outputs") if isinstance(document, dict) else None
    if not isinstance(found, list) or (protocol == "v1" and rows >= 0 and len(found) != rows):
        raise ArmFailed("error", f"its answer does not fit the request: {body[:100]!r}")
    return dict(document)
