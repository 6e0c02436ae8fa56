"""Encoders of rows, part by part: CSV, JSON lines, Parquet.

CSV is written with the standard library: Arrow's writer needs one type for each column, writes 1.0 as 1,
and has no lists.
"""

import base64
import csv
import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import orjson

from model_deployment.tabular.text_cells import ColumnKind

#: First characters that make a spreadsheet calculate a cell; the wide forms do in some of them.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_INT64 = 2**63
#: Larger whole numbers are rounded in floats.
_EXACT = 2**53

Row = Sequence[Any]


class Format(StrEnum):
    CSV = "csv"
    PARQUET = "parquet"
    JSONL = "jsonl"


def unique(names: Iterable[str], taken: Sequence[str] = ()) -> list[str]:
    """The names, with ``_1``, ``_2`` and so on appended to those that are taken."""
    names = list(names)
    used, reserved = set(taken), set(names)
    found = []
    for name in names:
        free = name
        if name in used:
            tries = (f"{name}_{number}" for number in itertools.count(1))
            free = next(one for one in tries if one not in used and one not in reserved)
        used.add(free)
        found.append(free)
    return found


class KindFinder:
    """Finds the kinds of columns from rows of Python values."""

    def __init__(self, expected: Sequence[ColumnKind | None]) -> None:
        """``expected``: the kind of each column if all its values are missing."""
        self._expected = expected
        self._types: list[set[type]] = [set() for _ in expected]
        #: Whether there are whole numbers that a float would round.
        self._large = [False] * len(expected)

    def observe(self, rows: Sequence[Row]) -> None:
        for place, column in enumerate(zip(*rows, strict=True)):
            types = set(map(type, column))
            if int in types:
                whole = [value for value in column if type(value) is int]
                least, most = min(whole), max(whole)
                if not (least >= -_INT64 and most < _INT64):
                    types.add(str)
                self._large[place] |= not (least >= -_EXACT and most <= _EXACT)
            self._types[place] |= types

    def found(self) -> list[ColumnKind]:
        """The kind of each column. Columns of mixed values are text."""
        return [
            _kind(types - {type(None)}, large, expected or ColumnKind.TEXT)
            for types, large, expected in zip(self._types, self._large, self._expected, strict=True)
        ]


def _kind(types: set[type], large: bool, expected: ColumnKind) -> ColumnKind:
    if not types:
        return expected
    if types == {bool}:
        return ColumnKind.BOOL
    if types == {int}:
        return ColumnKind.INT
    if types <= {int, float}:
        return ColumnKind.TEXT if large else ColumnKind.FLOAT
    return ColumnKind.TIME if types == {datetime} else ColumnKind.TEXT


class Encoder:
    """Returns the parts of a file."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def head(self) -> bytes:
        return b""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """The part with some rows; at least one."""
        raise NotImplementedError

    def tail(self) -> bytes:
        return b""


def encoder(format: Format, names: Sequence[str], kinds: Sequence[ColumnKind]) -> Encoder:
    """``kinds`` of the columns: only Parquet needs them."""
    match format:
        case Format.CSV:
            return _Csv(names)
        case Format.JSONL:
            return _Jsonl(names)
        case Format.PARQUET:
            return _Parquet(names, kinds)


class _Csv(Encoder):
    """RFC 4180, with a quote before everything that a spreadsheet would calculate."""

    def head(self) -> bytes:
        return self.rows([self._names])

    def rows(self, rows: Sequence[Row]) -> bytes:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\r\n").writerows([map(_cell, row) for row in rows])
        return buffer.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> Any:
    kind = type(value)
    if kind is float or kind is Decimal:
        return value if math.isfinite(value) else ""
    if kind is str:
        return f"'{value}" if value.startswith(_FORMULA) else value
    if kind is int or value is None:
        return value
    if kind is bool:
        return "true" if value else "false"
    return _cell(_text(value))


class _Jsonl(Encoder):
    def rows(self, rows: Sequence[Row]) -> bytes:
        return b"".join(_json(dict(zip(self._names, row, strict=True))) + b"\n" for row in rows)


class _Parquet(Encoder):
    """One row group for each call of :meth:`rows`."""

    def __init__(self, names: Sequence[str], kinds: Sequence[ColumnKind]) -> None:
        super().__init__(names)
        import pyarrow as pa
        from pyarrow import parquet

        types = {
            ColumnKind.BOOL: pa.bool_(),
            ColumnKind.INT: pa.int64(),
            ColumnKind.FLOAT: pa.float64(),
            ColumnKind.TIME: pa.timestamp("ms", "UTC"),
            ColumnKind.TEXT: pa.string(),
        }
        self._kinds = kinds
        fields = [
            pa.field(_encodable(name), types[kind]) for name, kind in zip(names, kinds, strict=True)
        ]
        self._schema = pa.schema(fields)
        self._sink = Sink()
        self._writer = parquet.ParquetWriter(self._sink, self._schema)

    def head(self) -> bytes:
        return self._sink.take()

    def rows(self, rows: Sequence[Row]) -> bytes:
        import pyarrow as pa

        arrays = [
            pa.array(map(_CONVERT[kind], column) if kind in _CONVERT else column, field.type)
            for kind, field, column in zip(
                self._kinds, self._schema, zip(*rows, strict=True), strict=True
            )
        ]
        if arrays:
            self._writer.write_batch(pa.record_batch(arrays, self._schema))
        return self._sink.take()

    def tail(self) -> bytes:
        self._writer.close()
        return self._sink.take()


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    return _encodable(value if isinstance(value, str) else _text(value))


#: Conversions to Arrow; values of other kinds stay.
_CONVERT: Mapping[ColumnKind, Callable[[Any], Any]] = {
    ColumnKind.FLOAT: lambda value: None if value is None else float(value),
    ColumnKind.TEXT: _as_text,
}


def _text(value: Any) -> str:
    """Any value as text: lists and objects as JSON."""
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case bytes():
            return base64.b64encode(value).decode()
        case None | bool() | int() | float() | list() | tuple() | dict():
            return _json(value).decode()
        case _:
            return str(value)


def _json(value: Any) -> bytes:
    """JSON with null for NaN and infinity."""
    try:
        return orjson.dumps(value, default=_text, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)
    except TypeError:  # large integers and lone surrogates: rare, and slower
        return json.dumps(_finite(value), default=_text, separators=(",", ":")).encode()


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case list() | tuple():
            return [_finite(one) for one in value]
        case dict():
            return {str(name): _finite(one) for name, one in value.items()}
        case _:
            return value


def _encodable(text: str) -> str:
    """The text without lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


class Sink(io.RawIOBase):
    """A file for a writer; :meth:`take` removes what was written so far."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._size += len(part)
        return len(part)

    def tell(self) -> int:
        """Bytes written so far, taken ones included."""
        return self._size

    def take(self) -> bytes:
        """The bytes written since the last call."""
        taken, self._parts = b"".join(self._parts), []
        return taken
