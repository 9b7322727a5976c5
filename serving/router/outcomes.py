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
from trimtab.errors import BadInput, TrimtabError
from trimtab.rollout.route import fits
from trimtab.types import Event

MAX_EVENTS = 10_000  # of one batch
HAPPENED_ONCE = 1.0  # value of an outcome that states none
_FULL = "the event log has no room for it now. Send it again."
_STRUCTURED = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that was not taken.

    Attributes:
        index: Its place in the batch.
        reason: Why it was not.
        status: HTTP status that the event would get on its own.
    """

    index: int
    reason: str
    status: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """An event of a caller that can be logged.

    Attributes:
        index: Its place in the batch.
        events: What is logged; one event per running experiment where it names none.
    """

    index: int
    events: list[Event]


@dataclass(frozen=True, slots=True)
class Report:
    """A report.

    Attributes:
        outcomes: What can be logged.
        rejected: What cannot.
    """

    outcomes: list[Outcome]
    rejected: list[Rejected]


def read_outcomes(
    headers: Headers, body: bytes, *, running: Sequence[str], pseudonym: Callable[[str], str], now: datetime
) -> Report:
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
    outcomes: list[Outcome] = []
    rejected: list[Rejected] = []
    for index, cloud_event in enumerate(_cloud_events(headers, body)):
        try:
            outcomes.append(Outcome(index, _logged(cloud_event, running=running, pseudonym=pseudonym, now=now)))
        except TrimtabError as error:
            rejected.append(Rejected(index, str(error), error.http_status))
    return Report(outcomes, rejected)


def log_outcomes(report: Report, put: Callable[[Event], bool]) -> tuple[int, list[Rejected]]:
    """Log what can be logged.

    An outcome that was logged for some of its experiments only counts as rejected: sent again, it counts once in each.

    Args:
        report: What was read.
        put: Takes an event; returns whether it did.

    Returns:
        How many of the caller's events were taken, and the others in order.
    """
    full = [outcome.index for outcome in report.outcomes if not all(put(event) for event in outcome.events)]
    rejected = [*report.rejected, *(Rejected(index, _FULL, 503) for index in full)]
    return len(report.outcomes) - len(full), sorted(rejected, key=lambda one: one.index)


def status_of(accepted: int, rejected: Sequence[Rejected]) -> int:
    """The HTTP status of an answer.

    Args:
        accepted: How many events were taken.
        rejected: Those that were not.

    Returns:
        202 where some were taken, or there were none; else 503 where sending again can help, 409 where nothing is
        wrong but that no experiment runs, and 400.
    """
    if accepted or not rejected:
        return 202
    statuses = {one.status for one in rejected}
    return 503 if 503 in statuses else 409 if statuses == {409} else 400


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
    if not experiments:
        raise Refused(409, "no experiment runs.", remedy="Name one in 'data.experiment', or report while one runs.")
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
