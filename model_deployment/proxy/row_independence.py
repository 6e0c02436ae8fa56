"""Tests whether a model predicts a row alike alone and in a batch, which merging requests needs.

A model that ranks its rows, or scales them by their mean, does not.

Where merging was asked for with a number, :func:`compare` tries a few rows. Where nobody asked for it,
:func:`examine` tries varied rows, and the model has to be of a kind that predicts each row by itself.
"""

import asyncio
import contextlib
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import aiohttp

from model_deployment.core.domain import Address
from model_deployment.core.merging import Finding
from model_deployment.core.options import AUTO_MAX_ROWS
from model_deployment.gate import Gate, MalformedJson, Mergeable, MergeableTensors, dumps, loads
from model_deployment.http.model_session import model_session
from model_deployment.proxy import packed_rows
from model_deployment.proxy.answers import predictions
from model_deployment.proxy.batch_queue import rows_at_once
from model_deployment.proxy.closeness import SINGLE, Closeness, alike, are_single
from model_deployment.proxy.offload import run
from model_deployment.proxy.varied_rows import changed_row, concatenated, varied
from model_deployment.worker import row_wise
from model_deployment.worker.row_wise import Verdict

#: Rows that :func:`compare` compares.
_ROWS = 4
#: Tolerances of ``numpy.allclose``: matrix products of one row and of several round differently.
_TOLERANCE = Closeness(1e-5, 1e-8)
#: Rows that :func:`examine` compares, those of each kind that it tries, and its tolerance for doubles.
_VARIED, _STRICT = 8, Closeness(1e-9)
#: Cells of a call beyond which it is written in a thread.
_MANY_CELLS = 50_000
#: Seconds that it takes at most, and bytes of one call and of one answer.
_LONGEST, _MOST_BYTES = 10.0, 4 * 1024 * 1024

_UNKNOWN = "cannot check whether its requests may be merged (batch_max_rows): "
_REFUSED = "its requests must not be merged (batch_max_rows): "
_ADVICE = "Deploy it without batch_max_rows"
#: The predictions for some rows, or None if the model gives no list of predictions for them.
Predict = Callable[[Mergeable], Awaitable[list[Any] | None]]


async def compare(address: Address, gate: Gate, example: Any, timeout: float, max_rows: int) -> str:
    """Compare the predictions of a few rows in a batch with those of each row alone.

    Args:
        example: a scoring request, ideally the model's own input example with several rows.
        timeout: seconds each prediction may take.
        max_rows: rows of a merged call. A call of as many is tried, up to those of ``auto``.

    Returns:
        A sentence that says how they differ; empty if they do not.

    Raises:
        OSError, aiohttp.ClientError, TimeoutError: the model server does not answer.
    """
    async with model_session(address, timeout) as session:
        predict = _predict(session, address, gate, sys.maxsize)
        return await _compare(gate, example, predict, min(max_rows, AUTO_MAX_ROWS))


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


@dataclass(frozen=True, slots=True)
class _Compared:
    """What comparing found; no problem: predictions are the same."""

    problem: str = ""
    #: Whether the problem is that they differ, and not that they could not be compared.
    differ: bool = False


async def _compare_varied(gate: Gate, example: Any, predict: Predict, max_rows: int) -> str:
    """How the predictions of varied rows differ, or why it is not known; empty if they do not."""
    return (await _try_varied(gate, example, predict, max_rows, _MOST_BYTES, _STRICT)).problem


