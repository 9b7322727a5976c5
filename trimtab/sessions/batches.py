"""Sessions in batches of rows, for work that needs no more than a batch at a time.

Parquet, one file or a folder of them, is read batch by batch, so that memory does not grow with the data. A CSV is read
whole, because only then can its bad lines be counted, and is handed out in the same batches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from trimtab.errors import BadInput
from trimtab.sessions.load import Table, read_table
from trimtab.sessions.spec import FileFormat

ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Batches:
    """A file's or folder's rows.

    Attributes:
        source: Where they are read from.
        columns: Names of the columns.
        total: Number of rows, malformed lines left out.
        malformed: Lines of a CSV with a wrong number of fields, as a table without any row; None without such lines.
        parts: The files, or the whole CSV.
    """

    source: Path
    columns: tuple[str, ...]
    total: int
    malformed: Table | None
    parts: tuple[Path, ...] | Table

    def read(self, columns: Sequence[str]) -> Iterator[tuple[Table, NDArray[np.int64]]]:
        """Batches of some columns, and where each row is: its line in a CSV, its position from 1 in Parquet.

        Raises:
            BadInput: A file cannot be read any further.
        """
        if isinstance(self.parts, Table):
            return _slices(self.parts, columns)
        return _files(self.source, self.parts, columns)


def read_batches(path: str, csv_format: FileFormat | None = None) -> Batches:
    """Look at a data set: a CSV or Parquet file, or a folder of Parquet files, which are read in order of their names.

    Args:
        path: The file or folder.
        csv_format: How a CSV is written; comma-separated where absent.

    Raises:
        BadInput: There is no such data set, it cannot be read, it has no rows, or its files differ in their columns.
    """
    source = Path(path)
    files = _parquet_files(source)
    if not files:
        return _csv(read_table(path, csv_format))
    columns, total = _names(files[0]), 0
    for file in files:
        if _names(file) != columns:
            raise BadInput(f"'{file}' has other columns than '{files[0]}'.", remedy="Score files of one kind together.")
        total += parquet.read_metadata(file).num_rows
    if not total:
        raise BadInput(f"'{path}' has no rows.", remedy="Export the data again.")
    return Batches(source, columns, total, None, files)


def _parquet_files(source: Path) -> tuple[Path, ...]:
    if source.is_dir():
        files = tuple(sorted(file for file in source.glob("*.parquet") if not file.name.startswith((".", "_"))))
        if not files:
            raise BadInput(f"folder '{source}' holds no Parquet file.", remedy="Name a folder with *.parquet in it.")
        return files
    return (source,) if source.is_file() and source.suffix.lower() in {".parquet", ".pq"} else ()


def _names(file: Path) -> tuple[str, ...]:
    try:
        return tuple(parquet.read_schema(file).names)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInput(f"'{file}' cannot be read as Parquet: {reason}", remedy="Write the file again.") from error


def _csv(table: Table) -> Batches:
    nothing = Table(table.path, table.data.slice(0, 0), table.records[:0], table.malformed, table.delimiter)
    return Batches(table.path, table.columns, int(table.data.num_rows), nothing if table.malformed else None, table)


def _slices(table: Table, columns: Sequence[str]) -> Iterator[tuple[Table, NDArray[np.int64]]]:
    lines = table.lines()[table.records]
    for start in range(0, table.data.num_rows, ROWS):
        data = table.data.select(list(columns)).slice(start, ROWS)
        yield Table(table.path, data, np.arange(data.num_rows)), lines[start : start + ROWS]


def _files(source: Path, files: tuple[Path, ...], columns: Sequence[str]) -> Iterator[tuple[Table, NDArray[np.int64]]]:
    position = 1
    for file in files:
        try:
            with parquet.ParquetFile(file) as opened:
                for batch in opened.iter_batches(batch_size=ROWS, columns=list(columns)):
                    rows = np.arange(position, position + batch.num_rows)
                    data = pa.Table.from_batches([batch]).select(list(columns))
                    yield Table(file, data, np.arange(batch.num_rows)), rows
                    position += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise BadInput(f"'{source}' cannot be read any further: {reason}", remedy="Write it again.") from error
