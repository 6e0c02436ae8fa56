"""Reads the files of tables batch by batch, in bounded memory: CSV and Parquet."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from model_deployment.training_data.columns import kind_of_type

#: Bytes of a CSV file that are read at once; a row may not be longer.
_BLOCK = 2 * 1024 * 1024
#: Rows of a Parquet file that are read at once, and values in all columns together.
_BATCH_ROWS, _BATCH_VALUES = 65_536, 4_000_000
_COLUMNS, _LONGEST_NAME = 10_000, 500
#: Bytes of texts and entries of lists that the footer of a Parquet file may have.
_FOOTER_BYTES, _FOOTER_ENTRIES = 100_000_000, 1_000_000
_RAGGED_SHOWN = 5
#: What other files than tables begin with.
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}
_PARQUET = b"PAR1"


class UnreadableTable(Exception):
    """The file is no table that can be read; the message says why, and what helps."""

    def __init__(self, message: str, errors: tuple[dict[str, Any], ...] = ()) -> None:
        super().__init__(message)
        self.errors = errors


class TooMuch(UnreadableTable):
    """The file unpacks to more than is allowed."""


@dataclass(frozen=True)
class Table:
    """An open file."""

    format: str
    names: tuple[str, ...]
    #: Arrow types; of a CSV file all are texts.
    types: tuple[Any, ...]
    batches: Iterator[Any]


def sniff(path: Path) -> str:
    """The format of a file, by its first bytes: ``csv`` or ``parquet``.

    Raises:
        UnreadableTable: it is neither.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise UnreadableTable("the file is empty; send a table with a header and rows")
    for magic, name in _PACKED.items():
        if head.startswith(magic):
            raise UnreadableTable(
                f"the file is packed with {name}; send it unpacked, or as Parquet"
            )
    if head.startswith(_PARQUET):
        return "parquet"
    if b"\0" in head:
        raise UnreadableTable("the file is neither Parquet nor text; send CSV in UTF-8, or Parquet")
    return "csv"


def read(path: Path, format: str, *, most_bytes: int) -> Table:
    """Open a file; its batches raise as this does.

    Args:
        most_bytes: that the table may have in memory, all batches together.

    Raises:
        UnreadableTable: it cannot be read.
        TooMuch: it has more bytes, or too many columns.
    """
    try:
        table = _csv(path) if format == "csv" else _parquet(path, most_bytes)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(error) from error
    if len(table.names) > _COLUMNS:
        raise TooMuch(
            f"the table has {len(table.names)} columns; {_COLUMNS} are the most that are kept"
        )
    if long := next((name for name in table.names if len(name) > _LONGEST_NAME), None):
        raise UnreadableTable(
            f"the name of the column {long[:80]!r}… is longer than {_LONGEST_NAME} characters; rename it"
        )
    if twice := [name for name, times in Counter(table.names).items() if times > 1]:
        raise UnreadableTable(
            f"columns have the same name: {', '.join(map(repr, twice[:10]))}; rename them"
        )
    return Table(table.format, table.names, table.types, _limited(table, most_bytes))


def _limited(table: Table, most_bytes: int) -> Iterator[Any]:
    size = 0
    try:
        for batch in table.batches:
            size += batch.nbytes
            if size > most_bytes:
                raise TooMuch(
                    f"the table has more than {most_bytes} bytes when it is unpacked; send fewer rows"
                )
            yield batch
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(error, table.names) from error


def _csv(path: Path) -> Table:
    ragged: list[dict[str, Any]] = []

    def note(row: Any) -> str:
        if len(ragged) < _RAGGED_SHOWN:
            line = f"row {row.number - 1} has" if row.number is not None else "a row has"
            what = f"{line} {row.actual_columns} values, the header {row.expected_columns}"
            ragged.append({"column": None, "message": what, "rows": []})
        return "skip"

    options = pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK)
    parsing = pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note)
    with pa_csv.open_csv(path, options, parsing, _as_texts(())) as reader:
        names = tuple(reader.schema.names)
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise UnreadableTable(
            f"the header {names[0][:80]!r} has one column; separate columns with commas"
        )
    ragged.clear()
    try:
        reader = pa_csv.open_csv(path, options, parsing, _as_texts(names))
    except pa.ArrowInvalid as error:
        raise _unreadable(error, names) from error

    def batches() -> Iterator[Any]:
        yield from reader
        if ragged:
            told = "; ".join(one["message"] for one in ragged)
            raise UnreadableTable(f"rows have another length than the header: {told}", (*ragged,))

    return Table("csv", names, (pa.string(),) * len(names), batches())


def _as_texts(names: tuple[str, ...]) -> Any:
    return pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
    )


def _parquet(path: Path, most_bytes: int) -> Table:
    file = pq.ParquetFile(
        path,
        buffer_size=1024 * 1024,
        pre_buffer=False,
        thrift_string_size_limit=_FOOTER_BYTES,
        thrift_container_size_limit=_FOOTER_ENTRIES,
    )
    meta = file.metadata
    told = sum(meta.row_group(place).total_byte_size for place in range(meta.num_row_groups))
    # A value of a column has at least a bit, however well a billion equal ones are packed.
    if told > most_bytes or meta.num_rows * meta.num_columns / 8 > most_bytes:
        raise TooMuch(
            f"the table has {meta.num_rows} rows and {meta.num_columns} columns, which is more than "
            f"{most_bytes} bytes when it is unpacked; send fewer rows"
        )
    schema = file.schema_arrow
    for column in schema:
        if kind_of_type(column.type) is None:
            raise UnreadableTable(
                f"the column {column.name[:80]!r} has the type {str(column.type)[:80]}; write numbers, "
                "texts, times, or true and false"
            )
    rows = max(1, min(_BATCH_ROWS, _BATCH_VALUES // max(1, len(schema))))
    batches = file.iter_batches(batch_size=rows, use_threads=False)
    return Table("parquet", tuple(schema.names), tuple(schema.types), batches)


def _unreadable(error: Exception, names: Sequence[str] = ()) -> UnreadableTable:
    if isinstance(error, pa.ArrowMemoryError):
        return TooMuch(
            "unpacking the table takes too much memory; send fewer rows, or smaller row groups"
        )
    if isinstance(error, UnicodeDecodeError):  # names of columns
        return UnreadableTable("its header is not UTF-8; write CSV in UTF-8")
    text = (str(error).splitlines() or ["it cannot be read"])[0]
    if "straddling object" in text or "cannot infer number of columns" in text:
        text = f"a row is longer than {_BLOCK} bytes, a quotation mark is not closed, or there is no header"
    if "invalid UTF8" in text:
        return UnreadableTable(f"{_place(text, names)} is not UTF-8; write CSV in UTF-8")
    return UnreadableTable(text[:400])


def _place(text: str, names: Sequence[str]) -> str:
    """The cell that Arrow means, as people count: its rows begin with the header, its columns with 0."""
    column, row = re.search(r"column #(\d+)", text), re.search(r"Row #(\d+)", text)
    place = f"row {int(row[1]) - 1}" if row else "a cell"
    if column and int(column[1]) < len(names):
        number = int(column[1])
        place += f" of column {number + 1}, {names[number][:80]!r},"
    return place
