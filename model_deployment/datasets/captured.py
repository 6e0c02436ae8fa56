"""Streams captured rows as CSV, Parquet or JSON lines.

A dataset is a stream of bytes, made from a few thousand rows at a time, so memory does not grow with it.
A stream that fails raises; the sender has to abort the response, or half a dataset would pass for a whole.
"""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from model_deployment.datasets.formats import Format, KindFinder, encoder, unique
from model_deployment.datasets.training import training
from model_deployment.documents.base import CapturedOn, Collection, Document, Documents, Query
from model_deployment.documents.streams import stream
from model_deployment.tabular.csv_file import UnreadableData
from model_deployment.tabular.input_columns import ModelInputs
from model_deployment.tabular.text_cells import KIND_OF_TYPE, ColumnKind

__all__ = ["Format", "UnreadableData", "any_captured", "captured", "training"]

#: Most rows in memory, and most captures that they come from.
_ROWS, _CAPTURES = 4096, 500
#: Most cells in memory, for very wide rows.
_CELLS = 400_000
#: First captures that the columns are taken from.
_COLUMNS_FROM = 1000


#: Names the reasons why a row is wanted, by its columns, values and prediction; none if it is not wanted.
Select = Callable[[Sequence[str], Sequence[Any], Any], Sequence[str]]


class _Layout:
    """The columns of a dataset.

    Args:
        keys: of each input its name in the captures, and how many columns of that name come before it: a
            request may have two.
        version: whether there is a column of the version.
        select: which rows there are; None: all.
    """

    def __init__(
        self, keys: Sequence[tuple[str, int]], labels: bool, version: bool, select: Select | None
    ) -> None:
        self.keys, self.labels, self.version, self.select = keys, labels, version, select
        before = ["request_id", "ts", "row", *["version"] * version, *["drifted"] * bool(select)]
        after = ["prediction", *["label"] * labels]
        #: For each column the name of the input; None for other columns.
        self.inputs = [*[None] * len(before), *(name for name, _ in keys), *[None] * len(after)]
        features = unique((name for name, _ in keys), taken=[*before, "prediction", "label"])
        self.names = [*before, *features, *after]


async def captured(
    documents: Documents,
    query: Query,
    columns: Sequence[str] | None,
    labels: bool,
    format: Format,
    inputs: ModelInputs | None = None,
    endpoint: str | None = None,
    select: Select | None = None,
    most_captures: int | None = None,
) -> AsyncGenerator[bytes, None]:
    """Captured rows, each with its prediction and, if there is one, its label.

    Args:
        query: which captures, of servers or of devices; its ``limit`` counts rows.
        columns: which inputs; None for all inputs of the first captures.
        labels: whether there is a column of labels.
        inputs: of the model, for captures of earlier releases, whose values are not converted.
        endpoint: only captures that came by this endpoint, with a column of the version that answered; None
            for all.
        select: which rows, with a column of the reasons; None for all.
        most_captures: captures that are looked at; None for all.

    Raises:
        StoreUnavailable: the parts so far are not the whole dataset.
    """
    limit = query.limit
    # Both passes of Parquet have to see the same captures.
    query = replace(query, limit=None, until=query.until or datetime.now(UTC))
    source = _Source(documents, query, inputs or ModelInputs(), endpoint, most_captures)
    keys = (
        await _keys(source) if columns is None else [(name, 0) for name in dict.fromkeys(columns)]
    )
    layout = _Layout(keys, labels, endpoint is not None, select)
    kinds = KindFinder([_expected(source.inputs, name) for name in layout.inputs])
    if format is Format.PARQUET:
        async with aclosing(_rows(source, layout, limit)) as parts:
            async for rows in parts:
                await asyncio.to_thread(kinds.observe, rows)
    writer = await asyncio.to_thread(encoder, format, layout.names, kinds.found())
    yield writer.head()
    async with aclosing(_rows(source, layout, limit)) as parts:
        async for rows in parts:
            yield await asyncio.to_thread(writer.rows, rows)
    if last := await asyncio.to_thread(writer.tail):
        yield last


async def any_captured(
    documents: Documents,
    model: str,
    version: int | None,
    endpoint: str | None = None,
    source: CapturedOn = CapturedOn.SERVERS,
) -> bool:
    """Whether a version has captures, or some version of the model has captures by an endpoint.

    Raises:
        StoreUnavailable: unknown.
    """
    limit = 1 if endpoint is None else None
    query = Query(source.captures, model=model, version=version, limit=limit, newest_first=True)
    async with aclosing(stream(documents, query)) as captures:
        async for capture in captures:
            if endpoint is None or capture.get("endpoint") == endpoint:
                return True
    return False


