"""From named columns to arrays: the only step between a request and the network that is not inside the network.

Numbers stay raw (missing is NaN) and categories become vocabulary codes. The whole frame and the single request go
through the same vocabulary and the same defaults, so that what is trained on is what is served.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BeforeValidator

from trimtab.errors import BadInput
from trimtab.sessions.inputs import PRIOR_SESSIONS, ModelInputs

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]

# JSON has no NaN: it is written as null and read back.
Default = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]

UNKNOWN = 0  # code of a category that training did not see often enough
MISSING = ""  # how a missing category is written in a vocabulary
RARE_ROWS = 10  # a category with fewer training rows than this trains the unknown bucket


@dataclass(frozen=True)
class Encoder:
    """Turns rows into `(numeric, codes)`.

    Attributes:
        inputs: The model's inputs; a treatment is one more numeric column, after all others.
        vocabularies: Per categorical input, the known categories; a category's code is its position plus one.
        defaults: Per history feature, its value for a unit that was never seen; NaN where such a unit has none.
    """

    inputs: ModelInputs
    vocabularies: dict[str, tuple[str, ...]]
    defaults: dict[str, Default]

    @property
    def numeric(self) -> tuple[str, ...]:
        """Names of the numeric columns, in the order of the array; the treatment, if any, is last."""
        return (*self.inputs.numeric, *((self.inputs.treatment,) if self.inputs.treatment else ()))

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes per categorical input, the unknown bucket included."""
        return tuple(len(self.vocabularies[name]) + 1 for name in self.inputs.categorical)

    def encode(self, frame: pd.DataFrame, *, treatment: int | None = None) -> tuple[Floats, Codes]:
        """Encode a frame.

        Args:
            frame: Rows with at least the request-time inputs. History columns may be absent; a missing treatment
                means that no action is taken.
            treatment: Overrides the treatment of every row.

        Returns:
            `numeric` (float32, [rows, p], NaN where missing) and `codes` (int64, [rows, c]).

        Raises:
            BadInput: A request-time input is absent, or a numeric one holds text.
        """
        absent = [name for name in self.inputs.request if name not in frame.columns]
        if absent:
            raise _absent(absent)
        numeric = np.empty((len(frame), len(self.numeric)), dtype=np.float32)
        for position, name in enumerate(self.numeric):
            numeric[:, position] = self._column(frame, name, treatment)
        codes = np.empty((len(frame), len(self.inputs.categorical)), dtype=np.int64)
        for position, name in enumerate(self.inputs.categorical):
            codes[:, position] = self._codes(frame[name], name)
        return numeric, codes

    def encode_rows(self, rows: Sequence[Mapping[str, Any]], *, treatment: int | None = None) -> tuple[Floats, Codes]:
        """Encode requests without building a frame; equal to `encode` and far faster for a few rows."""
        names, categorical = self.numeric, self.inputs.categorical
        numeric = np.empty((len(rows), len(names)), dtype=np.float32)
        codes = np.empty((len(rows), len(categorical)), dtype=np.int64)
        lookups = self._lookups()
        for position, row in enumerate(rows):
            try:
                numeric[position] = [self._value(row, name) for name in names]
                codes[position] = [lookups[name].get(category_text(row[name]), UNKNOWN) for name in categorical]
            except (KeyError, ValueError, TypeError) as error:
                raise self._explain(row, error) from error
        if treatment is not None and self.inputs.treatment:
            numeric[:, -1] = treatment
        return numeric, codes

    def _column(self, frame: pd.DataFrame, name: str, treatment: int | None) -> Any:
        if name == self.inputs.treatment:
            given = treatment if treatment is not None else (frame[name] if name in frame.columns else 0)
            return given if isinstance(given, int) else pd.Series(given).fillna(0).to_numpy(np.float32)
        if name not in frame.columns:
            return self.defaults[name]
        try:
            values = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise _not_a_number(name) from error
        default = self.defaults.get(name, np.nan)
        return values if math.isnan(default) else np.where(np.isnan(values), default, values)

    def _value(self, row: Mapping[str, Any], name: str) -> float:
        if name in self.defaults:
            value = row.get(name)
            return self.defaults[name] if value is None or value != value else float(value)  # noqa: PLR0124
        if name == self.inputs.treatment:
            return float(row.get(name) or 0)
        value = row[name]
        return math.nan if value is None else float(value)

    def _codes(self, column: "pd.Series[Any]", name: str) -> Codes:
        lookup = self._lookups()[name]
        positions, uniques = pd.factorize(column, use_na_sentinel=True)
        table = [lookup.get(category_text(value), UNKNOWN) for value in uniques]
        return np.array([*table, lookup.get(MISSING, UNKNOWN)], dtype=np.int64)[positions]

    def _lookups(self) -> dict[str, dict[str, int]]:
        cached: dict[str, dict[str, int]] | None = self.__dict__.get("_cache")
        if cached is None:
            cached = {
                name: {text: code for code, text in enumerate(known, start=1)}
                for name, known in self.vocabularies.items()
            }
            self.__dict__["_cache"] = cached
        return cached

    def _explain(self, row: Mapping[str, Any], error: Exception) -> BadInput:
        absent = [name for name in self.inputs.request if name not in row]
        if absent:
            return _absent(absent)
        for name in self.numeric:
            try:
                self._value(row, name)
            except (TypeError, ValueError):
                return _not_a_number(name)
        return BadInput(f"a row cannot be read: {error}.")


