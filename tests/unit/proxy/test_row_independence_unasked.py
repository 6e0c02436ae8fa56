"""What has to hold before requests are merged though nobody asked for it."""

from collections.abc import Callable
from typing import Any

import pytest

from model_deployment.gate import Gate, Mergeable
from model_deployment.proxy.row_independence import _MOST_BYTES, _VARIED, _compare_varied
from tests.support.gates import column, gate, split

GATE = gate(column("double"))
MOST = 64
Model = Callable[[list[Any]], list[Any] | None]


async def compared(model: Model, example: Any, one: Gate = GATE) -> tuple[str, list[list[Any]]]:
    """What was found out, and the values of each call."""
    calls: list[list[Any]] = []

    async def predict(table: Mergeable) -> list[Any] | None:
        calls.append([*table.values[0]])
        return model([*table.values[0]])

    return await _compare_varied(one, example, predict, MOST), calls


def good(rows: list[Any]) -> list[Any]:
    return [2 * row for row in rows]


@pytest.mark.parametrize("example", [split(0.5), split(0.5, 0.5), split(*map(float, range(100)))])
async def test_model_of_single_rows_is_tried_alone_together_shuffled_and_repeated(
    example: Any,
) -> None:
    found, calls = await compared(good, example)
    assert found == ""
    *alone, together, shuffled, repeated = calls
    assert [*map(len, alone)] == [1] * _VARIED
    rows = [row for (row,) in alone]
    assert len({*rows}) == _VARIED >= 8
    assert together == rows
    assert (sorted(shuffled), shuffled != rows) == (sorted(rows), True)
    assert (len(repeated), {*repeated}) == (MOST, {*rows})


@pytest.mark.parametrize(
    "model",
    [
        lambda rows: [sorted(rows).index(row) for row in rows],
        lambda rows: [row - sum(rows) / len(rows) for row in rows],
        sorted,
        lambda rows: [*map(float, range(len(rows)))],
        lambda rows: [row * (1 + 1e-8 * (len(rows) > 1)) for row in rows],
        lambda rows: [round(row) + (len(rows) > _VARIED) for row in rows],
        lambda rows: [{"a": row, "n": len(rows)} for row in rows],
        lambda rows: [[row] * len(rows) for row in rows],
        lambda rows: good(rows) if len(rows) == 1 else [good(rows)],
        lambda rows: good(rows) if len(rows) <= _VARIED else None,
    ],
)
async def test_model_that_looks_at_all_rows_differs(model: Model) -> None:
    found, _ = await compared(model, split(3.0, 1.0, 2.0))
    assert ("alone" in found) or ("together are answered" in found)


@pytest.mark.parametrize("factor", [1 + 1e-12, 1 - 9e-10])
async def test_rounding_is_no_difference(factor: float) -> None:
    def rounds(rows: list[Any]) -> list[Any]:
        return [{"p": [row * (factor if len(rows) > 1 else 1.0), "a", 1, None]} for row in rows]

    assert (await compared(rounds, split(3.0, 1.0)))[0] == ""


async def test_rows_that_the_model_refuses_are_left_out() -> None:
    def positive(rows: list[Any]) -> list[Any] | None:
        return good(rows) if min(rows) > 0.6 else None

    found, calls = await compared(positive, split(-1.0, 1.0))
    assert found == ""
    assert min(calls[-1]) > 0.6


async def test_too_few_rows_that_the_model_takes_are_no_comparison() -> None:
    found, calls = await compared(lambda rows: good(rows) if rows == [1.0] else None, split(1.0))
    assert found.startswith("it predicts only 1 of the rows")
    assert len(calls) <= 4 * _VARIED


@pytest.mark.parametrize("example", [None, {"inputs": "x"}, split("x")])
async def test_without_a_table_there_is_no_comparison(example: Any) -> None:
    found, calls = await compared(good, example)
    assert found == "it has neither an input example that is a table nor a signature to make one of"
    assert calls == []


@pytest.mark.parametrize(
    ("row", "most"), [(_MOST_BYTES // 4, 0), (_MOST_BYTES // 40, 40), (100, MOST)]
)
async def test_the_memory_of_a_comparison_is_bounded(row: int, most: int) -> None:
    texts = gate(column("string"))
    found, calls = await compared(
        lambda rows: [len(one) for one in rows],
        split(*("x" * row + str(n) for n in range(8))),
        texts,
    )
    assert (found == "") == bool(most)
    assert (found.startswith("its rows or its predictions are too large")) == (not most)
    assert max(map(len, calls)) <= max(most, 1)
