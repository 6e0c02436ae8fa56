"""The rules for one column, type by type: what passes, and what is refused."""

from typing import Any

import pytest

from tests.support.cases import each
from tests.support.gates import (
    ARRAY_OF_DOUBLES,
    ARRAY_OF_TEXT,
    ORDER,
    PRICES,
    column,
    gate,
    kinds,
    split,
)


@each(
    "kind, good",
    [
        ("integer", [0, -1, 2**31 - 1, -(2**31)]),
        ("long", [0, 2**53 + 1, 2**63 - 1, -(2**63)]),
        ("float", [0.1, 0, -0.0, 16777216, 3.4028235e38, 1e-45]),
        ("double", [0.1, 3, -0.0, 2**53, 2**60, 1e300, 5e-324, 100000000000000000000]),
        ("string", ["", "a", "3", "null", "é", "a\0"]),
        ("boolean", [True, False]),
        ("datetime", ["2026-01-31T12:00:00", "1999-12-31T23:59:59"]),
        ("datetime", ["2026-01-31", "1677-09-22"]),
        ("datetime", ["2026-01-31 12:00"]),
        ("datetime", ["2026-01-31T12:00:00.123456789", "2262-04-11T23:47:16.854775807"]),
        ("binary", ["", "aGVsbG8=", "aGVs\nbG8=\n"]),
        ("any", [None, 1, "a", True, [1, None], {"x": 1}]),
        (ARRAY_OF_DOUBLES, [[], [1.5, 2.5]]),
        (ARRAY_OF_TEXT, [["a", ""]]),
        (ORDER, [{"id": 1, "price": 1.5}, {"id": 1, "price": 0.1, "note": "x"}]),
        (PRICES, [{}, {"a": 1.5}]),
    ],
)
@pytest.mark.parametrize("mode", ["strict", "coerce", "observe"])
def test_what_fits_passes_as_it_is(kind: Any, good: list[Any], mode: str) -> None:
    result = gate(column(kind), mode=mode).check(split(*good))
    assert (result.refused, result.payload, result.count) == (False, None, 0)
    assert result.rows == len(good)


