"""What a request must look like, and the arrays it becomes. Pure: knows neither KServe nor HTTP.

Every request input has to be there, as null where its value is unknown: a misspelt name would otherwise be imputed
without anybody noticing. Keys that the model does not use are ignored, so that one body may go to two versions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from types import NoneType
from typing import Any

import numpy as np

from trimtab.errors import BadInput
from trimtab.models.encode import UNKNOWN, Codes, Encoder, Floats, category_text

MAX_INSTANCES = 10_000  # rows of one request: about 15 MB of JSON, and below a second of work
MAX_BODY_BYTES = 32 * 2**20  # 10,000 instances of a hundred columns

Column = Sequence[object] | np.ndarray

_LARGEST = float(np.finfo(np.float32).max)
_NUMBERS = frozenset({float, int, bool, NoneType})
_SCALARS = frozenset({str, float, int, bool, NoneType})


@dataclass(frozen=True, slots=True)
class Batch:
    """A request's instances.

    Attributes:
        numeric: Numbers for the model, [instances, p]; the history is the training-time defaults unless carried.
        codes: Categories for the model, [instances, c].
        carries_history: Whether every instance carries the whole history.
        units: Unit id of each instance as text; None where it has none.
        times: When each instance happens; None where it does not say.
    """

    numeric: Floats
    codes: Codes
    carries_history: bool
    units: tuple[str | None, ...]
    times: tuple[datetime | None, ...]


class RequestReader:
    """Checks requests for one model, and encodes them.

    Args:
        encoder: The model's encoder.
        unit: Name of the unit column, where the data have one; a request may leave it out.
        timestamp: Name of the timestamp column, where the data have one; a request may leave it out.
    """

    def __init__(self, encoder: Encoder, *, unit: str | None = None, timestamp: str | None = None) -> None:
        inputs = encoder.inputs
        self._inputs = inputs
        self._unit = unit
        self._timestamp = timestamp
        self._required = frozenset(inputs.request)
        history = frozenset(inputs.history)
        self._carried = history
        self._given = [name for name in inputs.numeric if name not in history]
        self._names = encoder.numeric
        defaults = [encoder.defaults[name] for name in inputs.history]
        # What an instance itself does not say: the history of a new unit, and no action.
        self._new_unit = (*defaults, *([0.0] if inputs.treatment else []))
        self._history_at = slice(len(self._given), len(self._given) + len(defaults))
        self._defaults: Floats = np.array(defaults, dtype=np.float32)
        if (*self._given, *inputs.history) != inputs.numeric:
            raise BadInput("the model's inputs are not request-time columns, then history.", remedy="Train it again.")
        self._lookups = {
            name: {text: code for code, text in enumerate(encoder.vocabularies[name], start=1)}
            for name in inputs.categorical
        }
        self._numbers_of = _picker(self._given)
        self._categories_of = _picker(inputs.categorical)
        self._history_of = _picker(inputs.history)

    def instances(self, body: object) -> Batch:
        """Read a v1 body.

        Args:
            body: The decoded JSON body.

        Raises:
            BadInput: It is not `{"instances": [{...}, ...]}`, an instance lacks a column, a number is text or not
                finite, a category is not a scalar, or a time is not ISO 8601 with a zone.
        """
        rows = body.get("instances") if isinstance(body, dict) else None
        if not isinstance(rows, list):
            raise BadInput(
                "the body has no list 'instances'.", remedy='Send JSON: {"instances": [{"<column>": <value>}]}.'
            )
        _check_size(len(rows))
        try:
            carries = self._carried and all(map(self._carried.issubset, rows))
            numbers = [self._numbers_of(row) for row in rows]
            histories = [self._history_of(row) for row in rows] if carries else ()
            categories = [self._categories_of(row) for row in rows]
        except (KeyError, TypeError, IndexError):
            self._check_rows(rows)
            raise
        numeric = _table([row + self._new_unit for row in numbers], self._names)
        if carries:
            self.fill(numeric, _table(histories, self._inputs.history))
        units = tuple(_unit(row.get(self._unit)) for row in rows) if self._unit else (None,) * len(rows)
        times = tuple(self._time(row.get(self._timestamp)) for row in rows) if self._timestamp else (None,) * len(rows)
        return Batch(numeric, self._codes(categories), bool(carries), units, times)

    def columns(self, columns: Mapping[str, Column]) -> Batch:
        """Read columns, as a v2 request sends them.

        Args:
            columns: Name to the values of all instances: an array of numbers, or Python values.

        Raises:
            BadInput: A column is absent, lengths differ, or a value is wrong as in `instances`.
        """
        missing = sorted(self._required - columns.keys())
        if missing:
            raise BadInput(f"the request lacks {_some(missing)}.", remedy="Send null where a value is unknown.")
        rows = len(columns[self._inputs.request[0]])
        _check_size(rows)
        carries = bool(self._inputs.history) and all(name in columns for name in self._inputs.history)
        about = [name for name in (self._unit, self._timestamp) if name and name in columns]
        for name in (*self._inputs.request, *(self._inputs.history if carries else ()), *about):
            if len(columns[name]) != rows:
                raise BadInput(f"column '{name}' has {len(columns[name])} values where others have {rows}.")
        numeric = np.empty((rows, len(self._names)), dtype=np.float32)
        if self._given:
            numeric[:, : len(self._given)] = _numbers(self._given, columns)
        numeric[:, len(self._given) :] = self._new_unit
        if carries:
            self.fill(numeric, _numbers(self._inputs.history, columns))
        texts = [_values(columns[name]) for name in self._inputs.categorical]
        codes = self._codes(list(zip(*texts, strict=True))) if texts else np.empty((rows, 0), dtype=np.int64)
        nothing: tuple[None, ...] = (None,) * rows
        units = tuple(map(_unit, _values(columns[self._unit]))) if self._unit in about else nothing
        times = tuple(map(self._time, _values(columns[self._timestamp]))) if self._timestamp in about else nothing
        return Batch(numeric, codes, carries, units, times)

    def fill(self, numeric: Floats, history: np.ndarray) -> None:
        """Write history features into encoded rows; a missing value is the training-time default.

        Args:
            numeric: Encoded rows, [rows, p]; changed in place.
            history: The features in the order of the inputs, [rows, h], NaN where missing.
        """
        numeric[:, self._history_at] = np.where(np.isnan(history), self._defaults, history)

    def _codes(self, rows: Sequence[Sequence[object]]) -> Codes:
        lookups = self._lookups.values()
        codes = []
        for position, row in enumerate(rows):
            if not _SCALARS.issuperset(map(type, row)):
                raise _not_a_category(position, row, self._lookups)
            codes.append([_code(known, value) for known, value in zip(lookups, row, strict=True)])
        return np.array(codes, dtype=np.int64).reshape(len(rows), len(lookups))

    def _check_rows(self, rows: Sequence[object]) -> None:
        """Say which instance is not an object with all columns."""
        for position, row in enumerate(rows):
            if not isinstance(row, dict):
                raise BadInput(f"instances[{position}] is not an object of columns.")
            if missing := sorted(self._required - row.keys()):
                raise BadInput(
                    f"instances[{position}] lacks {_some(missing)}.", remedy="Send null where a value is unknown."
                )

    def _time(self, value: object) -> datetime | None:
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError as error:
            raise BadInput(
                f"'{self._timestamp}' is {_shown(value)}, not a time.", remedy="Write it as ISO 8601."
            ) from error
        if moment.tzinfo is None:
            raise BadInput(f"'{self._timestamp}' is {_shown(value)}, without a zone.", remedy="Add one, e.g. 'Z'.")
        return moment


def _code(known: Mapping[str, int], value: object) -> int:
    """Code of a category, as validation reads it: trimmed, and 3.0 is 3; most values need no such reading."""
    code = known.get(value) if isinstance(value, str) else None
    return code if code is not None else known.get(category_text(value).strip(), UNKNOWN)


def _picker(names: Sequence[str]) -> Callable[[Any], tuple[object, ...]]:
    """A function that takes the values of some keys out of a mapping, as a tuple."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda row: tuple(row[name] for name in names)


