"""The rules for one column, type by type: what passes, what is converted, what is refused and why."""

from typing import Any

import pytest

from tests.support.gates import column, gate, kinds, split, values

ARRAY_OF_DOUBLES = {"type": "array", "items": {"type": "double"}}
ARRAY_OF_TEXT = {"type": "array", "items": {"type": "string"}}
ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "long"},
        "price": {"type": "double"},
        "note": {"type": "string", "required": False},
    },
}
PRICES = {"type": "map", "values": {"type": "double"}}


@pytest.mark.parametrize(
    ("kind", "good"),
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


@pytest.mark.parametrize(
    ("kind", "bad", "why"),
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
    ("kind", "given", "sent"),
    [
        ("long", "3", 3),
        ("long", "-9223372036854775808", -(2**63)),
        ("long", 3.0, 3),
        ("long", -0.0, 0),
        ("integer", "3", 3),
        ("integer", 3.0, 3),
        ("double", "3", 3),
        ("double", "0.5", 0.5),
        ("double", "1e3", 1000.0),
        ("float", "0.5", 0.5),
        ("boolean", "true", True),
        ("boolean", "False", False),
        ("boolean", 1, True),
        ("boolean", 0, False),
        ("datetime", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00"),
        ("datetime", "2026-01-31T01:00:00.5+02:00", "2026-01-30T23:00:00.5"),
        ("datetime", "2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123456789"),
        ("datetime", "20260131T120000", "2026-01-31T12:00:00"),
        ("datetime", "20260131", "2026-01-31T00:00:00"),
        (ARRAY_OF_DOUBLES, ["1", 2.5], [1.0, 2.5]),
        (ORDER, {"id": "7", "price": "1"}, {"id": 7, "price": 1.0}),
        (PRICES, {"a": "1.5"}, {"a": 1.5}),
    ],
)
def test_coerce_converts_what_can_only_mean_one_thing(kind: Any, given: Any, sent: Any) -> None:
    body = split(given)
    result = gate(column(kind), mode="coerce").check(body)
    assert not result.refused
    assert result.count == 0
    (value,) = values(result, body)
    assert repr(value) == repr(sent)
    assert gate(column(kind)).check(body).refused


@pytest.mark.parametrize(
    ("kind", "bad", "why"),
    [
        ("long", 1.5, "lossy"),
        ("long", 1e30, "lossy"),
        ("long", True, "lossy"),
        ("long", "1.5", "type"),
        ("long", "3.0", "type"),
        ("long", "1_0", "type"),
        ("long", " 3", "type"),
        ("long", "٣", "type"),
        ("long", "9223372036854775808", "range"),
        ("long", "", "type"),
        ("integer", "2147483648", "range"),
        ("double", "nan", "type"),
        ("double", "inf", "type"),
        ("double", "1e999", "type"),
        ("double", "0x10", "type"),
        ("double", "9007199254740993", "lossy"),
        ("double", True, "lossy"),
        ("float", "1e39", "range"),
        ("string", 3, "type"),
        ("boolean", 2, "type"),
        ("boolean", "yes", "type"),
        ("boolean", "", "type"),
        ("datetime", 5, "type"),
        ("datetime", "01/02/2026", "type"),
        ("datetime", "now", "type"),
        ("datetime", "0001-01-01T00:00:00+14:00", "type"),
        ("datetime", "1600-01-01T00:00:00Z", "range"),
        ("binary", "-_-_", "type"),
        ("long", None, "null"),
    ],
)
def test_coerce_refuses_what_it_would_have_to_guess(kind: str, bad: Any, why: str) -> None:
    result = gate(column(kind), mode="coerce").check(split(bad))
    assert result.refused
    assert kinds(result) == [why]


@pytest.mark.parametrize(
    ("kind", "given", "sent"),
    [
        (ARRAY_OF_DOUBLES, [1, 2], [1.0, 2.0]),
        (ORDER, {"id": 1, "price": 3}, {"id": 1, "price": 3.0}),
        (PRICES, {"a": 3}, {"a": 3.0}),
        ({"type": "sparkml_vector"}, [1], [1.0]),
    ],
)
def test_a_whole_number_inside_an_array_becomes_the_float_mlflow_asks_for(
    kind: Any, given: Any, sent: Any
) -> None:
    """JavaScript cannot write 3.0, and MLflow refuses 3 there."""
    body = split(given)
    result = gate(column(kind)).check(body)
    assert (result.refused, result.count) == (False, 0)
    assert repr(values(result, body)) == repr([sent])
    assert body == split(given)


def test_times_of_several_formats_are_sent_in_one() -> None:
    """Pandas takes the format of the first for that of all."""
    body = split("2026-01-31", "2026-01-31 12:00", "2026-01-31T12:00:00.5")
    result = gate(column("datetime")).check(body)
    assert values(result, body) == [
        "2026-01-31T00:00:00.000000000",
        "2026-01-31T12:00:00.000000000",
        "2026-01-31T12:00:00.500000000",
    ]


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


@pytest.mark.parametrize("kind", ["integer", "long", "boolean", "binary"])
def test_coerce_leaves_out_an_optional_column_of_nulls(kind: str) -> None:
    gated = gate(column("long", "b"), column(kind, required=False), mode="coerce")
    result = gated.check({"dataframe_records": [{"a": None, "b": 1}, {"b": 2}]})
    assert result.payload == {"dataframe_split": {"columns": ["b"], "data": [(1,), (2,)]}}


@pytest.mark.parametrize("rest", [[1.5], [None]])
def test_a_large_integer_that_pandas_would_round_is_refused_even_where_anything_goes(
    rest: list[Any],
) -> None:
    assert kinds(gate(column("any")).check(split(2**53 + 1, *rest))) == ["lossy"]
    assert not gate(column("any")).check(split(2**53 + 1)).refused
    assert not gate(column("any")).check(split(2**53, *rest)).refused


def test_the_culprit_inside_a_value_is_named() -> None:
    orders = {"type": "array", "items": ORDER}
    good, bad = {"id": 1, "price": 1.5}, {"id": 1, "price": "x" * 500}
    result = gate(column(orders, "orders")).check(split([good], [good, bad], name="orders"))
    (violation,) = result.violations
    assert violation.as_dict() == {
        "row": 1,
        "column": "orders",
        "kind": "type",
        "expected": "double: a number that fits 64 bits at orders[1].price",
        "got": "'" + "x" * 60 + "\\u2026'",
    }


def test_only_the_first_twenty_are_told_and_all_are_counted() -> None:
    gated = gate(column("long"), column("string", "b"))
    rows = [[1.5 if row % 2 else 1, row if row % 3 else "x"] for row in range(1000)]
    result = gated.check({"dataframe_split": {"columns": ["a", "b"], "data": rows}})
    assert len(result.violations) == 20
    assert [one.row for one in result.violations][:5] == [1, 1, 2, 3, 4]
    assert result.count == 500 + 666
    assert result.tally == {("a", "lossy"): 500, ("b", "type"): 666}


@pytest.mark.parametrize(
    ("bad", "got"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ("é\n\x1b[31m", "'\\xe9\\n\\x1b[31m'"),
        ([1] * 10_000, "an array"),
        ({"a": 1}, "an object"),
        (10**300, "1" + "0" * 59 + "…"),
    ],
)
def test_what_was_got_is_told_short_and_printable(bad: Any, got: str) -> None:
    (violation,) = gate(column("long")).check(split(bad)).violations
    assert violation.got == got


def test_the_body_is_never_changed() -> None:
    body = split({"id": "7", "price": 3})
    gate(column(ORDER), mode="coerce").check(body)
    assert body == split({"id": "7", "price": 3})


@pytest.mark.parametrize("kind", ["array", "map", "object"])
@pytest.mark.parametrize("depth", [60, 600, 5000])
def test_a_signature_of_any_depth_stops_nothing(kind: str, depth: int) -> None:
    spec: dict[str, Any] = {"type": "long"}
    for _ in range(depth):
        inner = {
            "array": {"items": spec},
            "map": {"values": spec},
            "object": {"properties": {"k": spec}},
        }
        spec = {"type": kind, **inner[kind]}
    for mode in ("strict", "coerce", "observe"):
        one = gate(column(spec), mode=mode)
        assert one.checked == (depth == 60)
        result = one.check({"a": 1})
        assert result.refused == (depth == 60 and mode != "observe")
