"""Reads a table as it is written, before anything is judged.

A CSV is read as text, so that validation can quote what the file says and quarantine can give it back unchanged;
a Parquet file keeps its types. What cannot be read at all is a `BadInput` that names the file and the remedy; a line
with too few or too many fields is kept aside, because nothing may vanish.
"""

import codecs
import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
from numpy.typing import NDArray
from pyarrow import parquet

from trimtab.errors import BadInput
from trimtab.sessions.spec import FileFormat

_DELIMITERS = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}
_ARCHIVES = {b"PK\x03\x04": "a spreadsheet or zip archive", b"\xd0\xcf\x11\xe0": "an old spreadsheet"}
# A field longer than this is a quote that was never closed, not a value.
_LONGEST_HEADER = 1024 * 1024
_LONGEST_RECORD = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line of a CSV with a wrong number of fields.

    Attributes:
        record: Position among the records after the header, from 0.
        cells: Its fields as text.
    """

    record: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A file's content before validation.

    Attributes:
        path: Where it was read from.
        data: The well-formed rows; text columns for a CSV, typed ones for Parquet.
        records: Position of each row of `data` among all records of the file, from 0.
        malformed: The other records.
        delimiter: Delimiter of a CSV; empty for Parquet.
    """

    path: Path
    data: pa.Table
    records: NDArray[np.int64]
    malformed: tuple[Malformed, ...] = ()
    delimiter: str = ""

    @property
    def rows(self) -> int:
        """Number of records read, malformed ones included."""
        return int(self.data.num_rows) + len(self.malformed)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.data.column_names)

    def lines(self) -> NDArray[np.int64]:
        """Where each record is found in the file: the line it starts on (CSV), or its position from 1 (Parquet)."""
        if not self.delimiter:
            return np.arange(1, self.rows + 1)
        starts = np.fromiter(_record_lines(_content(self.path), self.delimiter), dtype=np.int64)
        return starts[1:]


def read_table(path: str | Path, csv_format: FileFormat | None = None) -> Table:
    """Read a CSV (also `.csv.gz`) or Parquet file.

    Args:
        path: The file.
        csv_format: How a CSV is written; comma-separated where absent.

    Returns:
        The table, with at least one row.

    Raises:
        BadInput: The file is absent, a folder, empty, not UTF-8, without rows, not readable as its kind, delimited
            otherwise than declared, or has two columns of one name.
    """
    if "://" in str(path):
        raise BadInput(
            f"'{path}' is a URL; data are read from files.", remedy="Copy it to a disk that this process sees."
        )
    path = Path(path)
    if path.is_dir():
        raise BadInput(f"'{path}' is a folder, not a data file.", remedy="Give one CSV or Parquet file in it.")
    if not path.is_file():
        raise BadInput(f"there is no file '{path}'.", remedy="Check the path given as --data.")
    if path.stat().st_size == 0:
        raise BadInput(f"'{path}' is empty.", remedy="Export the data again; the first line must name the columns.")
    if path.suffix.lower() in {".parquet", ".pq"} or _starts_with(path, b"PAR1"):
        return _read_parquet(path)
    return _read_csv(path, csv_format or FileFormat())


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _read_parquet(path: Path) -> Table:
    try:
        data = parquet.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise BadInput(
            f"'{path}' cannot be read as Parquet: {_first_line(error)}",
            remedy="Write the file again; if it holds text, give it the suffix .csv.",
        ) from error
    _check_header(path, data.column_names)
    if data.num_rows == 0:
        raise BadInput(f"'{path}' names {data.num_columns} columns and has no rows.", remedy="Export the data again.")
    return Table(path, data, np.arange(data.num_rows))


