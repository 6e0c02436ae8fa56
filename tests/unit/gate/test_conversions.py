"""What the gate converts: with coerce what can only mean one thing, and what MLflow wants otherwise."""

from typing import Any

import pytest

from tests.support.gates import ARRAY_OF_DOUBLES, ORDER, PRICES, column, gate, kinds, split, values


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


@pytest.mark.parametrize("kind", ["integer", "long", "boolean", "binary"])
def test_coerce_leaves_out_an_optional_column_of_nulls(kind: str) -> None:
    gated = gate(column("long", "b"), column(kind, required=False), mode="coerce")
    result = gated.check({"dataframe_records": [{"a": None, "b": 1}, {"b": 2}]})
    assert result.payload == {"dataframe_split": {"columns": ["b"], "data": [(1,), (2,)]}}


def test_the_body_is_never_changed() -> None:
    body = split({"id": "7", "price": 3})
    gate(column(ORDER), mode="coerce").check(body)
    assert body == split({"id": "7", "price": 3})
