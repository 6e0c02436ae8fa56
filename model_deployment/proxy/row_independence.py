"""Tests whether a model predicts a row alike alone and in a batch, which merging requests needs.

A model that ranks its rows, or scales them by their mean, does not.

Where merging was asked for with a number, :func:`compare` tries a few rows. Where nobody asked for it,
:func:`examine` tries varied rows, and the model has to be of a kind that predicts each row by itself.
"""

import asyncio
import contextlib
import math
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import aiohttp

from model_deployment.core.domain import Address
from model_deployment.core.merging import Finding
from model_deployment.gate import Gate, MalformedJson, MergeableTable, dumps, loads
from model_deployment.http.model_session import model_session
from model_deployment.proxy.answers import predictions
from model_deployment.proxy.varied_rows import concatenated, varied_rows
from model_deployment.worker import row_wise
from model_deployment.worker.row_wise import Verdict

#: Rows that :func:`compare` compares.
_ROWS = 4
#: Tolerances of ``numpy.allclose``: matrix products of one row and of several round differently.
_TOLERANCE = (1e-5, 1e-8)
#: Rows that :func:`examine` compares, those of each kind that it tries, and its tolerance.
_VARIED, _STRICT = 8, (1e-9, 0.0)
#: Seconds that it takes at most, and bytes of one call and of one answer.
_LONGEST, _MOST_BYTES = 10.0, 4 * 1024 * 1024

_UNKNOWN = "cannot check whether its requests may be merged (batch_max_rows): "
#: The predictions for some rows, or None if the model gives no list of predictions for them.
Predict = Callable[[MergeableTable], Awaitable[list[Any] | None]]


async def compare(address: Address, gate: Gate, example: Any, timeout: float) -> str:
    """Compare the predictions of a few rows in a batch with those of each row alone.

    Args:
        example: a scoring request, ideally the model's own input example with several rows.
        timeout: seconds each prediction may take.

    Returns:
        A sentence that says how they differ; empty if they do not.

    Raises:
        OSError, aiohttp.ClientError, TimeoutError: the model server does not answer.
    """
    async with model_session(address, timeout) as session:
        return await _compare(gate, example, _predict(session, address, gate, sys.maxsize))


async def examine(
    address: Address, gate: Gate, example: Any, flavors: Any, max_rows: int
) -> Finding:
    """Find out whether requests may be merged though nobody asked for it.

    Args:
        example: as for :func:`compare`.
        flavors: the member of the same name of the ``MLmodel`` file.
        max_rows: rows of the largest call that is compared.

    Raises:
        OSError, aiohttp.ClientError: the model server does not answer.
    """
    async with model_session(address, _LONGEST) as session:
        verdict = await _ask(session, address) or row_wise.judge_file(flavors)
        if not verdict.row_wise:
            return Finding(False, verdict.reason)
        try:
            async with asyncio.timeout(_LONGEST):
                predict = _predict(session, address, gate, _MOST_BYTES)
                problem = await _compare_varied(gate, example, predict, max_rows)
        except TimeoutError:
            problem = f"comparing its predictions took longer than {_LONGEST:g} s"
    if problem:
        return Finding(False, problem)
    compared = f"{_VARIED} rows were predicted alike alone, together, shuffled and repeated"
    return Finding(True, f"{verdict.reason}, and {compared}")


async def _ask(session: aiohttp.ClientSession, address: Address) -> Verdict | None:
    """What the model server says of its model; None if it is MLflow's own, which says nothing."""
    async with session.get(f"{address.url}{row_wise.PATH}") as answer:
        content = await _read(answer, _MOST_BYTES)
        with contextlib.suppress(MalformedJson):
            return Verdict.from_dict(loads(content)) if answer.status == 200 else None
    return None


async def _compare_varied(gate: Gate, example: Any, predict: Predict, max_rows: int) -> str:
    """How the predictions of varied rows differ, or why it is not known; empty if they do not."""
    table = gate.check(example).table if example is not None else None
    if table is None:
        return "it has neither an input example that is a table nor a signature to make one of"
    rows: list[MergeableTable] = []
    alone: list[list[Any] | None] = []
    for row in varied_rows(table, _VARIED):
        prediction = await predict(row)
        if prediction is not None:
            rows.append(row)
            alone.append(prediction)
        if len(rows) == _VARIED:
            break
    else:
        return (
            f"it predicts only {len(rows)} of the rows that its input example or its signature gives, and "
            f"{_VARIED} are needed to compare predictions; log the model with more rows as input_example="
        )
    size = max(len(dumps(one)) for one in [*map(gate.join, zip(rows)), *alone])
    largest = min(max_rows, _MOST_BYTES // size)
    if largest < 2 * _VARIED:
        return f"its rows or its predictions are too large to be merged ({size:,} bytes)"
    shuffle = random.Random(0)  # noqa: S311 - the same order each time
    in_order = list(range(_VARIED))
    repeated = [place % _VARIED for place in range(largest)]
    for places in (
        in_order,
        shuffle.sample(in_order, _VARIED),
        shuffle.sample(repeated, largest),
    ):
        together = await predict(concatenated([rows[place] for place in places]))
        if difference := _first_difference(together, places, alone):
            return difference
    return ""


def _first_difference(
    together: list[Any] | None, places: Sequence[int], alone: Sequence[list[Any] | None]
) -> str:
    if together is None or len(together) != len(places):
        got = "no list of predictions" if together is None else f"{len(together)} predictions"
        return f"{len(places)} rows together are answered with {got}"
    for one, place in zip(together, places, strict=True):
        found = alone[place]
        if found is None or len(found) != 1 or not _equal(one, found[0], _STRICT):
            other = found[0] if found and len(found) == 1 else found
            return (
                f"its prediction for a row is {_shown(one)} together with {len(places) - 1} other rows, "
                f"and {_shown(other)} alone"
            )
    return ""


def _predict(session: aiohttp.ClientSession, address: Address, gate: Gate, most: int) -> Predict:
    async def predict(table: MergeableTable) -> list[Any] | None:
        async with session.post(
            f"{address.url}/invocations",
            data=dumps(gate.join([table])),
            headers={"content-type": "application/json"},
        ) as answer:
            content = await _read(answer, most)
            return predictions(content) if content and answer.status == 200 else None

    return predict


async def _read(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of an answer; empty if it is longer than ``most`` bytes."""
    content = bytearray()
    async for part in answer.content.iter_any():
        content += part
        if len(content) > most:
            return b""
    return bytes(content)


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
    if difference := _difference(await predict(concatenated(rows)), alone):
        return difference
    backwards = await predict(concatenated(rows[::-1]))
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


def _equal(one: Any, other: Any, tolerance: tuple[float, float] = _TOLERANCE) -> bool:
    """Whether two predictions are the same, but for a relative and an absolute difference of floats."""
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(
            _equal(*pair, tolerance) for pair in zip(one, other, strict=True)
        )
    if type(one) is dict and type(other) is dict:
        return one.keys() == other.keys() and all(
            _equal(one[key], other[key], tolerance) for key in one
        )
    if float in (type(one), type(other)):  # whole numbers are not rounded
        relative, absolute = tolerance
        with contextlib.suppress(TypeError, OverflowError):  # no number, or too large for a float
            return math.isclose(one, other, rel_tol=relative, abs_tol=absolute)
    return bool(one == other)


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