async def _try_varied(
    gate: Gate, example: Any, predict: Predict, max_rows: int, most: int, exact: Closeness
) -> _Compared:
    """Compare predictions of varied rows.

    Args:
        max_rows: rows of the largest call.
        most: bytes of a call and of an answer.
        exact: the tolerance for doubles.
    """
    table = gate.check(example).table if example is not None else None
    if table is None:
        return _Compared(_no_rows(gate))
    rows, alone = await _alone(table, predict)
    if len(rows) < _VARIED:
        return _Compared(
            f"it predicts only {len(rows)} of the rows that its input example or its signature gives, and "
            f"{_VARIED} are needed to compare predictions; log the model with more rows as input_example="
        )
    largest, size = _most_rows(gate, rows, alone, max_rows, most)
    tensors = isinstance(table, MergeableTensors)
    if largest < (2 if tensors else 2 * _VARIED):
        return _Compared(f"its rows or its predictions are too large to be merged ({size:,} bytes)")
    tolerance = SINGLE if (tensors or exact is _TOLERANCE) and are_single(alone) else exact
    shuffle = random.Random(0)  # noqa: S311 - the same order each time
    in_order = list(range(_VARIED))
    repeated = [place % _VARIED for place in range(max(largest, _VARIED))]
    orders = [in_order, shuffle.sample(in_order, _VARIED), shuffle.sample(repeated, len(repeated))]
    began = monotonic()
    for number, order in enumerate(orders):
        if number == len(orders) - 1:
            most_rows = _bounded(largest, number * _VARIED, monotonic() - began)
            del order[max(most_rows, 2 * _VARIED) :]
        for first in range(0, len(order), largest):
            places = order[first : first + largest]
            together = await predict(concatenated([rows[place] for place in places]))
            if difference := _first_difference(together, places, alone, tolerance):
                return _Compared(difference, differ=True)
    return _Compared()


async def _alone(table: Mergeable, predict: Predict) -> tuple[list[Mergeable], list[Any]]:
    """Varied rows that the model predicts, up to as many as are compared, and the predictions."""
    rows, alone = list[Mergeable](), list[Any]()
    made = varied(table, _VARIED)
    while len(rows) < _VARIED:
        row = await run(table.cells > _MANY_CELLS, next, made, None)
        if row is None:
            break
        prediction = await predict(row)
        if prediction is not None:
            rows.append(packed_rows.packed(row))
            alone.append(prediction)
    return rows, alone


def _no_rows(gate: Gate) -> str:
    return gate.unmergeable or (
        "it has neither an input example that is a table nor a signature to make one of"
    )


