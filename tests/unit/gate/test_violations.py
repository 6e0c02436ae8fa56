"""What is told of a request that does not fit: where, what and how much, in few words."""

from typing import Any

import pytest

from model_deployment.gate import ViolationKind
from tests.support.gates import ORDER, column, gate, split
from tests.support.people import ADA, FRAME, PEOPLE


def test_ragged_rows_are_told_by_row() -> None:
    body = {"dataframe_split": {"columns": ["age", "name"], "data": [[1, "a"], [1], [], [1, "b"]]}}
    assert [one.row for one in PEOPLE.check(body).violations] == [1, 2]


def test_a_column_missing_in_some_records_is_told_by_row() -> None:
    result = PEOPLE.check({"dataframe_records": [ADA, {"age": 1}, {"name": "x"}]})
    assert [(one.row, one.column, one.kind) for one in result.violations] == [
        (1, "name", "missing"),
        (2, "age", "missing"),
    ]


def test_a_million_unknown_columns_are_not_read() -> None:
    records = [{**ADA, f"x{place}": place} for place in range(20_000)]
    result = PEOPLE.check({"dataframe_records": records})
    assert (result.count, len(result.violations)) == (20_000, 20)


@pytest.mark.parametrize(
    "body",
    [
        [dict.fromkeys(map(str, range(100_000)), 1), *({} for _ in range(100_000))],
        {"dataframe_split": dict.fromkeys(map(str, range(100_000)), 1)},
        {"dataframe_split": {"columns": [], "data": [[1]] * 100_000}},
        {"dataframe_split": {"columns": list(map(str, range(100_000))), "data": []}},
        {**FRAME, **dict.fromkeys(map(str, range(100_000)), 1)},
        {**FRAME, "params": dict.fromkeys(map(str, range(100_000)), 1)},
        {"dataframe_records": [ADA] + [{}] * 100_000},
        {"dataframe_records": [{"age": "x", "name": 1}] * 100_000},
        {"inputs": dict.fromkeys(map(str, range(100_000)), 1)},
        {"inputs": [[1, [2]]] * 100_000},
    ],
)
def test_much_of_a_wrong_thing_is_told_in_few_words(body: Any) -> None:
    result = PEOPLE.check(body)
    assert result.refused
    assert len(result.violations) <= 20
    assert all(len(one.expected) + len(one.got) < 300 for one in result.violations)


def test_kinds_are_what_monitoring_counts_by() -> None:
    assert {str(kind) for kind in ViolationKind} == {
        "missing", "unknown", "null", "type", "lossy", "range", "ragged", "shape", "params", "form",
    }  # fmt: skip


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