@each(
    "kind, bad, why",
    [
        ("integer", 1.5, "lossy"),
        ("integer", 3.0, "lossy"),
        ("integer", True, "lossy"),
        ("integer", 2**31, "range"),
        ("integer", -(2**31) - 1, "range"),
        ("integer", "3", "type"),
        ("long", 1.5, "lossy"),
        ("long", 3.0, "lossy"),
        ("long", 1e30, "lossy"),
        ("long", True, "lossy"),
        ("long", 2**63, "range"),
        ("long", -(2**63) - 1, "range"),
        ("long", 10**300, "range"),
        ("long", "3", "type"),
        ("long", None, "null"),
        ("long", [1], "type"),
        ("long", {}, "type"),
        ("float", 1e39, "range"),
        ("float", -1e39, "range"),
        ("float", 3.4028235677973366e38, "range"),
        ("float", 1e-46, "lossy"),
        ("float", 16777217, "lossy"),
        ("float", 10**400, "range"),
        ("double", 2**53 + 1, "lossy"),
        ("double", -(2**53) - 1, "lossy"),
        ("double", 10**400, "range"),
        ("double", True, "lossy"),
        ("double", "0.5", "type"),
        ("double", "nan", "type"),
        ("double", None, "null"),
        ("string", 3, "type"),
        ("string", True, "type"),
        ("string", None, "null"),
        ("string", ["a"], "type"),
        ("boolean", 1, "type"),
        ("boolean", "false", "type"),
        ("boolean", None, "null"),
        ("datetime", 5, "type"),
        ("datetime", "now", "type"),
        ("datetime", "", "type"),
        ("datetime", "NaT", "type"),
        ("datetime", "12:00", "type"),
        ("datetime", "01/02/2026", "type"),
        ("datetime", "2026-02-30", "type"),
        ("datetime", "2026-01-31T24:00:00", "type"),
        ("datetime", "2026-01-31T12:00:00Z", "type"),
        ("datetime", "2026-01-31T12:00:00+02:00", "type"),
        ("datetime", "20260131", "type"),
        ("datetime", "٢٠٢٦-01-31", "type"),
        ("datetime", "2026-01-31T12:00:00.1234567891", "lossy"),
        ("datetime", "1600-01-01", "range"),
        ("datetime", "2262-04-12", "range"),
        ("datetime", "1677-09-21T00:12:43.145224192", "range"),
        ("datetime", None, "null"),
        ("binary", "!!!!", "type"),
        ("binary", "aGVsbG8", "type"),
        ("binary", "aGVs bG8=", "type"),
        ("binary", "-_-_", "type"),
        ("binary", "QQ==QQ==", "type"),
        ("binary", "é", "type"),
        ("binary", 5, "type"),
        (ARRAY_OF_DOUBLES, None, "null"),
        (ARRAY_OF_DOUBLES, 1.5, "type"),
        (ARRAY_OF_DOUBLES, ["a"], "type"),
        (ARRAY_OF_DOUBLES, [1.5, None], "null"),
        (ARRAY_OF_DOUBLES, [2**53 + 1], "lossy"),
        (ARRAY_OF_DOUBLES, [True], "lossy"),
        (ARRAY_OF_TEXT, ["a", 1], "type"),
        (ARRAY_OF_TEXT, ["a", None], "null"),
        (ARRAY_OF_TEXT, ["a\0"], "lossy"),
        (ORDER, {"id": 1}, "missing"),
        (ORDER, {"id": 1, "price": 1.5, "x": 1}, "unknown"),
        (ORDER, {"id": 1.5, "price": 1.5}, "lossy"),
        (ORDER, {"id": None, "price": 1.5}, "null"),
        (ORDER, [1], "type"),
        (ORDER, None, "null"),
        (PRICES, {"a": "x"}, "type"),
        (PRICES, {"a": None}, "null"),
        (PRICES, None, "null"),
        ({"type": "array", "items": {"type": "integer"}}, [1], "type"),
        ({"type": "array", "items": {"type": "datetime"}}, ["2026-01-31"], "type"),
        ({"type": "array", "items": {"type": "binary"}}, ["aGVsbG8="], "type"),
        ({"type": "sparkml_vector"}, ["a"], "type"),
    ],
)
def test_what_does_not_fit_is_refused(kind: Any, bad: Any, why: str) -> None:
    for body in (split(bad), {"dataframe_records": [{"a": bad}]}, {"inputs": [{"a": bad}]}):
        result = gate(column(kind)).check(body)
        assert result.refused
        assert (result.payload, result.table) == (None, None)
        (violation,) = result.violations
        assert (violation.row, violation.column, violation.kind) == (0, "a", why)
        assert result.tally == {("a", why): 1}


@pytest.mark.parametrize(
    "kind", ["float", "double", "string", "datetime", ARRAY_OF_DOUBLES, ORDER, PRICES]
)
def test_null_passes_in_an_optional_column(kind: Any) -> None:
    gated = gate(column("long", "b"), column(kind, required=False))
    records = [{"a": None, "b": 1}]
    result = gated.check({"dataframe_records": records})
    assert (result.refused, result.payload) == (False, None)


@pytest.mark.parametrize("kind", ["integer", "long", "boolean", "binary"])
def test_null_is_refused_in_an_optional_column_that_mlflow_cannot_keep_it_in(kind: str) -> None:
    gated = gate(column("long", "b"), column(kind, required=False))
    result = gated.check({"dataframe_records": [{"a": None, "b": 1}]})
    assert kinds(result) == ["null"]
    assert result.violations[0].expected.endswith("given in all rows or in none")


@pytest.mark.parametrize("rest", [[1.5], [None]])
def test_a_large_integer_that_pandas_would_round_is_refused_even_where_anything_goes(
    rest: list[Any],
) -> None:
    assert kinds(gate(column("any")).check(split(2**53 + 1, *rest))) == ["lossy"]
    assert not gate(column("any")).check(split(2**53 + 1)).refused
    assert not gate(column("any")).check(split(2**53, *rest)).refused