def _read_csv(path: Path, csv_format: FileFormat) -> Table:
    content = _content(path).lstrip(b"\r\n")
    if not content.strip():
        raise BadInput(f"'{path}' is empty.", remedy="Export the data again; the first line must name the columns.")
    names = _header(path, content, csv_format.delimiter)
    _check_header(path, names)
    refused: list[Any] = []

    def keep_aside(row: Any) -> str:
        refused.append(row)
        return "skip"

    try:
        data = arrow_csv.read_csv(
            io.BytesIO(content),  # begins with the header: leading empty lines are gone
            # One thread: only then does the reader number the rows that it refuses.
            read_options=arrow_csv.ReadOptions(
                use_threads=False, column_names=names, skip_rows_after_names=1, block_size=_LONGEST_RECORD
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=csv_format.delimiter, invalid_row_handler=keep_aside, newlines_in_values=b'"' in content
            ),
            convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except pa.ArrowException as error:
        raise BadInput(
            f"'{path}' cannot be read as CSV: {_first_line(error)}",
            remedy="Look for a quotation mark that is opened and never closed.",
        ) from error
    # The reader counts records from 1 and the header is the first.
    malformed = tuple(Malformed(int(row.number) - 2, tuple(_cells(row.text, csv_format.delimiter))) for row in refused)
    _check_rows(path, data.num_rows, malformed, len(names))
    records = np.delete(np.arange(data.num_rows + len(malformed)), [row.record for row in malformed])
    return Table(path, data, records, malformed, csv_format.delimiter)


def _content(path: Path) -> bytes:
    """The bytes of a text file, unpacked, without a byte-order mark, known to be UTF-8."""
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise BadInput(f"'{path}' is a damaged gzip file: {error}.", remedy="Copy or pack it again.") from error
    for magic, kind in _ARCHIVES.items():
        if content.startswith(magic):
            raise BadInput(f"'{path}' is {kind}, not a CSV.", remedy="Export the table as CSV (UTF-8) or Parquet.")
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInput(
            f"'{path}' is not UTF-8: line {line} holds the byte 0x{content[error.start]:02x}.",
            remedy="Save it as UTF-8, e.g. `iconv -f WINDOWS-1252 -t UTF-8 OLD.csv > NEW.csv`.",
        ) from error
    return content


def _header(path: Path, content: bytes, delimiter: str) -> list[str]:
    start = io.StringIO(content[:_LONGEST_HEADER].decode("utf-8", errors="ignore"), newline="")
    names = [name.strip() for name in next(csv.reader(start, delimiter=delimiter))]
    if len(names) > 1:
        return names
    for other, shown in _DELIMITERS.items():
        if other != delimiter and other in names[0]:
            raise BadInput(
                f"'{path}' has one column when split at {_DELIMITERS.get(delimiter, repr(delimiter))}; "
                f"its first line is delimited by {shown}.",
                remedy=f"Write `format: {{delimiter: {_yaml_character(other)}}}` in the spec.",
            )
    return names


def _yaml_character(character: str) -> str:
    return '"\\t"' if character == "\t" else f'"{character}"'


def _check_header(path: Path, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1 and name})
    if repeated:
        raise BadInput(
            f"'{path}' has more than one column named {', '.join(map(repr, repeated))}.",
            remedy="Rename or remove the repeated columns, so that each name means one thing.",
        )
    if "" in names:
        raise BadInput(
            f"column {names.index('') + 1} of '{path}' has no name.",
            remedy="Name every column in the first line (an index written by pandas: `to_csv(index=False)`).",
        )


def _check_rows(path: Path, rows: int, malformed: tuple[Malformed, ...], width: int) -> None:
    if rows:
        return
    if malformed:
        raise BadInput(
            f"'{path}' names {width} columns, and none of its {len(malformed):,} rows has {width} fields "
            f"(the first has {len(malformed[0].cells)}).",
            remedy="Check the first line, and that values which contain the delimiter are quoted.",
        )
    raise BadInput(f"'{path}' has a header and no rows.", remedy="Export the data again.")


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [""])


def _record_lines(content: bytes, delimiter: str) -> Iterator[int]:
    """The line on which each record starts, the header's included; empty lines are not records."""
    if b'"' not in content:
        yield from (number for number, line in enumerate(content.split(b"\n"), start=1) if line.strip(b"\r"))
        return
    reader = csv.reader(io.StringIO(content.decode("utf-8"), newline=""), delimiter=delimiter)
    start = 1
    for cells in reader:
        if cells:
            yield start
        start = reader.line_num + 1


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
