"""Rows that are made of a model's tensors, for comparing predictions."""

from typing import Any

import pytest

from model_deployment.gate import MergeableTensors
from model_deployment.proxy.varied_rows import concatenated, varied
from tests.support.gates import gate, tensor

EACH = 8


def rows_of(dtype: str, value: Any, *inner: int) -> list[list[Any]]:
    """The values of each row that is made of an example."""
    table = gate(tensor(dtype, -1, *inner)).check({"inputs": value}).table
    assert isinstance(table, MergeableTensors)
    made = [*varied(table, EACH)]
    assert all(isinstance(row, MergeableTensors) and row.key == table.key for row in made)
    assert all(row.rows == 1 for row in made)
    return [[*row.values[0]] for row in made]


def test_rows_of_the_example_come_first_and_once() -> None:
    rows = rows_of("float32", [[1.5, 2], [3, 4], [1.5, 2]], 2)
    assert rows[:2] == [[1.5, 2], [3, 4]]
    assert len({*map(tuple, rows)}) == len(rows) >= EACH


def test_the_same_rows_each_time() -> None:
    assert rows_of("float32", [[1.5, 2]], 2) == rows_of("float32", [[1.5, 2]], 2)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint16"])
def test_numbers_of_words_stay_among_those_of_the_example(dtype: str) -> None:
    rows = rows_of(dtype, [[101, 7, 8, 9, 102], [101, 3, 4, 0, 102]], 5)
    assert len(rows) >= EACH
    assert {value for row in rows for value in row} == {101, 7, 8, 9, 102, 3, 4, 0}


def test_a_single_number_of_a_word_becomes_a_few_small_ones() -> None:
    assert {*map(tuple, rows_of("int64", [[5, 5, 5, 5]], 4))} >= {(5, 5, 5, 5)}
    assert {value for row in rows_of("int64", [[5] * 4], 4) for value in row} == {0, 1, 5}


def test_pixels_are_of_any_brightness() -> None:
    rows = rows_of("uint8", [[0] * 300], 300)
    assert len(rows) >= EACH
    values = {value for row in rows for value in row}
    assert values <= {*range(256)}
    assert max(values) > 200


def test_a_few_categories_of_small_numbers_are_no_pixels() -> None:
    assert {value for row in rows_of("uint8", [[0, 3, 1]], 3) for value in row} == {0, 3, 1}


def test_floats_vary_and_keep_their_sign() -> None:
    rows = rows_of("float32", [[0.0, 0.5, 1.0]], 3)
    assert min(value for row in rows for value in row) >= 0
    assert min(value for row in rows_of("float32", [[-1.0, 1.0]], 2) for value in row) < 0
    assert len({*map(tuple, rows)}) >= EACH


def test_missing_values_stay_where_they_are() -> None:
    table = MergeableTensors(
        gate(tensor("float32", -1, 2)).check({"inputs": [[1.5, 2]]}).table.kinds,  # type: ignore[union-attr]
        ([None, 2.0],), 1, "inputs",
    )  # fmt: skip
    others = [row.values[0] for row in varied(table, EACH)][3:]
    assert others
    assert all(row[0] is None and row[1] is not None for row in others)


def test_text_and_truths() -> None:
    assert len(rows_of("str", ["a cat", "a dog"])) >= EACH
    assert {value for row in rows_of("bool", [[True] * 8], 8) for value in row} == {True, False}


def test_rows_are_put_together_in_order() -> None:
    table = gate(tensor("float32", -1, 2)).check({"inputs": [[1, 2], [3, 4]]}).table
    assert table is not None
    both = concatenated([table.part(1, 1), table])
    assert (both.rows, [*both.values[0]]) == (3, [3, 4, 1, 2, 3, 4])
    assert type(both.values[0]) is type(table.values[0])
