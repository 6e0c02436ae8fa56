"""Which requests of tables may become one call, and what the model gets of them together."""

from typing import Any

import pytest

from model_deployment.gate import Gate, MergeableTable, Validation
from tests.support.gates import MAPPING, column, gate, param, split
from tests.support.people import ADA, AGE, BOB, FRAME, NOTE, PEOPLE


def table(gated: Gate, body: Any) -> MergeableTable:
    found = gated.check(body).table
    assert isinstance(found, MergeableTable)
    return found


@pytest.mark.parametrize("mode", ["strict", "coerce"])
def test_an_index_stays_and_keeps_a_table_from_being_joined(mode: str) -> None:
    body = {"dataframe_split": {"columns": ["age", "x"], "data": [[1, 2]], "index": [7]}}
    result = gate(AGE, column("double", "x", required=False), mode=mode).check(body)
    assert (result.refused, result.payload, result.table) == (False, None, None)
    result = gate(AGE, mode="coerce").check(body)
    assert result.payload["dataframe_split"]["index"] == [7]


def test_tables_of_one_key_are_joined_in_order() -> None:
    tables = [
        table(PEOPLE, FRAME),
        table(PEOPLE, {"dataframe_split": {"columns": ["name", "age"], "data": [["Cy", 1]]}}),
        table(PEOPLE, ADA),
        table(PEOPLE, {"inputs": [BOB]}),
    ]
    assert len({one.key for one in tables}) == 1
    data = PEOPLE.join(tables)["dataframe_split"]
    assert data["columns"] == ["age", "name"]
    assert data["data"] == [(36, "Ada"), (41, "Bob"), (1, "Cy"), (36, "Ada"), (41, "Bob")]
    assert not PEOPLE.check(
        {"dataframe_split": {**data, "data": list(map(list, data["data"]))}}
    ).refused


def test_tables_with_other_params_or_columns_are_not_joined() -> None:
    gated = gate(AGE, column("double", "x", required=False), params=[param("long", 1)])
    keys = {
        table(gated, {"age": 1}).key,
        table(gated, {"age": 1, "params": {"p": 1}}).key,
        table(gated, {"age": 1, "params": {"p": 2}}).key,
        table(gated, {"age": 1, "x": 1}).key,
    }
    assert len(keys) == 4
    joined = gated.join([table(gated, {"age": 1, "params": {"p": 2}})] * 2)
    assert joined == {
        "dataframe_split": {"columns": ["age"], "data": [(1,), (1,)]},
        "params": {"p": 2},
    }


def test_joined_times_are_of_one_format() -> None:
    gated = gate(column("datetime"))
    joined = gated.join(
        [table(gated, split("2026-01-31")), table(gated, split("2026-01-31T12:00"))]
    )
    assert [row[0] for row in joined["dataframe_split"]["data"]] == [
        "2026-01-31T00:00:00.000000000",
        "2026-01-31T12:00:00.000000000",
    ]


@pytest.mark.parametrize(
    ("spec", "value"), [(NOTE, None), (column("any", "note"), 1), (column("any", "note"), None)]
)
def test_what_other_rows_would_change_is_not_joined(spec: Any, value: Any) -> None:
    result = gate(AGE, spec).check({"age": 1, "note": value})
    assert (result.refused, result.table) == (False, None)


def test_without_a_signature_only_tables_of_equal_types_are_joined() -> None:
    gated = Gate(None, MAPPING, Validation.STRICT)
    keys = {table(gated, {"x": value}).key for value in (1, 2, 1.5, "a", True)}
    assert len(keys) == 4
    assert gated.join([table(gated, {"x": 1}), table(gated, split(2, name="x"))]) == {
        "dataframe_split": {"columns": ["x"], "data": [(1,), (2,)]}
    }
    bodies: list[Any] = [
        {"x": None},
        {"x": []},
        {"x": 2**64},
        split(1, 1.5),
        split(),
        [{"x": 1}, {"y": 1}],
    ]
    assert all(gated.check(body).table is None for body in bodies)
    assert gated.check(split(*range(2000))).rows == 2000
