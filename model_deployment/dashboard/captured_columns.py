"""Captured inputs beside training data, column by column, from a sample of both."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import Any

import orjson

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.column_summary import ColumnSummary, distance, summary
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.datasets.captured import Format, UnreadableData, captured, training
from model_deployment.documents.base import Collection, Query
from model_deployment.registry.values import INDEX

#: Rows that are read at most, bytes of either sample, and columns that are shown.
_CAPTURED, _TRAINING, _BYTES, _COLUMNS = 2000, 4000, 16 * 1024 * 1024, 60
#: Columns of a captured row that are neither inputs nor outputs.
_META = frozenset({"request_id", "ts", "row"})
_PREDICTION = "prediction"
#: Members of an object, and elements of a list, that become columns of their own.
_MEMBERS, _ELEMENTS = 20, 8
#: With more texts than this that are mostly different, their lengths say more than the texts.
_TEXTS = 20


@dataclass(frozen=True, slots=True)
class ColumnComparison:
    columns: tuple[ColumnSummary, ...]
    captured: int
    training: int
    #: The source of the training data, or why there are none.
    origin: str
    #: Columns that are not shown.
    more: int = 0


async def compare(dependencies: Dependencies, key: ModelKey) -> ColumnComparison:
    """Compare the newest captured rows of a deployment with the first rows of its training data.

    Raises:
        StoreUnavailable: the document store does not answer.
    """
    query = Query.of(Collection.CAPTURES, key, newest_first=True, limit=_CAPTURED)
    inputs = await dependencies.find_inputs(key)
    now = await _read(captured(dependencies.documents, query, None, False, Format.JSONL, inputs))
    before, origin = b"", "the run has no readable training data"
    try:
        found = await dependencies.find_training(key)
        if found is not None:
            origin = found.origin
            before = await _read(training(found.path, Format.JSONL, _TRAINING, inputs))
    except ModelDeploymentError as error:
        origin = error.detail
    except UnreadableData as error:
        origin = str(error)
    return await asyncio.to_thread(_compare, now, before, origin)


async def _read(parts: AsyncGenerator[bytes, None]) -> bytes:
    """The first complete lines of a stream."""
    found = bytearray()
    async with aclosing(parts):
        async for part in parts:
            found += part
            if len(found) > _BYTES:
                break
    return bytes(found[: found.rfind(b"\n") + 1])


def _compare(now: bytes, before: bytes, origin: str) -> ColumnComparison:
    sent, trained = _rows(now), _rows(before)
    known = {name for row in sent for name in row}
    names = [
        name
        # A column that callers stopped sending is worth seeing, once they have sent anything.
        for name in dict.fromkeys(
            name for row in (*sent, *(trained if sent else ())) for name in row
        )
        if name not in _META and (name in known or not INDEX.fullmatch(name))
    ]
    columns = [
        part
        for name in names
        for part in _parts(
            name,
            [row.get(name) for row in trained if name in row],
            [row.get(name) for row in sent] if name in known else None,
        )
    ]
    # Predictions first, then what differs most; without training data in the order of the signature.
    columns.sort(key=lambda one: (not _is_prediction(one.name), -distance(one.before, one.now)))
    shown = tuple(
        replace(made, note=", ".join(filter(None, (one.note, made.note))))
        for one in columns[:_COLUMNS]
        for made in [summary(one.name, one.before, one.now)]
    )
    more = max(0, len(columns) - _COLUMNS)
    return ColumnComparison(shown, len(sent), len(trained), origin, more)


def _is_prediction(name: str) -> bool:
    return name == _PREDICTION or name.startswith((f"{_PREDICTION}.", f"{_PREDICTION}["))


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    before: Sequence[Any]
    now: Sequence[Any] | None
    note: str = ""


def _parts(name: str, before: Sequence[Any], now: Sequence[Any] | None) -> list[_Column]:
    """A column, or the columns that its objects, lists or long texts consist of."""
    found = [value for value in (*before, *(now or ())) if value is not None]
    kinds = {*map(type, found)}

    def made(name: str, take: Callable[[Any], Any], note: str = "") -> _Column:
        sides = [
            None if side is None else [None if value is None else take(value) for value in side]
            for side in (before, now)
        ]
        return _Column(name, sides[0] or [], sides[1], note)

    if kinds == {dict}:
        keys = [*dict.fromkeys(key for value in found for key in value)][:_MEMBERS]
        return [made(f"{name}.{key}", partial(_member, key)) for key in keys]
    if kinds == {list}:
        lengths = {*map(len, found)}
        if len(lengths) == 1 and 0 < min(lengths) <= _ELEMENTS:
            return [made(f"{name}[{place}]", itemgetter(place)) for place in range(min(lengths))]
        return [made(name, len, "number of elements")]
    if kinds == {str} and len(found) > _TEXTS and len({*found}) > len(found) / 2:
        return [made(name, len, "length of the text")]
    return [_Column(name, before, now)]


def _member(key: str, value: Mapping[str, Any]) -> Any:
    return value.get(key)


def _rows(lines: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in lines.splitlines() if line]