def _check_size(rows: int) -> None:
    if not 0 < rows <= MAX_INSTANCES:
        raise BadInput(f"the request has {rows} instances.", remedy=f"Send between 1 and {MAX_INSTANCES}.")


def _table(rows: Sequence[Sequence[object]], names: Sequence[str]) -> Floats:
    """Numbers of instances, [rows, names]; null is NaN."""
    for position, row in enumerate(rows):
        if not _NUMBERS.issuperset(map(type, row)):
            raise _not_a_number(position, row, names)
    try:
        return _single(np.array(rows, dtype=np.float64), names)
    except OverflowError as error:
        raise BadInput("the request holds a number that is too large.") from error


def _numbers(names: Sequence[str], columns: Mapping[str, Column]) -> Floats:
    """Numbers of columns, [rows, names]."""
    found = [columns[name] for name in names]
    if all(isinstance(column, list) for column in found):
        return _table(list(zip(*found, strict=True)), names)
    arrays = [
        column
        if isinstance(column, np.ndarray) and column.dtype.kind in "fiub"
        else _table([(value,) for value in _values(column)], (name,))[:, 0]
        for name, column in zip(names, found, strict=True)
    ]
    return _single(np.stack(arrays, axis=1).astype(np.float64, copy=False), names)


def _single(numbers: np.ndarray, names: Sequence[str]) -> Floats:
    """Numbers in the model's precision; one that is too large for it, but finite, is as large as there is."""
    if np.fmax.reduce(np.abs(numbers), axis=None) > _LARGEST:
        infinite = np.argwhere(np.isinf(numbers))
        if len(infinite):
            name = names[infinite[0][1]]
            raise BadInput(f"'{name}' holds an infinite number.", remedy="Send null where a value is unknown.")
        numbers = np.clip(numbers, -_LARGEST, _LARGEST)
    return numbers.astype(np.float32)


def _values(column: Column) -> Sequence[object]:
    return column.tolist() if isinstance(column, np.ndarray) else column


def _unit(value: object) -> str | None:
    """A unit's id as text, as validation reads it: trimmed, and 17.0 is 17."""
    return None if value is None or isinstance(value, dict | list) else category_text(value).strip() or None


def _not_a_number(position: int, row: Sequence[object], names: Sequence[str]) -> BadInput:
    name, value = next((name, value) for name, value in zip(names, row, strict=True) if type(value) not in _NUMBERS)
    return BadInput(f"'{name}' of instance {position} is {_shown(value)}, not a number or null.")


def _not_a_category(position: int, row: Sequence[object], names: Mapping[str, object]) -> BadInput:
    name, value = next((name, value) for name, value in zip(names, row, strict=True) if type(value) not in _SCALARS)
    return BadInput(f"'{name}' of instance {position} is {_shown(value)}, not text or null.")


def _some(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
