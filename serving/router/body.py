"""What the router must know of a request: whose it is, and the attributes that decide and describe. Pure.

v1 bodies hold instances; those of one unit belong together. v2 bodies hold tensors, as JSON or with binary data behind
the JSON (the Open Inference Protocol's binary extension); all of a v2 request belongs to one unit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from serving.router.http import Headers, header
from trimtab.errors import BadInput
from trimtab.models.encode import category_text

JSON_BYTES = b"inference-header-content-length"
_MOST_DIGITS = 12  # of a length in bytes
MAX_INSTANCES = 10_000  # of one request, as many as a model server of ours takes; more would hold up everybody else
LONGEST_TEXT = 256  # characters of a unit id or attribute; longer ones are a mistake, or an attack on the log
_NUMBERS = {
    "FP64": "<f8",
    "FP32": "<f4",
    "FP16": "<f2",
    "INT64": "<i8",
    "INT32": "<i4",
    "INT16": "<i2",
    "INT8": "i1",
    "UINT64": "<u8",
    "UINT32": "<u4",
    "UINT16": "<u2",
    "UINT8": "u1",
    "BOOL": "?",
}


class Subject(NamedTuple):
    """A unit of a request.

    Attributes:
        unit: Its id as it was sent; None where there is none.
        attributes: Attributes as text, those of its first instance; unknown ones left out.
        rows: Places of its instances in the body.
    """

    unit: str | None
    attributes: dict[str, str]
    rows: list[int]


class V1Body(NamedTuple):
    """A v1 body: the decoded JSON, and whose instances it holds."""

    document: dict[str, Any]
    subjects: list[Subject]


def read_v1(body: bytes, *, unit: str | None, unit_field: str, attributes: Sequence[str]) -> V1Body:
    """Read a v1 body.

    Args:
        body: JSON.
        unit: Unit id from the header, which all instances then belong to; None without one.
        unit_field: Field of an instance that holds its unit; none where empty.
        attributes: Fields of an instance to read.

    Raises:
        BadInput: It is not a JSON object, holds too many instances, or a unit id that is none.
    """
    document = _object(body)
    instances = document.get("instances")
    if not isinstance(instances, list):
        return V1Body(document, [Subject(unit, {}, [])])  # the arm says what is wrong
    _check_number(len(instances), "instances")
    if unit is not None or not unit_field:
        first = instances[0] if instances else None
        return V1Body(document, [Subject(unit, _attributes(first, attributes), list(range(len(instances))))])
    subjects: dict[str | None, Subject] = {}
    for row, instance in enumerate(instances):
        own = unit_text(instance.get(unit_field)) if isinstance(instance, dict) else None
        if own in subjects:
            subjects[own].rows.append(row)
        else:
            subjects[own] = Subject(own, _attributes(instance, attributes), [row])
    return V1Body(document, list(subjects.values()) or [Subject(None, {}, [])])


def read_v2(body: bytes, *, json_bytes: int | None, unit: str | None, names: Sequence[str], unit_field: str) -> Subject:
    """Read a v2 body.

    Args:
        body: JSON, with binary data behind it where `json_bytes` says so.
        json_bytes: Length of the JSON part (`Inference-Header-Content-Length`); None for all of it.
        unit: Unit id from the header; None without one.
        names: Parameters of the request, or else tensors, to read as attributes.
        unit_field: Parameter or tensor that holds the unit; none where empty.

    Raises:
        BadInput: It is not JSON, its binary data do not fit, or it holds several units or too many instances.
    """
    length = len(body) if json_bytes is None else json_bytes
    if not 0 <= length <= len(body):
        raise BadInput(f"the JSON part has {length} bytes, but the body {len(body)}.")
    document = _object(body[:length])
    if isinstance(tensors := document.get("inputs"), list):
        _check_number(len(tensors), "tensors")
    if unit is None and unit_field:
        values = _values(document, unit_field, body, length, most=MAX_INSTANCES + 1)
        _check_number(len(values), "instances or more")
        found = {unit_text(value) for value in values}
        if len(found) > 1:
            raise BadInput(
                f"'{unit_field}' holds {len(found)} units; a v2 request is answered by one arm.",
                remedy="Send one request per unit, or a v1 body.",
            )
        unit = found.pop() if found else None
    texts = {name: _text(values[0]) for name in names if (values := _values(document, name, body, length, most=1))}
    return Subject(unit, {name: text for name, text in texts.items() if text}, [])


def json_length(headers: Headers) -> int | None:
    """Length of the JSON part of a v2 body with binary data; None where all of it is JSON.

    Raises:
        BadInput: The header is no number.
    """
    value = header(headers, JSON_BYTES)
    if not value:
        return None
    if not value.isdigit() or len(value) > _MOST_DIGITS:
        raise BadInput(f"the header {JSON_BYTES.decode()} is {value[:20]!r}, not a number of bytes.")
    return int(value)


def unit_text(value: object) -> str | None:
    """A unit's id as text, as validation reads it: trimmed, and 17.0 is 17; None where there is none.

    Raises:
        BadInput: It is too long, or neither text nor a number.

    >>> unit_text(17.0), unit_text(" ann "), unit_text(None), unit_text("")
    ('17', 'ann', None, None)
    """
    if isinstance(value, dict | list):
        raise BadInput("a unit id is neither text nor a number.")
    text = category_text(value).strip()
    if len(text) > LONGEST_TEXT:
        raise BadInput(f"a unit id has {len(text)} characters; at most {LONGEST_TEXT} are taken.")
    return text or None


def _check_number(number: int, what: str) -> None:
    if number > MAX_INSTANCES:
        raise BadInput(
            f"the request has {number} {what}; at most {MAX_INSTANCES} are taken.", remedy="Send it in parts."
        )


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"the body is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise BadInput("the body is not a JSON object.")
    return document


def _attributes(instance: object, names: Sequence[str]) -> dict[str, str]:
    if not names or not isinstance(instance, dict):
        return {}
    return {name: text for name in names if (text := _text(instance.get(name)))}


def _text(value: object) -> str:
    return "" if isinstance(value, dict | list) else category_text(value).strip()[:LONGEST_TEXT]


def _values(document: Mapping[str, Any], name: str, body: bytes, offset: int, *, most: int) -> list[object]:
    """Values of a parameter of the request or of an input tensor; none where there is neither."""
    parameters = document.get("parameters")
    if isinstance(parameters, dict) and name in parameters:
        return [parameters[name]]
    return tensor_values(document.get("inputs"), name, body, offset, most=most)


def tensor_values(tensors: object, name: str, body: bytes, offset: int, *, most: int) -> list[object]:
    """Values of one of a v2 document's tensors; none where it is absent.

    Args:
        tensors: The document's `inputs` or `outputs`.
        name: Of the tensor.
        body: All of the body.
        offset: Where the binary data begin.
        most: How many values are wanted.

    Raises:
        BadInput: The binary data do not fit.
    """
    for tensor in tensors if isinstance(tensors, list) else []:
        if not isinstance(tensor, dict):
            continue
        parameters = tensor.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is not None and (not isinstance(size, int) or not 0 <= size <= len(body) - offset):
            raise BadInput(f"tensor '{tensor.get('name')}' has binary data that the body does not hold.")
        if tensor.get("name") == name:
            if size is None:
                return _listed(tensor.get("data"), most)
            return _decoded(body[offset : offset + size], str(tensor.get("datatype")), name, most)
        offset += size or 0
    return []


def _listed(data: object, most: int) -> list[object]:
    values = data if isinstance(data, list) else []
    return [value[0] if isinstance(value, list) and len(value) == 1 else value for value in values[:most]]


def _decoded(data: bytes, datatype: str, name: str, most: int) -> list[object]:
    if datatype in _NUMBERS:
        kind = np.dtype(_NUMBERS[datatype])
        return np.frombuffer(data, kind, count=min(len(data) // kind.itemsize, most)).tolist()
    values: list[object] = []
    at = 0
    while at < len(data) and len(values) < most:
        size = int.from_bytes(data[at : at + 4], "little")
        text = data[at + 4 : at + 4 + size]
        if len(text) < size or at + 4 > len(data):
            raise BadInput(f"tensor '{name}' has BYTES that end early.")
        try:
            values.append(text.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise BadInput(f"tensor '{name}' holds text that is not UTF-8.") from error
        at += 4 + size
    return values