def _most_rows(
    gate: Gate, rows: Sequence[Mergeable], alone: Sequence[Any], max_rows: int, most: int
) -> tuple[int, int]:
    """Rows of the largest call, and bytes of the largest row or prediction."""
    written = [*alone]
    if not isinstance(rows[0], MergeableTensors):
        written += map(gate.join, zip(rows))
    size = max(len(dumps(one)) for one in written)
    return min(rows_at_once(rows[0], max_rows), most // size), size


def _bounded(most: int, rows: int, took: float) -> int:
    """As many rows as are predicted in the time of a trial, judged by those that took so many seconds."""
    return min(most, int(rows * _LONGEST / max(took, 1e-3)))


def _first_difference(
    together: list[Any] | None, places: Sequence[int], alone: Sequence[Any], tolerance: Closeness
) -> str:
    if together is None or len(together) != len(places):
        got = "no list of predictions" if together is None else f"{len(together)} predictions"
        return f"{len(places)} rows together are answered with {got}"
    for one, place in zip(together, places, strict=True):
        found = alone[place]
        if found is None or len(found) != 1 or not alike(one, found[0], tolerance):
            other = found[0] if found and len(found) == 1 else found
            return (
                f"its prediction for a row is {_shown(one)} together with {len(places) - 1} other rows, "
                f"and {_shown(other)} alone"
            )
    return ""


def _predict(session: aiohttp.ClientSession, address: Address, gate: Gate, most: int) -> Predict:
    async def ask(content: bytes, content_type: bytes) -> tuple[int, bytes]:
        async with session.post(
            f"{address.url}/invocations",
            data=content,
            headers={"content-type": content_type.decode()},
        ) as answer:
            return answer.status, await _read(answer, most)

    async def predict(table: Mergeable) -> list[Any] | None:
        # As a merged call is sent, so that this is tried as well.
        large = table.cells > _MANY_CELLS
        content = await run(large, packed_rows.body_of, [table]) if table.rows > 1 else None
        status = 415
        if content is not None:
            status, answer = await ask(content, packed_rows.MEDIA_TYPE)
        if status == 415:
            content = await run(large, lambda: dumps(gate.join([table])))
            status, answer = await ask(content, b"application/json")
        return predictions(answer) if answer and status == 200 else None

    return predict


async def _read(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of an answer; empty if it is longer than ``most`` bytes."""
    content = bytearray()
    async for part in answer.content.iter_any():
        content += part
        if len(content) > most:
            return b""
    return bytes(content)


async def _compare(gate: Gate, example: Any, predict: Predict, max_rows: int = 0) -> str:
    table = gate.check(example).table if example is not None else None
    if gate.unmergeable:
        return f"{_UNKNOWN}{gate.unmergeable}. Or deploy it without batch_max_rows"
    if isinstance(table, MergeableTensors):
        return await _compare_tensors(gate, example, predict, max_rows)
    if table is None:
        return (
            f"{_UNKNOWN}its input example has no rows that fit its signature, or the model has neither an "
            f"example nor a signature. "
            "Log the model with input_example= set to some rows, or deploy it without batch_max_rows"
        )
    rows = [table.part(place, 1) for place in range(min(table.rows, _ROWS))]
    alone = [await predict(row) for row in rows]
    if any(one is None for one in alone):
        return f"{_UNKNOWN}the model fails on its own input example, or does not answer with a list"
    if all(row.values == rows[0].values for row in rows):
        # Equal rows prove little: their mean is the mean of each.
        other = changed_row(rows[0])
        same = [*map(list, other.values)] == [*map(list, rows[0].values)]
        prediction = None if same else await predict(other)
        if not prediction:
            return (
                f"{_UNKNOWN}its input example has only one row, or its rows are equal. Log the model with "
                "input_example= set to rows that differ, or deploy it without batch_max_rows"
            )
        rows, alone = [*rows[:1], other], [alone[0], prediction]
    return await _compare_rows(rows, alone, predict, max_rows)


async def _compare_rows(
    rows: Sequence[Mergeable], alone: list[Any], predict: Predict, max_rows: int
) -> str:
    began = monotonic()
    if difference := _difference(await predict(concatenated(rows)), alone):
        return difference
    # Backwards too: a model that sorts its answer may have been given sorted rows.
    backwards = await predict(concatenated(rows[::-1]))
    difference = _difference(backwards and backwards[::-1], alone)
    # Some models go another way from a number of rows on.
    many = _bounded(max_rows, 2 * len(rows), monotonic() - began)
    if difference or many <= len(rows):
        return difference
    places = [place % len(rows) for place in range(many)]
    together = await predict(concatenated([rows[place] for place in places]))
    return _difference(together, [alone[place] for place in places], len(rows))


async def _compare_tensors(gate: Gate, example: Any, predict: Predict, max_rows: int) -> str:
    most = max(2 * _VARIED, max_rows)
    found = await _try_varied(gate, example, predict, most, sys.maxsize, _TOLERANCE)
    if not found.problem:
        return ""
    if not found.differ:
        return f"{_UNKNOWN}{found.problem}. Or deploy it without batch_max_rows"
    return f"{_REFUSED}{found.problem}. {_ADVICE}"


def _difference(
    together: list[Any] | None, alone: list[list[Any] | None], repeated: int = sys.maxsize
) -> str:
    if together is None or len(together) != len(alone):
        got = "no list of predictions" if together is None else f"{len(together)} predictions"
        return f"{_REFUSED}{len(alone)} rows together are answered with {got}. {_ADVICE}"
    tolerance = SINGLE if are_single(alone) else _TOLERANCE
    for place, (one, found) in enumerate(zip(together, alone, strict=True)):
        if found is None or len(found) != 1 or not alike(one, found[0], tolerance):
            other = found[0] if found and len(found) == 1 else found
            row = f"row {place % repeated} of its input example is {_shown(one)}"
            return (
                f"{_REFUSED}its prediction for {row} together with {len(alone) - 1} other rows, and "
                f"{_shown(other)} alone. {_ADVICE}"
            )
    return ""


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:60] + "..."
