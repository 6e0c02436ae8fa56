"""Whether a model's predictions of rows together and apart are the same."""

from collections.abc import Callable
from typing import Any

import pytest

from model_deployment.gate import Gate, Mergeable
from model_deployment.proxy import row_independence
from model_deployment.proxy.row_independence import _compare
from tests.support.gates import column, gate, param, split

GATE = gate(column("double"))
NOT_VARIED = (
    "cannot check whether its requests may be merged (batch_max_rows): its input example has only "
    "one row, or its rows are equal. Log the model with input_example= set to rows that differ, or "
    "deploy it without batch_max_rows"
)
Model = Callable[[list[Any]], list[Any] | None]


async def compared(model: Model, example: Any, one: Gate = GATE) -> tuple[str, list[list[Any]]]:
    """What was found out, and the values of each call."""
    calls: list[list[Any]] = []

    async def predict(table: Mergeable) -> list[Any] | None:
        assert all(len(values) == table.rows for values in table.values)
        calls.append([*table.values[0]])
        return model([*table.values[0]])

    return await _compare(one, example, predict), calls


def good(rows: list[Any]) -> list[Any]:
    return [2 * row for row in rows]


def ranks(rows: list[Any]) -> list[Any]:
    return [sorted(rows).index(row) for row in rows]


async def test_model_of_single_rows_is_independent() -> None:
    found, calls = await compared(good, split(0.5, 1.5, 2.5))
    assert found == ""
    assert calls == [[0.5], [1.5], [2.5], [0.5, 1.5, 2.5], [2.5, 1.5, 0.5]]


async def test_only_a_few_rows_are_compared() -> None:
    found, calls = await compared(good, split(*map(float, range(100))))
    assert found == ""
    *alone, together, backwards = map(len, calls)
    assert alone == [1] * together
    assert backwards == together
    assert 2 <= together <= 8


async def test_model_that_ranks_its_rows_is_dependent() -> None:
    found, _ = await compared(ranks, split(3.0, 1.0, 2.0))
    assert found == (
        "its requests must not be merged (batch_max_rows): its prediction for row 0 of its input "
        "example is 2 together with 2 other rows, and 0 alone. Deploy it without batch_max_rows"
    )


async def test_model_that_scales_its_rows_is_dependent() -> None:
    def scales(rows: list[Any]) -> list[Any]:
        return [row - sum(rows) / len(rows) for row in rows]

    found, _ = await compared(scales, split(1.0, 2.0))
    assert "row 0" in found
    assert found.startswith("its requests must not be merged")


@pytest.mark.parametrize("rows", [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0], [2.0, 2.0]])
async def test_model_that_sorts_its_output_is_dependent(rows: list[float]) -> None:
    found, _ = await compared(lambda given: sorted(good(given)), split(*rows))
    assert found.startswith("its requests must not be merged")
    found, _ = await compared(lambda given: sorted(good(given), reverse=True), split(*rows))
    assert found.startswith("its requests must not be merged")


async def test_difference_backwards_names_the_row_of_the_example() -> None:
    def odd(rows: list[Any]) -> list[Any]:
        return [9.0, *good(rows[1:])] if rows == [3.0, 2.0, 1.0] else good(rows)

    found, _ = await compared(odd, split(1.0, 2.0, 3.0))
    assert "its prediction for row 2 of its input example is 9.0 together" in found
    assert "and 6.0 alone" in found


@pytest.mark.parametrize("answer", [None, [], [2.0], [2.0, 4.0, 6.0]])
async def test_number_of_predictions_must_match_backwards(answer: Any) -> None:
    found, _ = await compared(
        lambda rows: answer if rows == [2.0, 1.0] else good(rows), split(1.0, 2.0)
    )
    assert "2 rows together are answered with" in found


@pytest.mark.parametrize("rows", [[1.0], [1.0, 1.0], [1.0] * 9])
async def test_equal_rows_are_compared_with_a_changed_row(rows: list[float]) -> None:
    found, calls = await compared(ranks, split(*rows))
    assert calls == [[1.0]] * min(len(rows), 4) + [[1.75], [1.0, 1.75]]
    assert "row 1" in found
    found, calls = await compared(good, split(*rows))
    assert found == ""
    assert calls[-1] == [1.75, 1.0]


async def test_equal_rows_do_not_hide_a_mean() -> None:
    found, _ = await compared(
        lambda rows: [sum(rows) / len(rows)] * len(rows), split(3.0, 3.0, 3.0)
    )
    assert found.startswith("its requests must not be merged")


