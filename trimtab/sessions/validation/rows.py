"""Rows judged one by one, for answers and not for learning: no label is needed, and no column is judged as a whole.

A row is judged by the same rules as in training, so that a model is asked about nothing that it could not have seen.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from trimtab.errors import BadInput
from trimtab.sessions.load import Table
from trimtab.sessions.spec import DatasetSpec
from trimtab.sessions.validation.coerce import read_column
from trimtab.sessions.validation.findings import Defect
from trimtab.sessions.validation.quarantine import malformed_defect, mask_details, rejected_rows
from trimtab.sessions.validation.schema import row_defects


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of rows after judging.

    Attributes:
        frame: The good rows, typed as the spec says.
        places: Where each of them is in the file.
        quarantine: The others, as read, with `row` and `reasons`, personal data masked.
    """

    frame: pd.DataFrame
    places: NDArray[np.int64]
    quarantine: pd.DataFrame


def require_inputs(columns: Collection[str], wanted: Collection[str], source: str) -> None:
    """Stop where `source`, e.g. `file 'new.parquet'`, lacks a column.

    Raises:
        BadInput: A column is absent.
    """
    if absent := [name for name in wanted if name not in columns]:
        raise BadInput(
            f"{source} lacks {len(absent)} of the model's {len(wanted)} columns: {', '.join(absent[:8])}"
            f"{' ...' if len(absent) > 8 else ''}.",
            remedy="Add them; a value that is unknown is left empty.",
        )


def judge_rows(table: Table, places: NDArray[np.int64], spec: DatasetSpec, names: Collection[str], key: bytes) -> Rows:
    """Read some columns of a batch and judge each row by them.

    Args:
        table: The batch.
        places: Where each row is in the file.
        spec: What the columns mean.
        names: Which columns, all of them in the batch.
        key: Key of the pseudonyms that quarantine shows in place of personal data.

    Raises:
        BadInput: A column holds what cannot be values at all, e.g. lists.
    """
    part = spec.model_copy(update={"columns": {name: spec.columns[name] for name in names}})
    table = _typed(table)
    cells = {name: read_column(table, name, part) for name in names}
    frame = pd.DataFrame({name: series for name, (series, _) in cells.items()})
    defects = [defect for _, defect in cells.values() if defect is not None]
    defects += row_defects(frame, part, defects)
    good = np.ones(len(frame), dtype=np.bool_)
    for defect in defects:
        good[defect.rows] = False
    return Rows(
        frame[good].reset_index(drop=True), places[good], _quarantine(table, defects, places, spec=spec, key=key)
    )


def bad_lines(table: Table, spec: DatasetSpec, key: bytes) -> pd.DataFrame:
    """The quarantine of a CSV's lines with a wrong number of fields."""
    defect = malformed_defect(table)
    return _masked(table, [defect] if defect else [], spec, key)


def _typed(table: Table) -> Table:
    """A batch whose columns without any value have a type that can have some."""
    data = table.data
    for place, field in enumerate(data.schema):
        if pa.types.is_null(field.type):
            data = data.set_column(place, field.name, data.column(place).cast(pa.string()))
    return replace(table, data=data)


def _quarantine(
    table: Table, defects: list[Defect], places: NDArray[np.int64], *, spec: DatasetSpec, key: bytes
) -> pd.DataFrame:
    rejected = _masked(table, defects, spec, key)
    if len(rejected):  # its first column counts the batch's rows from 1
        rejected.isetitem(0, places[rejected.iloc[:, 0].to_numpy(dtype=np.int64) - 1])
    return rejected


def _masked(table: Table, defects: list[Defect], spec: DatasetSpec, key: bytes) -> pd.DataFrame:
    personal = frozenset(
        {name for name, column in spec.attributes.items() if column.personal} | ({spec.unit} if spec.unit else set())
    )
    return rejected_rows(table, mask_details(defects, personal=personal, key=key), personal=personal, key=key)