def learn_encoder(frame: pd.DataFrame, inputs: ModelInputs) -> Encoder:
    """Learn vocabularies and history defaults from training rows.

    Raises:
        BadInput: An input is not a column of the frame.
    """
    wanted = (*inputs.numeric, *inputs.categorical, *((inputs.treatment,) if inputs.treatment else ()))
    absent = [name for name in wanted if name not in frame.columns]
    if absent:
        raise _absent(absent)
    vocabularies = {name: _vocabulary(frame[name]) for name in inputs.categorical}
    return Encoder(inputs, vocabularies, _defaults(frame, inputs))


def category_text(value: object) -> str:
    """A category as text: missing is empty; 3, 3.0 and "3" are one category, and so are true and "true".

    >>> category_text(3.0), category_text(True), category_text("mobile"), category_text(None)
    ('3', 'true', 'mobile', '')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(value).lower()  # as validation writes truth values
    if value is None or value is pd.NA or value != value:  # noqa: PLR0124
        return MISSING
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def hide_codes(codes: Codes, rng: np.random.Generator, *, share: float = 0.01) -> Codes:
    """Send a small share of training codes to the unknown bucket, so that it too is trained."""
    hidden = codes.copy()
    hidden[rng.random(codes.shape) < share] = UNKNOWN
    return hidden


def _vocabulary(column: "pd.Series[Any]") -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for value, count in column.value_counts(dropna=False).items():
        text = category_text(value)
        counts[text] = counts.get(text, 0) + int(count)
    return tuple(sorted(text for text, count in counts.items() if count >= RARE_ROWS))


def _defaults(frame: pd.DataFrame, inputs: ModelInputs) -> dict[str, float]:
    """A history feature's usual value at a unit's first session; its median where no first session is at hand."""
    if not inputs.history:
        return {}
    history = frame[list(inputs.history)].astype(np.float64)
    first = history[history[PRIOR_SESSIONS] == 0] if PRIOR_SESSIONS in history else history
    rows = first if len(first) else history
    return {name: (float(rows[name].median()) if rows[name].notna().any() else math.nan) for name in inputs.history}


def _absent(names: Sequence[str]) -> BadInput:
    return BadInput(f"input column(s) absent: {', '.join(names)}.", remedy="Give every input that the model names.")


def _not_a_number(name: str) -> BadInput:
    return BadInput(f"column '{name}' holds a value that is not a number.", remedy="Give a number, or leave it empty.")
