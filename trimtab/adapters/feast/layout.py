"""How a feature row is packed: a fixed-width record of 8-byte words, built for a whole table at once.

    offset 0   uint32  id of the layout (CRC-32 of its description)
           4   uint32  1 where the record was pushed, 0 where it was materialised
           8   int64   event time, microseconds since the epoch
          16   8 bytes per feature, in the view's order

A missing value is a NaN, or the smallest int64. The description is kept beside the rows, so that a row written before
a view changed is still read as what it was.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType

from trimtab.errors import BadInput

MISSING_INTEGER: Final = -(2**63)

# Feast type -> field of its value message, struct code of its word.
_WORDS: Final = {
    ValueType.DOUBLE: ("double_val", "d"),
    ValueType.FLOAT: ("float_val", "d"),
    ValueType.INT64: ("int64_val", "q"),
    ValueType.INT32: ("int32_val", "q"),
    ValueType.BOOL: ("bool_val", "q"),
    ValueType.UNIX_TIMESTAMP: ("unix_timestamp_val", "q"),
}
_CODES: Final = dict(_WORDS.values())
_HEADER: Final = struct.Struct("<IIq")


class Header(NamedTuple):
    """What a record says before its values.

    Attributes:
        layout: Id of its layout.
        pushed: 1 where it was pushed, 0 where it was materialised.
        event: Event time, microseconds since the epoch.
    """

    layout: int
    pushed: int
    event: int


@dataclass(frozen=True)
class RowLayout:
    """The features of a row, in order.

    Attributes:
        names: Names of the features.
        fields: Field of Feast's value message that each one fills.
    """

    names: tuple[str, ...]
    fields: tuple[str, ...]

    @classmethod
    def of(cls, view: FeatureView) -> "RowLayout":
        """The layout of a view's features.

        Raises:
            BadInput: A feature is not a number.
        """
        fields = []
        for feature in view.features:
            kind = feature.dtype.to_value_type()
            if kind not in _WORDS:
                raise BadInput(
                    f"feature '{feature.name}' of view '{view.name}' is {kind.name}, and the packed online store holds "
                    "numbers, booleans and timestamps.",
                    remedy="Keep the feature in a view with another online store, or give the model a number.",
                )
            fields.append(_WORDS[kind][0])
        return cls(tuple(feature.name for feature in view.features), tuple(fields))

    @classmethod
    def parse(cls, text: str) -> "RowLayout":
        """The layout of a description."""
        raw = json.loads(text)
        return cls(tuple(raw["names"]), tuple(raw["fields"]))

    @cached_property
    def text(self) -> str:
        """The description."""
        return json.dumps({"names": self.names, "fields": self.fields}, separators=(",", ":"))

    @cached_property
    def id(self) -> int:
        """Identifies the description."""
        return zlib.crc32(self.text.encode())

    @cached_property
    def _words(self) -> struct.Struct:
        return struct.Struct("<" + "".join(_CODES[field] for field in self.fields))

    def pack_table(self, table: pa.Table, event_micros: np.ndarray) -> list[bytes]:
        """One record per row of an Arrow table that has the layout's columns.

        Args:
            table: Columns by feature name; others are ignored.
            event_micros: Event times, shape [rows], microseconds since the epoch.
        """
        count = len(self.names)
        records = np.empty(
            table.num_rows,
            dtype=np.dtype([("layout", "<u4"), ("pushed", "<u4"), ("event", "<i8"), ("words", "<i8", (count,))]),
        )
        records["layout"] = self.id
        records["pushed"] = 0
        records["event"] = event_micros
        for position, (name, field) in enumerate(zip(self.names, self.fields, strict=True)):
            records["words"][:, position] = _words_of(table.column(name), field)
        body, width = records.tobytes(), records.dtype.itemsize
        return [body[start : start + width] for start in range(0, len(body), width)]

    def pack(self, values: dict[str, Value], event_micros: int) -> bytes:
        """One pushed record of Feast values."""
        words = []
        for name, field in zip(self.names, self.fields, strict=True):
            value = values.get(name)
            if value is None or value.WhichOneof("val") is None:
                words.append(float("nan") if _CODES[field] == "d" else MISSING_INTEGER)
            else:
                words.append(getattr(value, field))
        return _HEADER.pack(self.id, 1, event_micros) + self._words.pack(*words)

    def unpack(self, record: bytes, wanted: Sequence[str] | None) -> dict[str, Value]:
        """Feast values of a record, of the `wanted` features or of all; a missing value is an empty message."""
        values: dict[str, Value] = {}
        keep = None if wanted is None else set(wanted)
        for name, field, word in zip(
            self.names, self.fields, self._words.unpack_from(record, _HEADER.size), strict=True
        ):
            if keep is None or name in keep:
                values[name] = _value(field, word)
        return values


def header(record: bytes) -> Header:
    """What a record says before its values."""
    return Header._make(_HEADER.unpack_from(record))


def micros(times: pa.ChunkedArray) -> np.ndarray:
    """Arrow timestamps as microseconds since the epoch, shape [rows]; without a zone they are UTC."""
    zone = times.type.tz if pa.types.is_timestamp(times.type) else None
    return np.asarray(times.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64()).to_numpy())


def _words_of(column: pa.ChunkedArray, field: str) -> np.ndarray:
    if _CODES[field] == "d":
        floats = column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64, copy=False)
        return np.ascontiguousarray(floats).view(np.int64)
    if pa.types.is_timestamp(column.type):
        seconds = pc.divide(column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64()), 1_000_000)
        return np.asarray(seconds.fill_null(MISSING_INTEGER).to_numpy())
    return np.asarray(column.cast(pa.int64()).fill_null(MISSING_INTEGER).to_numpy())


def _value(field: str, word: Any) -> Value:
    value = Value()
    if word == word and word != MISSING_INTEGER:  # noqa: PLR0124 - false for a NaN, and faster than asking
        setattr(value, field, bool(word) if field == "bool_val" else word)
    return value
