"""Reads the table of a Parquet body. Parquet is compressed, so the size in memory is limited."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from model_deployment.tabular.body_tables import MOST_CELLS, BodyTable
from model_deployment.tabular.canonical import plain

#: Most bytes of an uncompressed body, and rows that are read at once.
_MOST_BYTES = 64 * 1024 * 1024
_ROWS = 256
#: Types whose values need no conversion.
_PLAIN = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_null,
)


class _TooMuch(ValueError):
    """More than the limit for one request."""


def read(body: bytes) -> BodyTable | None:
    """The columns that the model gets, which are those that pandas reads; None if there are none.

    The index that pandas has stored is not a column.
    """
    try:
        with parquet.ParquetFile(pa.BufferReader(body), pre_buffer=False) as file:
            return _read(file)
    except (ValueError, OSError, ArithmeticError, NotImplementedError):  # Arrow raises these
        return None


def _read(file: parquet.ParquetFile) -> BodyTable | None:
    schema = file.schema_arrow
    index = _index(schema.metadata or {})
    places = [place for place, name in enumerate(schema.names) if name not in index]
    rows = file.metadata.num_rows
    if not places or rows * len(places) > MOST_CELLS:
        return None
    fields = [schema.field(place) for place in places]
    columns: list[list[Any]] = [[] for _ in fields]
    for batch in _batches(file):
        for column, place, field in zip(columns, places, fields, strict=True):
            column.extend(_values(batch.column(place), field.type))
    types = [{"type": "float"} if field.type == pa.float32() else None for field in fields]
    return BodyTable([field.name for field in fields], columns, rows, types=types)


def _batches(file: parquet.ParquetFile) -> Iterator[pa.RecordBatch]:
    size = 0
    for batch in file.iter_batches(_ROWS, use_threads=False):
        size += batch.nbytes
        if size > _MOST_BYTES:
            raise _TooMuch
        yield batch


def _index(metadata: dict[bytes, bytes]) -> set[str]:
    """Names of the columns that become the index of the data frame."""
    try:
        names = json.loads(metadata.get(b"pandas", b"{}"))["index_columns"]
    except (ValueError, KeyError, TypeError):
        return set()
    return {one for one in names if isinstance(one, str)} if isinstance(names, list) else set()


def _values(column: "pa.Array[Any]", type: pa.DataType) -> list[Any]:
    if any(is_plain(type) for is_plain in _PLAIN):
        return list(column.to_pylist())
    if pa.types.is_timestamp(type):
        return _moments(column, type)
    return [plain(value) for value in column.to_pylist(maps_as_pydicts="lossy")]


def _moments(column: "pa.Array[Any]", type: pa.TimestampType) -> list[Any]:
    """Times as text: Arrow's have a finer resolution and a wider range than Python's."""
    if type.tz is not None:
        column = column.cast(pa.timestamp(type.unit, "UTC"))
    found = column.cast(pa.string()).to_pylist()
    return [None if text is None else _trimmed(text.replace(" ", "T", 1)) for text in found]


def _trimmed(text: str) -> str:
    moment, zone = (text[:-1], "Z") if text.endswith("Z") else (text, "")
    if "." in moment:
        moment = moment.rstrip("0").rstrip(".")
    return moment + zone
