"""Tests whether a model predicts a row alike alone and in a batch, which merging requests needs.

A model that ranks its rows, or scales them by their mean, does not.
"""

import contextlib
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp

from model_deployment.core.domain import Endpoint
from model_deployment.gate import Gate, MergeableTable, dumps
from model_deployment.proxy.answers import predictions

#: Rows that are compared.
_ROWS = 4
#: Tolerances of ``numpy.allclose``: matrix products of one row and of several round differently.
_RELATIVE, _ABSOLUTE = 1e-5, 1e-8

_UNKNOWN = "cannot check whether its requests may be merged (batch_max_rows): "
#: The predictions for some rows, or None if the model gives no list of predictions for them.
Predict = Callable[[MergeableTable], Awaitable[list[Any] | None]]


async def compare(endpoint: Endpoint, gate: Gate, example: Any, timeout: float) -> str:
    """Compare the predictions of a few rows in a batch with those of each row alone.

    Args:
        example: a scoring request, ideally the model's own input example with several rows.
        timeout: seconds each prediction may take.

    Returns:
        A sentence that says how they differ; empty if they do not.

    Raises:
        OSError, aiohttp.ClientError, TimeoutError: the model server does not answer.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout)) as session:

        async def predict(table: MergeableTable) -> list[Any] | None:
            async with session.post(
                f"{endpoint.url}/invocations",
                data=dumps(gate.join([table])),
                headers={"content-type": "application/json"},
            ) as answer:
                content = await answer.read()
                return predictions(content) if answer.status == 200 else None

        return await _compare(gate, example, predict)


async def _compare(gate: Gate, example: Any, predict: Predict) -> str:
    table = gate.check(example).table if example is not None else None
    if table is None:
        return (
            f"{_UNKNOWN}its input example is not a table, or the model has neither an example nor a "
            f"signature. "
            "Log the model with input_example= set to some rows, or deploy it without batch_max_rows"
        )
    rows = [table.part(place, 1) for place in range(min(table.rows, _ROWS))]
    alone = [await predict(row) for row in rows]
    if any(one is None for one in alone):
        return f"{_UNKNOWN}the model fails on its own input example, or does not answer with a list"
    if all(row.values == rows[0].values for row in rows):
        # Equal rows prove little: their mean is the mean of each.
        other = _changed(rows[0])
        same = [*map(list, other.values)] == [*map(list, rows[0].values)]
        prediction = None if same else await predict(other)
        if not prediction:
            return (
                f"{_UNKNOWN}its input example has only one row, or its rows are equal. Log the model with "
                "input_example= set to rows that differ, or deploy it without batch_max_rows"
            )
        rows, alone = [*rows[:1], other], [alone[0], prediction]
    # Backwards too: a model that sorts its answer may have been given sorted rows.
    if difference := _difference(await predict(_concatenated(rows)), alone):
        return difference
    backwards = await predict(_concatenated(rows[::-1]))
    return _difference(backwards and backwards[::-1], alone)


def _difference(together: list[Any] | None, alone: list[list[Any] | None]) -> str:
    advice = "Deploy it without batch_max_rows"
    if together is None or len(together) != len(alone):
        got = "no list of predictions" if together is None else f"{len(together)} predictions"
        return (
            f"its requests must not be merged (batch_max_rows): {len(alone)} rows together are "
            f"answered with {got}. {advice}"
        )
    for place, (one, found) in enumerate(zip(together, alone, strict=True)):
        if found is None or len(found) != 1 or not _equal(one, found[0]):
            other = found[0] if found and len(found) == 1 else found
            return (
                "its requests must not be merged (batch_max_rows): its prediction for row "
                f"{place} of its input example is {_shown(one)} together with {len(alone) - 1} other "
                f"rows, and {_shown(other)} alone. {advice}"
            )
    return ""


def _equal(one: Any, other: Any) -> bool:
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(map(_equal, one, other))
    if type(one) is dict and type(other) is dict:
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if float in (type(one), type(other)):  # whole numbers are not rounded
        with contextlib.suppress(TypeError, OverflowError):  # no number, or too large for a float
            return math.isclose(one, other, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return bool(one == other)


def _concatenated(rows: list[MergeableTable]) -> MergeableTable:
    values = tuple(
        [value for row in rows for value in row.values[place]]
        for place in range(len(rows[0].values))
    )
    return replace(rows[0], values=values, rows=len(rows))


def _changed(row: MergeableTable) -> MergeableTable:
    """Another row of the same types."""
    return replace(
        row, values=tuple([_changed_value(value) for value in column] for column in row.values)
    )


def _changed_value(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 1.25 + math.copysign(0.5, value)
        case str():
            return value + "x"
        case list():
            return [_changed_value(one) for one in value]
        case dict():
            return {key: _changed_value(one) for key, one in value.items()}
        case _:
            return value


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:60] + "..."
