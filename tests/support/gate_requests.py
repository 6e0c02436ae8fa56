"""Signatures and bodies made by hypothesis: mostly as they should be, with some of everything else."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

Spec = dict[str, Any]
Row = dict[str, Any]

NAMES = ["a", "b", "c d", "params", "é"]
#: Types MLflow reads from JSON inside arrays and objects.
NESTABLE = ["long", "double", "string", "boolean"]
SCALARS = [*NESTABLE, "integer", "float", "datetime", "binary"]

_NUMBERS: list[Any] = [
    True, False, 0, 1, -1, 3.0, 1.5, 1e30, -1e30, 1e39, 3.4028235e38, 1e-46, 0.1, -0.0, 2**24 + 1,
    2**31 - 1, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1,
    2**64, 2**64 + 1, 10**20, 10**30, 10**300,
]  # fmt: skip
_NUMERALS: list[Any] = [
    "", " ", "3", "-3", "3.0", "1e3", "1_0", "٣", "0x10", "nan", "inf", "9223372036854775808", " 3 ",
    "9007199254740993", "1e999",
]  # fmt: skip
_TIMES: list[Any] = [
    "now", "today", "NaT", "5", "12:00", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31 12:00:00.5",
    "2026-01-31T12:00", "2026-01-31T12:00:00Z", "2026-01-31T23:59:59+14:00", "20260131T120000",
    "2026-01-31T24:00:00", "2026-02-30", "01/02/2026", "2026-01-31T12:00:00.123456789",
    "2026-01-31T12:00:00.1234567891", "1677-09-21T00:12:43.145224192", "1600-01-01", "9999-12-31",
    "1677-09-21T00:12:43.145224193", "2262-04-11T23:47:16.854775808", "1677-09-21",
]  # fmt: skip
_BASE64: list[Any] = [
    "aGVsbG8=", "aGVsbG8", "aGVs bG8=", "!!!!", "-_-_", "QR==", "QQ==QQ==", "aGVs\nbG8=\n", "é",
]  # fmt: skip
_OTHERS: list[Any] = [
    None, "null", "true", "True", "false", "0", "abc", "a\0", "\0",
    [], [1], ["a", None], ["a", 1], [1, 2.5], [[1.5]], [None], {}, {"x": 1}, {"x": None},
]  # fmt: skip
#: What callers send by mistake, and what pandas and NumPy make something else of.
JUNK = [*_NUMBERS, *_NUMERALS, *_TIMES, *_BASE64, *_OTHERS]
_MISSES = {
    "integer": _NUMBERS + _NUMERALS,
    "long": _NUMBERS + _NUMERALS,
    "float": _NUMBERS + _NUMERALS,
    "double": _NUMBERS + _NUMERALS,
    "any": _NUMBERS,
    "string": ["a\0", "\0", "", 3, 0.5, True, None],
    "datetime": _TIMES,
    "binary": _BASE64,
}


def junk(spec: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values that do not fit a type, or only just."""
    near: list[Any] = _MISSES.get(spec["type"], JUNK)
    match spec["type"]:
        case "array":
            inside = st.lists(junk(spec["items"]) | values(spec["items"]), max_size=3)
            return inside | st.sampled_from(JUNK)
        case "map":
            return st.dictionaries(st.just("k"), junk(spec["values"])) | st.sampled_from(JUNK)
        case "object":
            members = {name: junk(one) | values(one) for name, one in spec["properties"].items()}
            return st.fixed_dictionaries({}, optional=members) | st.sampled_from(JUNK)
    return st.sampled_from(near) | st.sampled_from(JUNK)


@st.composite
def types(draw: st.DrawFn, depth: int = 2, scalars: Sequence[str] = SCALARS) -> Spec:
    """A type as a signature writes it."""
    kinds = ["scalar"] * 6 + (["array", "object", "map", "any"] if depth else ["any"])
    match draw(st.sampled_from(kinds)):
        case "array":
            return {"type": "array", "items": draw(types(depth - 1, NESTABLE))}
        case "map":
            return {"type": "map", "values": draw(types(depth - 1, NESTABLE))}
        case "object":
            names = draw(st.lists(st.sampled_from("xyz"), min_size=1, unique=True))
            return {
                "type": "object",
                "properties": {
                    name: {**draw(types(depth - 1, NESTABLE)), "required": draw(st.booleans())}
                    for name in names
                },
            }
        case "any":
            return {"type": "any"}
    return {"type": draw(st.sampled_from(scalars))}


