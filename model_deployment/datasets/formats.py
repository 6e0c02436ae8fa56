"""How rows are written: CSV, lines of JSON, Parquet, part by part."""

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

#: What a spreadsheet takes for the beginning of a formula. The wide forms are what some make of it.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_INT64 = 2**63
#: Whole numbers beyond are rounded where they become floats.
_EXACT = 2**53

Row = Sequence[Any]


class Format(StrEnum):
    """How a dataset is written."""

    CSV = "csv"
    PARQUET = "parquet"
    JSONL = "jsonl"


def unique(names: Iterable[str], taken: Sequence[str] = ()) -> list[str]:
    """These names, with ``_1``, ``_2`` and so on behind those that are taken already."""
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
    """What the columns of rows of Python's values are."""

    def __init__(self, expected: Sequence[ColumnKind | None]) -> None:
        """Look at nothing yet.

        Args:
            expected: what each column is if all its values are missing, where that is known.
        """
        self._expected = expected
        self._types: list[set[type]] = [set() for _ in expected]
        #: Whole numbers among them that no float may stand for.
        self._large = [False] * len(expected)

    def look(self, rows: Sequence[Row]) -> None:
        """Take some rows into account."""
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
        """One for each column. Columns of mixed values are text."""
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
    """Writes rows; what it returns are the parts of the file."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def head(self) -> bytes:
        """What comes before the rows."""
        return b""

    def rows(self, rows: Sequence[Row]) -> bytes:
        """Some rows; at least one."""
        raise NotImplementedError

    def tail(self) -> bytes:
        """What comes after them."""
        return b""


def encoder(format: Format, names: Sequence[str], kinds: Sequence[ColumnKind]) -> Encoder:
    """The one for a format.

    Args:
        kinds: what the columns are; only Parquet has to know.
    """
    match format:
        case Format.CSV:
            return _Csv(names)
        case Format.JSONL:
            return _Jsonl(names)
        case Format.PARQUET:
            return _Parquet(names, kinds)


class _Csv(Encoder):
    """RFC 4180, and nothing in it that a spreadsheet would calculate."""

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
    """One object in each line."""

    def rows(self, rows: Sequence[Row]) -> bytes:
        return b"".join(_json(dict(zip(self._names, row, strict=True))) + b"\n" for row in rows)


class _Parquet(Encoder):
    """One row group for each call."""

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
            pa.field(_sane(name), types[kind]) for name, kind in zip(names, kinds, strict=True)
        ]
        self._schema = pa.schema(fields)
        self._sink = Sink()
        self._writer = parquet.ParquetWriter(self._sink, self._schema)

    def head(self) -> bytes:
        return self._sink.take()

    def rows(self, rows: Sequence[Row]) -> bytes:
        import pyarrow as pa

        arrays = [
            pa.array(map(_AS[kind], column), field.type)
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


def _same(value: Any) -> Any:
    return value


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    return _sane(value if isinstance(value, str) else _text(value))


_AS: Mapping[ColumnKind, Callable[[Any], Any]] = {
    ColumnKind.BOOL: _same,
    ColumnKind.INT: _same,
    ColumnKind.FLOAT: lambda value: None if value is None else float(value),
    ColumnKind.TIME: _same,
    ColumnKind.TEXT: _as_text,
}


def _text(value: Any) -> str:
    """A value of any kind: structures as JSON."""
    match value:
        case datetime():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case None | bool() | int() | float() | list() | tuple() | dict():
            return _json(value).decode()
        case _:
            return str(value)


def _json(value: Any) -> bytes:
    """As JSON, in which what is no number is null."""
    try:
        return orjson.dumps(value, default=_text, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # large integers, half characters: rare, and Python's own can do it
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


def _sane(text: str) -> str:
    """Without halves of characters, which no encoding has."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


class Sink(io.RawIOBase):
    """A file that is emptied while it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Keep a part until it is taken."""
        part = bytes(data)
        self._parts.append(part)
        self._size += len(part)
        return len(part)

    def tell(self) -> int:
        """Bytes written so far, those that were taken included."""
        return self._size

    def take(self) -> bytes:
        """What was written since the last call."""
        taken, self._parts = b"".join(self._parts), []
        return taken
