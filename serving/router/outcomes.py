"""What apps report of their users, as CloudEvents 1.0 over HTTP: structured, in batches, or in binary mode. Pure.

`data` is `{"unit": ..., "metric": ..., "value": ..., "experiment": ...}`; the last two may be left out. An event's
identity is its source and id together, as CloudEvents has it, so a report that is sent again counts once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any
from urllib.parse import unquote

import orjson

from serving.router.body import LONGEST_TEXT, unit_text
from serving.router.http import Headers, Refused, header
from trimtab.errors import BadInput
from trimtab.rollout.route import fits
from trimtab.types import Event

MAX_EVENTS = 10_000  # of one batch
HAPPENED_ONCE = 1.0  # value of an outcome that states none
_STRUCTURED = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that was not taken.

    Attributes:
        index: Its place in the batch.
        reason: What is wrong with it.
    """

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A report.

    Attributes:
        events: What is logged; an outcome without an experiment appears once per running one.
        accepted: How many of the caller's events were taken.
        rejected: Those that were not.
    """

    events: list[Event]
    accepted: int
    rejected: list[Rejected]


def read_outcomes(
    headers: Headers, body: bytes, *, running: Sequence[str], pseudonym: Callable[[str], str], now: datetime
) -> Outcomes:
    """Read a report.

    Args:
        headers: Of the request.
        body: Of the request.
        running: Experiments that an outcome counts for which names none.
        pseudonym: Makes the id under which a unit is logged.
        now: When an event happened that does not say; aware.

    Raises:
        BadInput: The body is not what its content type says.
        Refused: The content type is another one.
    """
    events: list[Event] = []
    rejected: list[Rejected] = []
    found = _cloud_events(headers, body)
    for index, cloud_event in enumerate(found):
        try:
            events += _logged(cloud_event, running=running, pseudonym=pseudonym, now=now)
        except BadInput as error:
            rejected.append(Rejected(index, str(error)))
    return Outcomes(events, len(found) - len(rejected), rejected)


def _cloud_events(headers: Headers, body: bytes) -> list[object]:
    kind = header(headers, b"content-type").decode("latin-1").partition(";")[0].strip().lower()
    if header(headers, b"ce-specversion"):
        attributes = {
            name[3:].decode("latin-1"): unquote(value.decode("latin-1"))
            for name, value in headers
            if name.startswith(b"ce-")
        }
        return [{**attributes, "data": _json(body)}]
    if kind == _STRUCTURED:
        return [_json(body)]
    if kind != _BATCH:
        raise Refused(
            415,
            f"the content type is '{kind[:80]}', not that of a CloudEvent.",
            remedy=f"Send {_STRUCTURED}, {_BATCH}, or the ce- headers of binary mode.",
        )
    batch = _json(body)
    if not isinstance(batch, list):
        raise BadInput("the body is not a list of events.")
    if len(batch) > MAX_EVENTS:
        raise Refused(413, f"the batch has {len(batch)} events; at most {MAX_EVENTS} are taken.")
    return batch


def _logged(
    cloud_event: object, *, running: Sequence[str], pseudonym: Callable[[str], str], now: datetime
) -> list[Event]:
    if not isinstance(cloud_event, dict):
        raise BadInput("it is not an object.")
    if cloud_event.get("specversion") != "1.0":
        raise BadInput(f"'specversion' is {_shown(cloud_event.get('specversion'))}, not '1.0'.")
    name, source, _ = (_word(cloud_event, attribute) for attribute in ("id", "source", "type"))
    data = cloud_event.get("data")
    if not isinstance(data, dict):
        raise BadInput("'data' is not an object.", remedy='Send {"unit": ..., "metric": ...}.')
    unit = unit_text(data.get("unit"))
    if unit is None:
        raise BadInput("'data.unit' is absent.")
    metric = _word(data, "metric")
    experiments = running if data.get("experiment") is None else [_word(data, "experiment")]
    if not all(map(fits, experiments)):
        raise BadInput("the name in 'data.experiment' is too long.")
    stand_in, time, value = pseudonym(unit), _time(cloud_event.get("time"), now), _value(data.get("value"))
    return [
        Event(f"{source} {name}", "outcome", experiment, stand_in, time, metric=metric, value=value)
        for experiment in experiments
    ]


def _word(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_TEXT:
        raise BadInput(f"'{name}' is {_shown(value)}, not a text of 1 to {LONGEST_TEXT} characters.")
    return value


def _time(value: object, now: datetime) -> datetime:
    if value is None:
        return now
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 2000 <= moment.year < 2200:
        raise BadInput(f"'time' is {_shown(value)}, not a recent time with a zone.", remedy="Write it as RFC 3339.")
    return moment


def _value(value: object) -> float:
    if value is None:
        return HAPPENED_ONCE
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise BadInput(f"'data.value' is {_shown(value)}, not a finite number.")
    return float(value)


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"the body is not JSON: {error}.") from error


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
