"""Makes varied rows of a model's input example, for comparing predictions alone and in a batch. Pure."""

import math
import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from model_deployment.gate import Mergeable, MergeableTable, MergeableTensors
from model_deployment.proxy import varied_tensors

#: Rows of an example that are looked at.
_EXAMPLE_ROWS = 64


def concatenated(rows: Sequence[Mergeable]) -> Mergeable:
    """One table, or set of tensors, of several, which have equal keys."""
    values = tuple(
        _chained([row.values[place] for row in rows]) for place in range(len(rows[0].values))
    )
    return replace(rows[0], values=values, rows=sum(row.rows for row in rows))


def _chained(several: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Their values in order; an array if all are."""
    arrays = [one for one in several if isinstance(one, array)]
    if len(arrays) < len(several):
        return [*chain.from_iterable(several)]
    joined = arrays[0][:0]
    for one in arrays:
        joined += one
    return joined


def varied(rows: Mergeable, each: int) -> Iterator[Mergeable]:
    """Rows that all differ, as :func:`varied_rows` and :func:`varied_tensors` make them."""
    if isinstance(rows, MergeableTensors):
        return varied_tensors.varied_tensors(rows, each)
    return varied_rows(rows, each)


def varied_rows(table: MergeableTable, each: int) -> Iterator[MergeableTable]:
    """Rows that all differ, always the same ones for a table; the likeliest to be accepted come first.

    First rows of the example, then rows mixed of its values, then rows with other numbers, then rows with
    other texts as well: a model may refuse a category that it has not learned.

    Args:
        each: rows of each kind, at most.
    """
    rows = [table.part(place, 1) for place in range(min(table.rows, _EXAMPLE_ROWS))]
    seen: set[str] = set()
    for kind in (
        iter(rows),
        _mixed(rows),
        _changed(rows, texts=False),
        _changed(rows, texts=True),
    ):
        found = 0
        for tried, row in enumerate(kind):
            if found == each or tried == 4 * each + len(rows):
                break
            written = repr([list(column) for column in row.values])
            if written not in seen:
                seen.add(written)
                found += 1
                yield row


def _mixed(rows: Sequence[MergeableTable]) -> Iterator[MergeableTable]:
    """Rows whose columns come from different rows of the example."""
    for shift in range(1, len(rows)):
        for first in range(len(rows)):
            values = tuple(
                list(rows[(first + shift * place) % len(rows)].values[place])
                for place in range(len(rows[0].values))
            )
            yield replace(rows[0], values=values)


def _changed(rows: Sequence[MergeableTable], *, texts: bool) -> Iterator[MergeableTable]:
    """Rows of the example with other values of the same types, without end."""
    draw = random.Random(0)  # noqa: S311 - the same rows each time
    while rows:
        for row in rows:
            values = tuple(
                [_other(value, draw, texts) for value in column] for column in row.values
            )
            yield replace(row, values=values)


def _other(value: Any, draw: random.Random, texts: bool) -> Any:
    match value:
        case bool():
            return draw.random() < 0.5
        case int():
            return value + draw.randint(-2, 3)
        case float():
            return value * draw.uniform(0.5, 1.5) + draw.uniform(-0.5, 0.5)
        case str() if texts:
            return " ".join(draw.sample([*value.split(), value, "x"], 2)) if value else "x"
        case list():
            return [_other(one, draw, texts) for one in value]
        case dict():
            return {key: _other(one, draw, texts) for key, one in value.items()}
        case _:
            return value


def changed_row(row: MergeableTable) -> MergeableTable:
    """Another row of the same types."""
    values = tuple([_changed_value(value) for value in column] for column in row.values)
    return replace(row, values=values)


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
