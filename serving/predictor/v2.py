"""The Open Inference Protocol (v2) over HTTP: JSON, and its binary extension, whose tensors follow the JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from serving.predictor.engine import Answer, Engine
from serving.predictor.payload import Column
from serving.predictor.tensors import OUTPUTS, Output, from_bytes, from_json, outputs, rows_of
from serving.predictor.v1 import parsed
from trimtab.errors import BadInput


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was read.

    Attributes:
        columns: The tensors' values by name.
        id: The caller's id of the request; empty for none.
        wanted: Names of the outputs to answer with, in order; each with whether it is wanted in binary.
    """

    columns: Mapping[str, Column]
    id: str
    wanted: Mapping[str, bool]


async def answer(engine: Engine, body: bytes, json_length: bytes | None) -> tuple[bytes, int | None]:
    """Answer the body of `POST /v2/models/{name}/infer`.

    Args:
        engine: Answers.
        body: JSON, and the bytes of binary tensors after it.
        json_length: Length of the JSON as the header `Inference-Header-Content-Length` says; None without one.

    Returns:
        The body of the answer, and the length of its JSON where bytes follow it.

    Raises:
        BadInput: The request is not as the protocol or the model wants it.
    """
    request = read(body, json_length)
    batch = engine.reader.columns(request.columns)
    engine.metrics.batch("v2", len(batch.units))
    return _written(engine, request, await engine.answer(batch))


def read(body: bytes, json_length: bytes | None) -> Request:
    """Read a request.

    Raises:
        BadInput: It is not as the protocol says.
    """
    length = _length(json_length, len(body))
    view = memoryview(body)
    document = parsed(view[:length] if length < len(body) else body)
    tensors = document.get("inputs") if isinstance(document, dict) else None
    if not isinstance(tensors, list) or not isinstance(document, dict):
        raise BadInput(
            "the body has no list 'inputs'.",
            remedy='Send JSON: {"inputs": [{"name": "<column>", "shape": [1], "datatype": "FP64", "data": [0.5]}]}.',
        )
    columns: dict[str, Column] = {}
    start = length
    for tensor in tensors:
        start = _read_tensor(tensor, columns, view, start)
    if start != len(body):
        raise BadInput(f"{len(body) - start} bytes after the JSON belong to no tensor.")
    name = document.get("id") or ""
    if not isinstance(name, str):
        raise BadInput("the request's 'id' is not text.")
    everything = _parameters(document).get("binary_data_output", False) is True
    return Request(columns, name, wanted_outputs(_requested(document), binary=everything))


def wanted_outputs(requested: Sequence[tuple[str, bool | None]], *, binary: bool) -> dict[str, bool]:
    """Outputs to answer with; all of them where none is requested.

    Args:
        requested: Names, each with whether it is wanted in binary; None where that is not said.
        binary: Whether outputs that do not say are wanted in binary.

    Raises:
        BadInput: A name is not an output.
    """
    for name, _ in requested:
        if name not in OUTPUTS:
            raise BadInput(f"the model has no output {name!r:.40}.", remedy=f"Its outputs are {', '.join(OUTPUTS)}.")
    if not requested:
        return dict.fromkeys(OUTPUTS, binary)
    return {name: binary if own is None else own for name, own in requested}


def history_word(sources: Sequence[str]) -> str:
    """Where the history of all instances came from, or `mixed`."""
    first = sources[0]
    return first if all(source == first for source in sources) else "mixed"


def _length(header: bytes | None, size: int) -> int:
    if header is None:
        return size
    if not header.isdigit() or len(header) > 12 or int(header) > size:
        raise BadInput(f"the header Inference-Header-Content-Length does not fit a body of {size} bytes.")
    return int(header)


def _read_tensor(tensor: object, columns: dict[str, Column], view: memoryview, start: int) -> int:
    """Add a tensor's values to the columns; returns where the next tensor's bytes start."""
    if not isinstance(tensor, dict) or not isinstance(name := tensor.get("name"), str):
        raise BadInput("an entry of 'inputs' is not a tensor with a name.")
    if name in columns:
        raise BadInput(f"tensor {name!r:.60} is there twice.")
    shape, datatype = tensor.get("shape"), tensor.get("datatype")
    if not isinstance(shape, list):
        raise BadInput(f"tensor {name!r:.60} has no list 'shape'.")
    rows = rows_of(name, datatype, shape)
    assert isinstance(datatype, str)
    if tensor.get("data") is not None:
        columns[name] = from_json(name, datatype, rows, tensor["data"])
        return start
    size = _parameters(tensor).get("binary_data_size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(view) - start:
        raise BadInput(f"tensor {name!r:.60} has neither 'data' nor a 'binary_data_size' that fits the body.")
    columns[name] = from_bytes(name, datatype, rows, view[start : start + size])
    return start + size


def _parameters(document: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = document.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadInput("'parameters' is not an object.")
    return parameters


def _requested(document: Mapping[str, Any]) -> list[tuple[str, bool | None]]:
    requested = document.get("outputs") or []
    if not isinstance(requested, list):
        raise BadInput("'outputs' is not a list.")
    found: list[tuple[str, bool | None]] = []
    for output in requested:
        if not isinstance(output, dict) or not isinstance(output.get("name"), str):
            raise BadInput("an entry of 'outputs' has no name.")
        binary = _parameters(output).get("binary_data")
        found.append((output["name"], None if binary is None else binary is True))
    return found


def _written(engine: Engine, request: Request, answer: Answer) -> tuple[bytes, int | None]:
    actions = answer.actions
    tensors = {one.name: one for one in outputs(actions.probability, actions.uplift, actions.act, engine.version)}
    chosen = [(tensors[name], binary) for name, binary in request.wanted.items()]
    tail: list[bytes] = []
    document = {
        "model_name": engine.name,
        "model_version": str(engine.version),
        "id": request.id or uuid4().hex,
        "parameters": {"history": history_word(answer.history)},
        "outputs": [_tensor(output, tail, binary=binary) for output, binary in chosen],
    }
    head = orjson.dumps(document)
    return (b"".join((head, *tail)), len(head)) if tail else (head, None)


def _tensor(output: Output, tail: list[bytes], *, binary: bool) -> dict[str, object]:
    described: dict[str, object] = {"name": output.name, "shape": [len(output.values)], "datatype": output.datatype}
    if not binary:
        return {**described, "data": output.values.tolist()}
    data = output.as_bytes()
    tail.append(data)
    return {**described, "parameters": {"binary_data_size": len(data)}}
