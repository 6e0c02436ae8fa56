"""Captured inputs beside training data, column by column, from a sample of both."""

import asyncio
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.datasets.captured import Format, UnreadableData, captured, training
from model_deployment.documents.base import Collection, Query
from model_deployment.registry.values import INDEX
from model_deployment.rendering import numbers, paths

#: Rows that are read at most, bytes of either sample, and columns that are shown.
_CAPTURED, _TRAINING, _BYTES, _COLUMNS = 2000, 4000, 16 * 1024 * 1024, 60
_BINS, _CATEGORIES = 24, 8
#: Relative error of a value that is stored in 32 bits.
_ROUNDING = 1e-7
#: With more values than this, one of them may be an outlier.
_FEW = 10
#: Columns of a captured row that are no inputs.
_META = frozenset({"request_id", "ts", "row"})


@dataclass(frozen=True, slots=True)
class Category:
    """A value and its shares, in percent."""

    label: str
    before: int
    now: int


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """A histogram, or the most frequent values."""

    name: str
    note: str
    before: str = ""
    now: str = ""
    low: str = ""
    high: str = ""
    categories: tuple[Category, ...] = ()


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
    columns = tuple(
        _column(
            name,
            [row.get(name) for row in trained if name in row],
            [row.get(name) for row in sent] if name in known else None,
        )
        for name in names[:_COLUMNS]
    )
    more = max(0, len(names) - _COLUMNS)
    return ColumnComparison(columns, len(sent), len(trained), origin, more)


def _rows(lines: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in lines.splitlines() if line]


def _column(name: str, before: Sequence[Any], now: Sequence[Any] | None) -> ColumnSummary:
    """None instead of captured values: callers have not sent this column."""
    missing = sum(value is None for value in now or ())
    note = f"{numbers.percent(missing, len(now or ()))} missing" if missing else ""
    if now is None:
        note, now = "not sent by callers", ()
    both = [value for value in (*before, *now) if value is not None]
    if both and all(_is_number(value) for value in both):
        return _histogram(name, note, _numbers(before), _numbers(now))
    return ColumnSummary(name, note, categories=_categories(before, now))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(values: Sequence[Any]) -> list[float]:
    return [float(v) for v in values if v is not None and math.isfinite(v)]


def _histogram(name: str, note: str, before: list[float], now: list[float]) -> ColumnSummary:
    """Bins over the range of the training data or else of the captures, and one beyond either end."""
    low, high = _widened(*_range(before or now))
    sides = [_shares(values, low, high) for values in (before, now)]
    below, above = (any(side[end] for side in sides if side) for end in (0, -1))
    cut = slice(0 if below else 1, None if above else -1)
    sides = [side[cut] for side in sides]
    most = max([*sides[0], *sides[1]], default=1.0)
    beyond = [
        f"{numbers.percent(number, len(now))} {where}"
        for where, number in (
            ("below", sum(value < low for value in now)),
            ("above", sum(value > high for value in now)),
        )
        if number
    ]
    return ColumnSummary(
        name,
        ", ".join([note, *beyond] if note else beyond),
        paths.bars(sides[0], most),
        paths.outline(sides[1], most),
        f"{'below ' if below else ''}{numbers.number(low)}",
        f"{'above ' if above else ''}{numbers.number(high)}",
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From the least to the greatest value, without outliers that would put all others into one bin."""
    if not values:
        return 0.0, 0.0
    ordered = sorted(values)
    few = len(ordered) // 100 or (len(ordered) > _FEW)
    least, low, high, greatest = (ordered[place] for place in (0, few, -1 - few, -1))
    inner = _half_distance(low, high)
    if inner * _BINS >= _half_distance(least, greatest):
        return least, greatest
    return (
        low if _half_distance(least, low) > inner else least,
        high if _half_distance(high, greatest) > inner else greatest,
    )


def _widened(low: float, high: float) -> tuple[float, float]:
    """A little wider, because a value that was stored in 32 bits is not exactly the same in 64."""
    if low.is_integer() and high.is_integer():
        return low, high
    return low - _ROUNDING * abs(low), high + _ROUNDING * abs(high)


def _half_distance(low: float, high: float) -> float:
    """Half of the distance: the whole one may overflow."""
    return high / 2 - low / 2


def _shares(values: Sequence[float], low: float, high: float) -> list[float]:
    """The share of values in each bin; the first and the last bin are for values beyond the range."""
    # Unlike low + i * step, this does not overflow.
    edges = [low * (1 - i / _BINS) + high * (i / _BINS) for i in range(_BINS + 1)]
    middle = _BINS // 2
    counts = [0] * (_BINS + 2) if values else []
    for value in values:
        if low <= value <= high:
            place = min(_BINS, bisect_right(edges, value)) if low < high else middle
        else:
            place = 0 if value < low else -1
        counts[place] += 1
    return [count / len(values) for count in counts]


def _categories(before: Sequence[Any], now: Sequence[Any]) -> tuple[Category, ...]:
    sides = [Counter(_label(v) for v in values if v is not None) for values in (before, now)]

    def category(name: str, labels: Iterable[str]) -> Category:
        first, second = (
            round(100 * sum(side[label] for label in labels) / max(1, side.total()))
            for side in sides
        )
        return Category(name, first, second)

    found = [category(label, [label]) for label in sides[0] | sides[1]]
    found.sort(key=lambda one: (-max(one.before, one.now), one.label))
    shown, others = found[:_CATEGORIES], [one.label for one in found[_CATEGORIES:]]
    if others:
        shown.append(category(f"{len(others)} others", others))
    return tuple(shown)


def _label(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:60]}\u2026"
