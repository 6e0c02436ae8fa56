"""Converts callers' values by the signature of a model: equal values become equal, whatever their format.

The results are JSON: times are ISO 8601 texts, bytes are base64, NaN is null. A value that is not of its
type stays as it is, so that a report sees it.
"""

import base64
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from types import NoneType
from typing import Any

from model_deployment.gate.csv_text import WORDS
from model_deployment.gate.datetime_rules import MISSING_TIME
from model_deployment.tabular import text_cells

Spec = Mapping[str, Any]
Convert = Callable[[Any], Any]

_INTEGERS = frozenset({"integer", "long"})
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?", re.ASCII
)
_FLOAT32 = struct.Struct("<f")
#: Numbers whose short form is kept: the pixels of an image are thousands, and a few hundred different ones.
_REMEMBERED = 4096
#: Types of tensor elements, by the beginning of their NumPy type.
_DTYPES = {
    "float64": "double", "float": "float", "int": "long", "uint": "long", "bool": "boolean",
    "str": "string", "datetime64": "datetime",
}  # fmt: skip


def column(spec: Spec, values: Sequence[Any]) -> Sequence[Any]:
    """Values of JSON or Python, converted by a column of the signature in MLflow's JSON form."""
    kind = str(spec.get("type"))
    types = set(map(type, values))
    if types <= _AS_THEY_ARE.get(kind, _NONE) and (kind != "double" or not _has_nan(values)):
        return values
    convert = converter(spec)
    return [None if value is None else convert(value) for value in values]


def cells(spec: Spec, column: Sequence[str]) -> list[Any]:
    """Cells of CSV, converted by a column of the signature."""
    kind = str(spec.get("type"))
    if kind in _INTEGERS:
        return text_cells.integers(column)
    if kind == "double":
        return text_cells.floats(column)
    if kind == "boolean":
        return text_cells.booleans(column)
    found = text_cells.floats(column) if kind == "float" else text_cells.texts(column)
    convert = converter(spec)
    return [None if value is None else convert(value) for value in found]


def converter(spec: Spec) -> Convert:
    """The conversion of one value, not None, to a type of the signature."""
    kind = str(spec.get("type"))
    if kind == "array":
        return _array(converter(spec.get("items") or {}))
    if kind == "object":
        return _object(spec.get("properties") or {})
    if kind == "map":
        return _map(converter(spec.get("values") or {}))
    if kind == "tensor":
        return _array(converter({"type": element(spec)}))
    return _CONVERT.get(kind, plain)


def element(spec: Spec) -> str:
    """The type of a tensor's elements, as a type of columns."""
    dtype = str((spec.get("tensor-spec") or {}).get("dtype"))
    return next((kind for begin, kind in _DTYPES.items() if dtype.startswith(begin)), "any")


def plain(value: Any) -> Any:
    """Any value as JSON."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return None if math.isnan(value) else value
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode("ascii")
        case list() | tuple():
            return [plain(one) for one in value]
        case dict():
            return {str(name): plain(one) for name, one in value.items()}
        case datetime() | date() | time():
            return _moment(value.isoformat())
        case _:
            return str(value)


@lru_cache(_REMEMBERED)
def short(value: float) -> float:
    """The shortest number with the same 32 bits: 0.1 instead of 0.10000000149011612."""
    try:
        packed = _FLOAT32.pack(value)
    except OverflowError:
        return value
    for digits in range(6, 10):
        found = float(f"{_FLOAT32.unpack(packed)[0]:.{digits}g}")
        try:
            if _FLOAT32.pack(found) == packed:
                return found
        except OverflowError:  # rounded beyond the largest
            continue
    return value


def _integer(value: Any) -> Any:
    match value:
        case bool():
            return int(value)
        case int():
            return value
        case float() | Decimal() if math.isfinite(value) and value == int(value):
            return int(value)
        case float() if math.isnan(value):
            return None
        case str():
            return text_cells.integers([value])[0]
    return plain(value)


def _double(value: Any) -> Any:
    if isinstance(value, int | float | Decimal):
        try:
            number = float(value)
        except OverflowError:
            return value
        return None if math.isnan(number) else number
    return text_cells.floats([value])[0] if type(value) is str else plain(value)


def _float(value: Any) -> Any:
    number = _double(value)
    if type(number) is not float or not number:  # to the cache the zeros of both signs are one
        return number
    return short(number) if math.isfinite(number) else number


def _boolean(value: Any) -> Any:
    if type(value) is str:
        return WORDS.get(value.lower(), value)
    return bool(value) if type(value) in (int, float) and value in (0, 1) else plain(value)


def _datetime(value: Any) -> Any:
    if type(value) is str:
        return None if value == MISSING_TIME else _moment(value)
    return plain(value)


def _moment(text: str) -> str:
    """A time in one spelling. With an offset, or in another form, the text stays."""
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        return text
    day, minutes, seconds, fraction = match.groups()
    fraction = (fraction or "").rstrip("0")
    return f"{day}T{minutes or '00:00'}:{seconds or '00'}{'.' * bool(fraction)}{fraction}"


def _binary(value: Any) -> Any:
    if type(value) is str:
        return value.replace("\n", "").replace("\r", "")  # some encoders add them
    return plain(value)


def _array(convert: Convert) -> Convert:
    def of(value: Any) -> Any:
        if isinstance(value, list | tuple):
            # At any depth: tensors are lists of lists.
            return [None if one is None else of(one) for one in value]
        return convert(value)

    return of


def _object(properties: Mapping[str, Spec]) -> Convert:
    known = {name: converter(spec) for name, spec in properties.items()}
    optional = {name for name, spec in properties.items() if not spec.get("required", True)}

    def of(value: Any) -> Any:
        if not isinstance(value, dict):
            return plain(value)
        names = [*(name for name in known if name in value), *(n for n in value if n not in known)]
        return {
            str(name): None if value[name] is None else known.get(name, plain)(value[name])
            for name in names
            # In Parquet each object has all members, so a missing one is None.
            if value[name] is not None or name not in optional
        }

    return of


def _map(convert: Convert) -> Convert:
    def of(value: Any) -> Any:
        if not isinstance(value, dict):
            return plain(value)
        return {str(name): convert(one) for name, one in value.items() if one is not None}

    return of


def _has_nan(values: Sequence[float | None]) -> bool:
    try:
        # By far the fastest test; infinities may add up to NaN as well.
        if not math.isnan(sum(values)):  # type: ignore[arg-type]
            return False
    except TypeError:  # None among them
        pass
    return any(value is not None and math.isnan(value) for value in values)


_CONVERT: Mapping[str, Convert] = {
    "integer": _integer,
    "long": _integer,
    "double": _double,
    "float": _float,
    "boolean": _boolean,
    "datetime": _datetime,
    "binary": _binary,
}
_NONE: frozenset[type] = frozenset()
#: Python types that need no conversion.
_AS_THEY_ARE: Mapping[str, frozenset[type]] = {
    "integer": frozenset({int, NoneType}),
    "long": frozenset({int, NoneType}),
    "double": frozenset({float, NoneType}),
    "boolean": frozenset({bool, NoneType}),
    "string": frozenset({str, NoneType}),
}
