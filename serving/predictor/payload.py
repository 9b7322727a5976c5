"""What a request must look like, and the frame it becomes. Pure: knows neither KServe nor a model.

Every request input has to be there, as null where its value is unknown: a misspelt name would otherwise be imputed
without anybody noticing. Keys that the model does not use are ignored, so that one body may go to two versions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from trimtab.errors import BadInput
from trimtab.models.encode import category_text
from trimtab.sessions.inputs import ModelInputs

MAX_INSTANCES = 10_000  # rows of one request: about 5 MB of JSON, and below a second of work


@dataclass(frozen=True, slots=True)
class Batch:
    """A request's instances.

    Attributes:
        frame: One row per instance: the request inputs, and the history where every instance carries all of it.
        units: Unit id of each instance as text; None where it has none.
        times: When each instance happens; None where it does not say.
    """

    frame: pd.DataFrame
    units: tuple[str | None, ...]
    times: tuple[datetime | None, ...]


def columns_of_instances(body: object, wanted: Sequence[str], required: Sequence[str]) -> dict[str, list[object]]:
    """Turn a v1 body into columns.

    Args:
        body: The decoded JSON body.
        wanted: Names to read.
        required: The members of `wanted` that every instance must carry.

    Returns:
        Name to the values of all instances; a name that some instance lacks is left out.

    Raises:
        BadInput: The body is not `{"instances": [{...}, ...]}`, or an instance lacks a required name.
    """
    instances = body.get("instances") if isinstance(body, dict) else None
    if not isinstance(instances, list):
        raise BadInput("the body has no list 'instances'.", remedy='Send JSON: {"instances": [{"<column>": <value>}]}.')
    _check_size(len(instances))
    must = frozenset(required)
    for position, row in enumerate(instances):
        if not isinstance(row, dict):
            raise BadInput(f"instances[{position}] is not an object of columns.")
        if not must <= row.keys():
            missing = sorted(must - row.keys())
            raise BadInput(
                f"instances[{position}] lacks {_some(missing)}.", remedy="Send null where a value is unknown."
            )
    return {name: [row[name] for row in instances] for name in wanted if all(name in row for row in instances)}


def batch_of(
    columns: Mapping[str, Sequence[object]],
    inputs: ModelInputs,
    *,
    unit: str | None = None,
    timestamp: str | None = None,
) -> Batch:
    """Check the values of a request's columns and make a frame of them.

    Args:
        columns: Name to values, one per instance, all of one length.
        inputs: The inputs of the model.
        unit: Name of the unit column, where the data have one; a request may leave it out.
        timestamp: Name of the timestamp column, where the data have one; a request may leave it out.

    Raises:
        BadInput: A column is absent, a length differs, a number is text or not finite, a category is not a scalar, a
            time is not ISO 8601 with a zone.
    """
    missing = sorted(set(inputs.request) - columns.keys())
    if missing:
        raise BadInput(f"the request lacks {_some(missing)}.", remedy="Send null where a value is unknown.")
    rows = len(columns[inputs.request[0]])
    _check_size(rows)
    with_history = all(name in columns for name in inputs.history)
    numeric = [name for name in inputs.numeric if with_history or name not in inputs.history]
    for name in (*numeric, *inputs.categorical):
        if len(columns[name]) != rows:
            raise BadInput(f"column '{name}' has {len(columns[name])} values where others have {rows}.")
    data: dict[str, object] = {name: _numbers(name, columns[name]) for name in numeric}
    data.update({name: _categories(name, columns[name]) for name in inputs.categorical})
    nothing: Sequence[object] = (None,) * rows
    units = columns.get(unit, nothing) if unit else nothing
    times = columns.get(timestamp, nothing) if timestamp else nothing
    if len(units) != rows or len(times) != rows:
        raise BadInput(f"the unit or time column does not have {rows} values, as others have.")
    return Batch(pd.DataFrame(data), tuple(map(_unit, units)), tuple(_time(str(timestamp), value) for value in times))


def _check_size(rows: int) -> None:
    if not 0 < rows <= MAX_INSTANCES:
        raise BadInput(f"the request has {rows} instances.", remedy=f"Send between 1 and {MAX_INSTANCES}.")


def _numbers(name: str, values: Sequence[object]) -> np.ndarray:
    for position, value in enumerate(values):
        if value is not None and not isinstance(value, int | float):
            raise BadInput(f"'{name}' of instance {position} is {_shown(value)}, not a number or null.")
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError as error:
        raise BadInput(f"'{name}' holds a number that is too large.") from error
    if np.isinf(numbers).any():
        raise BadInput(f"'{name}' holds an infinite number.", remedy="Send null where a value is unknown.")
    return numbers


def _categories(name: str, values: Sequence[object]) -> np.ndarray:
    for position, value in enumerate(values):
        if value is not None and not isinstance(value, str | int | float):
            raise BadInput(f"'{name}' of instance {position} is {_shown(value)}, not text or null.")
    column = np.empty(len(values), dtype=object)
    column[:] = [category_text(value).strip() or None for value in values]
    return column


def _unit(value: object) -> str | None:
    """A unit's id as text, as validation reads it: trimmed, and 17.0 is 17."""
    return None if value is None or isinstance(value, dict | list) else category_text(value).strip() or None


def _time(name: str, value: object) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise BadInput(f"'{name}' is {_shown(value)}, not a time.", remedy="Write it as ISO 8601.") from error
    if moment.tzinfo is None:
        raise BadInput(f"'{name}' is {_shown(value)}, without a zone.", remedy="Add one, e.g. 'Z'.")
    return moment


def _some(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
