"""Rows that are made of a model's input example, for comparing predictions."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from model_deployment.gate import MergeableTable
from model_deployment.proxy.varied_rows import concatenated, varied_rows

EACH = 8
cells = st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=5)
tables = st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=20).map(
    lambda rows: table(*rows)
)


def table(*rows: list[Any]) -> MergeableTable:
    return MergeableTable(
        ("a", "b", "c")[: len(rows[0])], tuple(zip(*rows, strict=True)), len(rows)
    )


def cells_of(row: MergeableTable) -> list[Any]:
    return [column[0] for column in row.values]


def varied(*rows: list[Any]) -> list[list[Any]]:
    return [cells_of(row) for row in varied_rows(table(*rows), EACH)]


def test_rows_of_the_example_come_first_and_once() -> None:
    assert varied([1.0, "x"], [2.0, "y"], [1.0, "x"], [3.0, "x"])[:3] == [
        [1.0, "x"], [2.0, "y"], [3.0, "x"],
    ]  # fmt: skip


def test_then_come_mixtures_which_hold_nothing_new() -> None:
    rows = varied([1.0, "x"], [2.0, "y"], [3.0, "z"])
    numbers, texts = zip(*rows[3:9], strict=True)
    assert {*numbers} == {1.0, 2.0, 3.0}
    assert {*texts} == {"x", "y", "z"}


def test_one_row_is_changed_in_its_numbers_before_its_texts() -> None:
    first, *changed = varied([1.5, "x", 3])
    assert first == [1.5, "x", 3]
    assert len(changed) == 2 * EACH
    assert {text for _, text, _ in changed[:EACH]} == {"x"}
    assert {text for _, text, _ in changed[EACH:]} != {"x"}


def test_texts_alone_are_changed_too() -> None:
    assert len(varied(["some words of a text"])) > EACH


def test_what_cannot_be_changed_gives_one_row() -> None:
    assert varied([None, [], {}]) == [[None, [], {}]]


@given(tables)
def test_rows_differ_have_their_types_and_are_always_the_same(one: MergeableTable) -> None:
    rows = [*varied_rows(one, EACH)]
    assert 1 <= len(rows) <= 4 * EACH
    written = [repr(row.values) for row in rows]
    assert len({*written}) == len(written)
    assert written == [repr(row.values) for row in varied_rows(one, EACH)]
    for row in rows:
        assert (row.rows, row.key) == (1, one.key)
        kinds = [{type(value) for value in column} for column in one.values]
        assert all(type(value) in kind for value, kind in zip(cells_of(row), kinds, strict=True))


@given(tables)
def test_concatenated_rows_are_the_table_again(one: MergeableTable) -> None:
    again = concatenated([one.part(place, 1) for place in range(one.rows)])
    assert [[*column] for column in again.values] == [[*column] for column in one.values]
    assert again.rows == one.rows
    assert all(len({*map(len, pair)}) == 1 for pair in pairwise(again.values))