async def test_different_rows_are_not_changed() -> None:
    _, calls = await compared(good, split(1.0, 1.0, 1.0, 2.0, 1.0))
    assert calls[:4] == [[1.0], [1.0], [1.0], [2.0]]
    assert calls[4:] == [[1.0, 1.0, 1.0, 2.0], [2.0, 1.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    ("kind", "value", "other"),
    [
        ("long", 3, 4),
        ("double", 0.0, 0.5),
        ("boolean", True, False),
        ("double", -2.0, -3.0),
        ("string", "a", "ax"),
        ({"type": "array", "items": {"type": "long"}}, [1, 2], [2, 3]),
        ({"type": "map", "values": {"type": "string"}}, {"k": "v"}, {"k": "vx"}),
    ],
)
async def test_changed_row_has_the_same_types(kind: str, value: Any, other: Any) -> None:
    found, calls = await compared(lambda rows: rows, split(value), gate(column(kind)))
    assert (found, calls) == ("", [[value], [other], [value, other], [other, value]])


@pytest.mark.parametrize("refusal", [None, []])
@pytest.mark.parametrize("rows", [[1.0], [1.0, 1.0]])
async def test_unknown_if_the_model_rejects_the_changed_row(
    refusal: Any, rows: list[float]
) -> None:
    def picky(rows: list[Any]) -> list[Any] | None:
        return refusal if rows == [1.75] else good(rows)

    found, calls = await compared(picky, split(*rows))
    assert found == NOT_VARIED
    assert calls == [*([row] for row in rows), [1.75]]


@pytest.mark.parametrize(
    ("kind", "value"), [({"type": "array", "items": {"type": "long"}}, []), ("double", None)]
)
async def test_unknown_if_the_row_cannot_be_changed(kind: Any, value: Any) -> None:
    one = gate(column(kind, required=False))
    found, calls = await compared(lambda rows: [1] * len(rows), split(value), one)
    assert (found, calls) == (NOT_VARIED, [[value]])


@pytest.mark.parametrize(
    ("answer", "words"), [(None, "no list of predictions"), ([], "0 predictions"), ([1], "1 ")]
)
async def test_number_of_predictions_must_match_in_a_batch(answer: Any, words: str) -> None:
    found, _ = await compared(lambda rows: answer if len(rows) > 1 else [1], split(1.0, 2.0))
    assert found.startswith(
        "its requests must not be merged (batch_max_rows): 2 rows together are answered with "
        + words
    )


@pytest.mark.parametrize("answer", [[], [1, 2]])
async def test_number_of_predictions_must_be_one_alone(answer: list[Any]) -> None:
    found, _ = await compared(lambda rows: answer if len(rows) == 1 else rows, split(1.0, 2.0))
    assert "row 0" in found


@pytest.mark.parametrize("rows", [[1.0], [1.0, 2.0]])
async def test_unknown_if_the_model_fails_alone(rows: list[float]) -> None:
    found, _ = await compared(lambda rows: None, split(*rows))
    assert found == (
        "cannot check whether its requests may be merged (batch_max_rows): the model fails on its "
        "own input example, or does not answer with a list"
    )


@pytest.mark.parametrize(
    "example", [None, {"inputs": "x"}, {"dataframe_split": {}}, [1], split("x")]
)
async def test_unknown_without_a_table(example: Any) -> None:
    found, calls = await compared(good, example)
    assert found.startswith("cannot check whether its requests may be merged (batch_max_rows): ")
    assert "input_example=" in found
    assert calls == []


async def test_params_of_the_example_are_kept() -> None:
    asked = []

    async def predict(table: Mergeable) -> list[Any]:
        asked.append(table.params)
        return [1] * table.rows

    one = gate(column("double"), params=[param("double", 0.5)])
    assert await _compare(one, split(1.0, 2.0) | {"params": {"p": 0.1}}, predict) == ""
    assert asked == [{"p": 0.1}] * 4


@pytest.mark.parametrize(
    ("alone", "together"),
    [
        (1.0, 1.0 + 1e-7),
        (1, 1.0),
        (1e-9, 0.0),
        (None, None),
        ("a", "a"),
        ([1.0, [2.0]], [1.0 + 1e-9, [2.0]]),
        ({"score": 0.3, "label": "a"}, {"label": "a", "score": 0.1 + 0.2}),
        (True, True),
        (10**400, 10**400),
    ],
)
async def test_difference_by_rounding_is_ignored(alone: Any, together: Any) -> None:
    found, _ = await compared(
        lambda rows: [alone if len(rows) == 1 else together] * len(rows), split(1.0, 2.0)
    )
    assert found == ""


@pytest.mark.parametrize(
    ("alone", "together"),
    [
        (1.0, 1.001),
        (1.0, None),
        (1, "1"),
        ("a", "b"),
        ([1.0], [1.0, 1.0]),
        ([1.0], 1.0),
        ([1.0, 2.0], [2.0, 1.0]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ({"a": 1}, [1]),
        (1_000_000, 1_000_001),
        (10**400, 10**400 + 1),
        (10**400, 0.5),
        (True, False),
    ],
)
async def test_difference_beyond_rounding_counts(alone: Any, together: Any) -> None:
    found, _ = await compared(
        lambda rows: [alone if len(rows) == 1 else together] * len(rows), split(1.0, 2.0)
    )
    assert "its requests must not be merged" in found


async def test_difference_is_described_briefly() -> None:
    found, _ = await compared(
        lambda rows: ["\x1b" + "x" * 5000 * len(rows)] * len(rows), split(1.0, 2.0)
    )
    assert 0 < len(found) < 500
    assert found.isprintable()


async def test_a_call_as_large_as_a_merged_one_is_tried() -> None:
    sizes: list[int] = []

    async def predict(table: Mergeable) -> list[Any] | None:
        rows = [*table.values[0]]
        sizes.append(len(rows))
        mean = sum(rows) / len(rows) if len(rows) >= 32 else 0.0
        return [row - mean for row in rows]

    assert await _compare(GATE, split(0.5, 1.5, 2.5), predict, 31) == ""
    assert max(sizes) == 31
    found = await _compare(GATE, split(0.5, 1.5, 2.5), predict, 64)
    assert "its prediction for row 0 of its input example is" in found
    assert "together with 63 other rows, and 0.5 alone" in found


async def test_a_slow_model_is_tried_with_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(row_independence, "monotonic", lambda: clock[0])
    sizes: list[int] = []

    async def predict(table: Mergeable) -> list[Any] | None:
        sizes.append(table.rows)
        clock[0] += table.rows * 0.5
        return [2 * row for row in table.values[0]]

    assert await _compare(GATE, split(0.5, 1.5, 2.5), predict, 256) == ""
    assert max(sizes) == 20