@st.composite
def signatures(draw: st.DrawFn, depth: int = 2) -> list[Spec]:
    """Named columns, at least one of them required."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    specs = [
        {**draw(types(depth)), "name": name, "required": draw(st.integers(0, 3)) > 0}
        for name in names
    ]
    if not any(spec["required"] for spec in specs):
        specs[0]["required"] = True
    return specs


def values(spec: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit a type, and that MLflow keeps."""
    match spec["type"]:
        case "array":
            return st.lists(values(spec["items"]), max_size=3)
        case "map":
            return st.dictionaries(st.text(max_size=2), values(spec["values"]), max_size=2)
        case "object":
            members = {name: values(one) for name, one in spec["properties"].items()}
            optional = {n for n, one in spec["properties"].items() if not one.get("required", True)}
            return st.fixed_dictionaries(
                {name: one for name, one in members.items() if name not in optional},
                optional={name: one for name, one in members.items() if name in optional},
            )
    return PLAIN[spec["type"]]


PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False)
    | st.integers(-(2**24), 2**24),
    "double": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
    "string": st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5
    ),
    "boolean": st.booleans(),
    "datetime": st.datetimes(datetime(1678, 1, 1), datetime(2262, 1, 1)).map(datetime.isoformat),
    "binary": st.binary(max_size=6).map(lambda data: base64.b64encode(data).decode()),
    "any": st.none()
    | st.booleans()
    | st.text(max_size=3)
    | st.lists(st.integers(0, 9), max_size=2),
}


@dataclass(frozen=True)
class Sent:
    """A body, and the rows that are in it."""

    body: Any
    rows: list[Row]


@st.composite
def tables(draw: st.DrawFn, specs: Sequence[Spec], dirt: int) -> list[Row]:
    """Rows for a signature; ``dirt`` of a hundred values are junk."""
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        row = {}
        for spec in specs:
            if draw(st.integers(0, 99)) < dirt:
                row[spec["name"]] = draw(junk(spec))
            elif not spec["required"] and draw(st.booleans()):
                if draw(st.booleans()):
                    row[spec["name"]] = None
            else:
                row[spec["name"]] = draw(values(spec))
        rows.append(row)
    return rows


@st.composite
def bodies(draw: st.DrawFn, specs: Sequence[Spec], dirt: int) -> Sent:
    """A request in one of all forms for one signature."""
    rows = draw(tables(specs, dirt))
    kinds = {spec["type"] for spec in specs}
    even = [spec["name"] for spec in specs if any(spec["name"] in row for row in rows)]
    filled = [{name: row.get(name) for name in even} for row in rows]
    form = draw(
        st.sampled_from(["split", "records", "bare", "list", "instances", "inputs", "columns"])
    )
    match form:
        case "split":
            columns = draw(st.permutations(even))
            data = [[row[name] for name in columns] for row in filled]
            split = {"columns": columns, "data": data}
            if draw(st.integers(0, 9)) == 0:
                split["index"] = draw(
                    st.lists(st.integers(0, 9), min_size=len(data), max_size=len(data))
                )
            return Sent({"dataframe_split": split}, filled)
        case "bare" if rows[0] and "params" not in rows[0]:
            return Sent(rows[0], rows[:1])
        case "list":
            return Sent(rows, rows)
        case "instances" | "inputs":
            return Sent({form: rows}, rows)
        case "columns" if kinds <= set(SCALARS):
            return Sent({"inputs": {name: [row[name] for row in filled] for name in even}}, filled)
        case "columns" if kinds & {"array", "object"}:
            # Where a value may be a list, MLflow takes an object of values for one record.
            return Sent({"inputs": filled[0]}, filled[:1])
    return Sent({"dataframe_records": rows}, rows)
