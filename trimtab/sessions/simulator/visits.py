"""A batch of simulated visits, and its form as a table of the spec."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trimtab.sessions.simulator.catalogue import Array, Codes, categories, spec
from trimtab.sessions.simulator.context import Context
from trimtab.sessions.spec import AttributeColumn

SESSION_DIGITS, USER_DIGITS = 9, 8


@dataclass(frozen=True, slots=True)
class Attributes:
    """Attribute name to codes (categorical) or values (numeric), one entry per visit."""

    values: Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Sessions:
    """Finished sessions, as columns.

    Attributes:
        user: Number of the user.
        seconds: Start in UTC seconds since 1970.
        attributes: Attribute name to codes or numbers.
        kpis: Reported KPIs, in the order of the spec.
        treated: 1 where the action was taken.
        converted: The label.
        revenue: What the session brought in.
        p_control: True probability to convert without the action.
        p_treated: True probability to convert with it.
    """

    user: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.int64]
    attributes: Mapping[str, npt.NDArray[np.generic]]
    kpis: Mapping[str, Array]
    treated: Codes
    converted: Codes
    revenue: Array
    p_control: Array
    p_treated: Array

    def __len__(self) -> int:
        return len(self.user)

    @property
    def p_actual(self) -> Array:
        """True probability to convert under the action that was taken."""
        return np.where(self.treated > 0, self.p_treated, self.p_control)

    def in_time_order(self) -> "Sessions":
        """The same sessions by start, then user."""
        order = np.lexsort((self.user, self.seconds))
        return Sessions(
            user=self.user[order],
            seconds=self.seconds[order],
            attributes={name: values[order] for name, values in self.attributes.items()},
            kpis={name: values[order] for name, values in self.kpis.items()},
            treated=self.treated[order],
            converted=self.converted[order],
            revenue=self.revenue[order],
            p_control=self.p_control[order],
            p_treated=self.p_treated[order],
        )


def join(parts: Sequence[Sessions]) -> Sessions:
    """One batch out of many, in their order."""
    return Sessions(
        user=np.concatenate([part.user for part in parts]),
        seconds=np.concatenate([part.seconds for part in parts]),
        attributes={name: np.concatenate([part.attributes[name] for part in parts]) for name in parts[0].attributes},
        kpis={name: np.concatenate([part.kpis[name] for part in parts]) for name in parts[0].kpis},
        treated=np.concatenate([part.treated for part in parts]),
        converted=np.concatenate([part.converted for part in parts]),
        revenue=np.concatenate([part.revenue for part in parts]),
        p_control=np.concatenate([part.p_control for part in parts]),
        p_treated=np.concatenate([part.p_treated for part in parts]),
    )


def attribute_values(context: Context) -> dict[str, npt.NDArray[np.generic]]:
    """The attributes of the spec, out of the circumstances."""
    return {name: getattr(context, name) for name in spec().attributes}


def session_ids(first: int, count: int) -> pa.Array:
    """Ids `s000000000`, counting from `first`."""
    return _ids("s", np.arange(first, first + count), SESSION_DIGITS)


def user_ids(numbers: npt.NDArray[np.int64]) -> pa.Array:
    """Ids `u00000000` of users by number."""
    return _ids("u", numbers, USER_DIGITS)


def sessions_table(sessions: Sessions) -> pa.Table:
    """Columns and order of the spec; text attributes as text, lost values as null."""
    columns: dict[str, pa.Array] = {
        "session_id": session_ids(0, len(sessions)),
        "user_id": user_ids(sessions.user),
        "started_at": timestamps(sessions.seconds),
        "converted": pa.array(sessions.converted),
        "revenue": pa.array(sessions.revenue),
        "lighter_page": pa.array(sessions.treated),
        **input_columns(sessions.attributes, sessions.kpis),
    }
    return pa.table({name: columns[name] for name in spec().columns})


def oracle_table(sessions: Sessions) -> pa.Table:
    """The true probabilities of each session."""
    return pa.table(
        {
            "session_id": session_ids(0, len(sessions)),
            "p_control": sessions.p_control,
            "p_treated": sessions.p_treated,
            "p_actual": sessions.p_actual,
        }
    )


def input_columns(attributes: Mapping[str, npt.NDArray[np.generic]], kpis: Mapping[str, Array]) -> dict[str, pa.Array]:
    """Attributes and KPIs as columns."""
    return {name: _attribute(name, values) for name, values in attributes.items()} | {
        name: pa.array(values, from_pandas=True) for name, values in kpis.items()
    }


def timestamps(seconds: npt.NDArray[np.int64]) -> pa.Array:
    """Aware UTC times out of seconds since 1970."""
    return pa.array(seconds * 1_000_000_000).cast(pa.timestamp("ns", tz="UTC"))


def _attribute(name: str, values: npt.NDArray[np.generic]) -> pa.Array:
    column = spec().columns[name]
    if isinstance(column, AttributeColumn) and column.kind == "categorical":
        return pa.array(categories(name)).take(pa.array(values))
    return pa.array(values)


def _ids(prefix: str, numbers: npt.NDArray[np.int64], digits: int) -> pa.Array:
    padded = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width=digits, padding="0")
    return pc.binary_join_element_wise(prefix, padded, "")
