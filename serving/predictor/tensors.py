"""Tensors of the Open Inference Protocol (v2) as columns, and columns as tensors. Pure.

Numbers that come as bytes are read where they lie: `numpy.frombuffer` makes an array of them without copying, and no
value becomes a Python object.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

import numpy as np

from serving.predictor.payload import Column
from trimtab.errors import BadInput

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "FP64": np.dtype("<f8"),
    "FP32": np.dtype("<f4"),
    "FP16": np.dtype("<f2"),
    "INT64": np.dtype("<i8"),
    "INT32": np.dtype("<i4"),
    "INT16": np.dtype("<i2"),
    "INT8": np.dtype("i1"),
    "UINT64": np.dtype("<u8"),
    "UINT32": np.dtype("<u4"),
    "UINT16": np.dtype("<u2"),
    "UINT8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_KINDS: Final = (*DTYPES, "BYTES")
# Types of JSON values that a tensor of a kind may hold.
_ELEMENTS: Final = {
    kind: frozenset({NoneType, bool, *((int,) if "INT" in kind else (int, float) if "FP" in kind else ())})
    for kind in DTYPES
} | {"BYTES": frozenset({NoneType, bool, str, int, float})}
_LENGTH = 4  # bytes before each element of a BYTES tensor that hold its length


@dataclass(frozen=True, slots=True)
class Output:
    """One tensor of an answer.

    Attributes:
        name: Its name.
        datatype: As the protocol writes it.
        values: [instances].
    """

    name: str
    datatype: str
    values: np.ndarray

    def as_bytes(self) -> bytes:
        """The values in the protocol's binary form."""
        return self.values.astype(DTYPES[self.datatype], copy=False).tobytes()


def rows_of(name: str, datatype: object, shape: Sequence[object]) -> int:
    """Instances of a tensor of shape [n] or [n, 1].

    Raises:
        BadInput: It has another shape, or a type that a column cannot have.
    """
    fits = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not fits or not isinstance(shape[0], int) or isinstance(shape[0], bool) or shape[0] < 0:
        raise BadInput(
            f"tensor '{name}' has shape {list(shape)[:4]}.", remedy="Send one tensor per column, of shape [n]."
        )
    if datatype not in _KINDS:
        raise BadInput(f"tensor '{name}' has datatype {datatype!r:.40}.", remedy=f"Use one of {', '.join(_KINDS)}.")
    return shape[0]


def from_bytes(name: str, datatype: str, rows: int, data: bytes | memoryview) -> Column:
    """A tensor that came in binary.

    Args:
        name: Its name, for errors.
        datatype: A known type.
        rows: How many values its shape says.
        data: Exactly its bytes.

    Raises:
        BadInput: The bytes do not fit the shape and type.
    """
    if datatype == "BYTES":
        return _texts(name, rows, data)
    dtype = DTYPES[datatype]
    if len(data) != rows * dtype.itemsize:
        raise BadInput(f"tensor '{name}' of {rows} {datatype} takes {rows * dtype.itemsize} bytes, not {len(data)}.")
    return np.frombuffer(data, dtype=dtype)


def from_json(name: str, datatype: str, rows: int, data: object) -> Column:
    """A tensor whose values came in JSON: a list, or a list of lists of one value; null is a missing value.

    Raises:
        BadInput: It is no list, has another length, or a value is not of its type.
    """
    if not isinstance(data, list):
        raise BadInput(f"tensor '{name}' has no list 'data'.")
    if datatype == "FP16":
        raise BadInput(f"tensor '{name}' is FP16, which JSON cannot hold.", remedy="Send FP32, or send it in binary.")
    kinds = set(map(type, data))
    if list in kinds:
        data = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in data]
        kinds = set(map(type, data))
    if len(data) != rows:
        raise BadInput(f"tensor '{name}' has shape [{rows}] but {len(data)} values.")
    if not kinds <= _ELEMENTS[datatype]:
        wrong = next(value for value in data if type(value) not in _ELEMENTS[datatype])
        raise BadInput(
            f"tensor '{name}' of {datatype} holds {wrong!r:.40}.", remedy="Send null where a value is unknown."
        )
    if "INT" in datatype:
        limits = np.iinfo(DTYPES[datatype])
        if any(value is not None and not limits.min <= value <= limits.max for value in data):
            raise BadInput(f"tensor '{name}' holds a number that is no {datatype}.")
    return data


def text(name: str, value: object) -> object:
    """An element of a BYTES tensor as text.

    Raises:
        BadInput: Its bytes are not UTF-8.
    """
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"tensor '{name}' holds bytes that are not UTF-8.") from error


def outputs(probability: np.ndarray, uplift: np.ndarray, act: np.ndarray, version: int) -> list[Output]:
    """The tensors of an answer; their names and types are `OUTPUTS`."""
    values: dict[str, Any] = {
        "probability": probability,
        "uplift": uplift,
        "act": act,
        "version": np.full(len(act), version, dtype=np.int64),
    }
    return [Output(name, datatype, values[name]) for name, datatype in OUTPUTS.items()]


OUTPUTS: Final = {"probability": "FP64", "uplift": "FP64", "act": "BOOL", "version": "INT64"}


def _texts(name: str, rows: int, data: bytes | memoryview) -> list[object]:
    """Elements of a BYTES tensor: each has its length in four bytes before it."""
    found: list[object] = []
    start, end = 0, len(data)
    while start < end and len(found) <= rows:
        begin = start + _LENGTH
        start = begin + int.from_bytes(data[start:begin], "little")
        if begin > end or start > end:
            raise BadInput(f"tensor '{name}': an element is longer than the tensor's bytes.")
        found.append(text(name, bytes(data[begin:start])))
    if len(found) != rows:
        raise BadInput(f"tensor '{name}' has shape [{rows}] but other bytes than {rows} elements.")
    return found