def _expected(inputs: ModelInputs, name: str | None) -> ColumnKind | None:
    """The kind of a column without values, by the signature."""
    spec = inputs.spec(name) if name is not None else None
    return KIND_OF_TYPE.get(str(spec["type"])) if spec is not None else None


@dataclass(frozen=True, slots=True)
class _Source:
    """Where captures come from, and which."""

    documents: Documents
    query: Query
    inputs: ModelInputs
    #: None: those of all endpoints and of none.
    endpoint: str | None
    #: Captures at most; None: all.
    most: int | None = None

    async def captures(self, limit: int | None = None) -> AsyncGenerator[dict[str, Any], None]:
        """At most ``limit`` captures, with the values as the model got them."""
        limit = min((one for one in (limit, self.most) if one is not None), default=None)
        number = 0
        query = self.query if self.endpoint else replace(self.query, limit=limit)
        async with aclosing(stream(self.documents, query)) as captures:
            async for capture in captures:
                if self.endpoint and capture.get("endpoint") != self.endpoint:
                    continue
                if capture["data"] and not capture.get("typed"):
                    names, data = self.inputs.retyped(capture["columns"], capture["data"])
                    capture |= {"columns": names, "data": data}
                yield capture
                number += 1
                if number == limit:
                    return


async def _keys(source: _Source) -> list[tuple[str, int]]:
    found: dict[tuple[str, int], None] = {}
    async with aclosing(source.captures(_COLUMNS_FROM)) as captures:
        async for capture in captures:
            found.update(dict.fromkeys(_counted(capture["columns"])))
    return list(found)


def _counted(names: Sequence[str]) -> list[tuple[str, int]]:
    """Names with the number of equal names before."""
    seen: Counter[str] = Counter()
    counted = []
    for name in names:
        counted.append((name, seen[name]))
        seen[name] += 1
    return counted


async def _rows(
    source: _Source, layout: _Layout, limit: int | None
) -> AsyncGenerator[list[list[Any]], None]:
    left = math.inf if limit is None else limit
    most = max(1, min(_ROWS, _CELLS // len(layout.names)))
    async with aclosing(_batches(source, most)) as batches:
        async for batch in batches:
            labels = await _labels(source, batch) if layout.labels else {}
            made = await asyncio.to_thread(_table, batch, layout, labels, left)
            left -= len(made)
            # One capture may have more rows than may be in memory.
            for start in range(0, len(made), most):
                yield made[start : start + most]
            if left <= 0:
                return


async def _batches(source: _Source, most: int) -> AsyncGenerator[list[dict[str, Any]], None]:
    """Captures with rows, as many as may be in memory."""
    batch: list[dict[str, Any]] = []
    rows = 0
    async with aclosing(source.captures()) as captures:
        async for capture in captures:
            if not capture["data"]:
                continue
            batch.append(capture)
            rows += len(capture["data"])
            if rows >= most or len(batch) >= _CAPTURES:
                yield batch
                batch, rows = [], 0
    if batch:
        yield batch


async def _labels(source: _Source, batch: Sequence[Document]) -> dict[tuple[int, str, int], Any]:
    """By version, request and row."""
    # Of any time: labels come later than captures.
    wanted = Query(
        Collection.LABELS,
        model=source.query.model,
        version=source.query.version,
        request_ids=list(dict.fromkeys(capture["request_id"] for capture in batch)),
    )
    found = {}
    async with aclosing(stream(source.documents, wanted)) as labels:
        async for label in labels:
            found[label["version"], label["request_id"], label["row"]] = label["label"]
    return found


def _table(
    batch: Sequence[Document],
    layout: _Layout,
    labels: Mapping[tuple[int, str, int], Any],
    most: float,
) -> list[list[Any]]:
    made: list[list[Any]] = []
    for capture in batch:
        places = {key: place for place, key in enumerate(_counted(capture["columns"]))}
        wanted = [places.get(key) for key in layout.keys]
        id, ts, data = capture["request_id"], capture["ts"], capture["data"]
        version = capture["version"]
        found = capture["predictions"]
        by_row = isinstance(found, list) and len(found) == len(data)
        predictions = found if by_row else [None] * len(data)
        if capture.get("chat"):
            predictions = [found]
        for number, values in enumerate(data):
            if len(made) >= most:
                return made
            row = [id, ts, number, *[version] * layout.version]
            if layout.select is not None:
                reasons = layout.select(capture["columns"], values, predictions[number])
                if not reasons:
                    continue
                row.append(", ".join(reasons))
            row += [None if place is None else values[place] for place in wanted]
            row.append(predictions[number])
            if layout.labels:
                row.append(labels.get((version, id, number)))
            made.append(row)
    return made
