"""Makes varied rows of a model's tensors, for comparing predictions alone and in a batch. Pure.

They are of the kinds that models of tensors take: floats vary freely; numbers of words and categories stay
among those of the example, since a model knows no others; pixels are anything from 0 to 255.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from operator import add, mul
from typing import Any

from model_deployment.gate import MergeableTensors, TensorKind

#: Rows of an example that are looked at.
_EXAMPLE_ROWS = 64
#: Random numbers that are drawn for a row, and repeated: a prime, so that no axis of a tensor fits them.
_DRAWN = 1021
#: The largest pixel, and the largest of an example that may be numbers of a few categories.
_BRIGHTEST, _FEW = 255, 16


def varied_tensors(tensors: MergeableTensors, each: int) -> Iterator[MergeableTensors]:
    """Rows that all differ, always the same ones.

    Some of the example, one of its values in another order, then some with other numbers: all rows of an
    example may have the same sum or the same largest value, and so may those of other orders. More of the
    example follow, in case that the model refuses what it has not learned.

    Args:
        each: rows of each kind, at most.
    """
    rows = [tensors.part(place, 1) for place in range(min(tensors.rows, _EXAMPLE_ROWS))]
    shuffled = _changed(rows, _shuffled)
    seen: set[int] = set()
    for kind, most in (
        (iter(rows[: each // 2]), each // 2),
        (shuffled, 1),
        (_changed(rows, _other), each),
        (iter(rows[each // 2 :]), each),
        (shuffled, each),
    ):
        found = 0
        for tried, row in enumerate(kind, 1):
            content = hash(tuple(map(tuple, row.values)))
            if content not in seen:
                seen.add(content)
                found += 1
                yield row
            if found == most or tried == 4 * each + len(rows):
                break


#: Makes other values of those of a row and of all rows.
Change = Callable[[TensorKind, Sequence[Any], Sequence[Any], random.Random], list[Any]]


def _changed(rows: Sequence[MergeableTensors], change: Change) -> Iterator[MergeableTensors]:
    """Rows of the example with other values of the same types, without end."""
    draw = random.Random(0)  # noqa: S311 - the same rows each time
    kinds = rows[0].kinds
    known = [[value for row in rows for value in row.values[place]] for place in range(len(kinds))]
    while True:
        for row in rows:
            values = tuple(
                change(kind, flat, among, draw)
                for kind, flat, among in zip(kinds, row.values, known, strict=True)
            )
            yield replace(row, values=values)


def _shuffled(
    kind: TensorKind, flat: Sequence[Any], known: Sequence[Any], draw: random.Random
) -> list[Any]:
    """Values of the example; those of a row only, where rows keep something that belongs together."""
    return (
        draw.choices(known, k=len(flat)) if len(flat) == 1 else draw.sample(list(flat), len(flat))
    )


def _other(
    kind: TensorKind, flat: Sequence[Any], known: Sequence[Any], draw: random.Random
) -> list[Any]:
    if kind.dtype.startswith("float"):
        return _other_floats(flat, known, draw)
    if kind.dtype == "bool":
        return draw.choices([True, False], k=len(flat))
    if kind.dtype == "uint8" and not 0 < max(known) <= _FEW:
        return [draw.randint(0, _BRIGHTEST) for _ in flat]
    if str in set(map(type, flat)):
        return [_other_text(value, draw) for value in flat]
    among = [*dict.fromkeys(known)]
    if len(among) == 1 and type(among[0]) is int:
        among = [0, 1, among[0]]
    return draw.choices(among, k=len(flat))


def _other_text(value: Any, draw: random.Random) -> Any:
    if type(value) is not str:
        return value
    return " ".join(draw.sample([*value.split(), value, "x"], 2)) if value else "x"


def _other_floats(flat: Sequence[Any], known: Sequence[Any], draw: random.Random) -> list[Any]:
    """Other numbers of about the same size; no missing value moves, and no sign is new."""
    factors = [draw.uniform(0.5, 1.5) for _ in range(_DRAWN)]
    numbers = [value for value in islice(known, _DRAWN) if value is not None]
    step = max(map(abs, numbers), default=0.0) / 2 or 0.5
    steps = [draw.uniform(0 if min(numbers, default=0) >= 0 else -step, step) for _ in factors]
    if None in flat:
        changes = zip(flat, cycle(factors), cycle(steps), strict=False)
        return [None if value is None else value * by + more for value, by, more in changes]
    return list(map(add, map(mul, flat, cycle(factors)), cycle(steps)))
