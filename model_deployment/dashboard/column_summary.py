"""One column in the training data and in captures: a picture of both, and how far apart they are. Pure."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

from model_deployment.rendering import numbers, paths

_BINS, _CATEGORIES = 24, 8
#: Relative error of a value that is stored in 32 bits.
_ROUNDING = 1e-7
#: With more values than this, one of them may be an outlier.
_FEW = 10
#: Values of each side at which the distributions are compared.
_COMPARED = 200


@dataclass(frozen=True, slots=True)
class Category:
    """A value and its shares, in percent."""

    label: str
    before: int
    now: int
    #: The share in captures, as a text.
    share: str


@dataclass(frozen=True, slots=True)
class Bin:
    """A range of values, and the shares of values in it as texts; empty without training data."""

    label: str
    before: str
    now: str


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
    bins: tuple[Bin, ...] = ()


def distance(before: Sequence[Any], now: Sequence[Any] | None) -> float:
    """How far captures are from the training data: 0 for equal distributions, 1 for nothing in common.

    The Kolmogorov-Smirnov statistic of numbers, the total variation distance of other values; or the
    difference of the shares of missing values, if that is larger.

    Args:
        before: empty without training data, which is no distance.
        now: None if callers have not sent the column.
    """
    if now is None:
        return 1.0
    if not before or not now:
        return 0.0
    sides = [[value for value in values if value is not None] for values in (before, now)]
    gaps = [1 - len(side) / len(values) for side, values in zip(sides, (before, now), strict=True)]
    missing = abs(gaps[0] - gaps[1])
    if not all(sides):
        return missing
    if all(_is_number(value) for side in sides for value in side):
        return max(missing, _kolmogorov_smirnov(*map(sorted, map(_numbers, sides))))
    shares = [Counter(map(_label, side)) for side in sides]
    return max(
        missing,
        sum(
            abs(shares[0][label] / len(sides[0]) - shares[1][label] / len(sides[1]))
            for label in shares[0] | shares[1]
        )
        / 2,
    )


def _kolmogorov_smirnov(before: list[float], now: list[float]) -> float:
    """The largest difference of two distribution functions, at some values of both samples."""
    points = [
        side[place]
        for side in (before, now)
        for place in range(0, len(side), max(1, len(side) // _COMPARED))
    ]
    if not before or not now:
        return 0.0
    return max(
        abs(bisect_right(before, point) / len(before) - bisect_right(now, point) / len(now))
        for point in points
    )


def summary(name: str, before: Sequence[Any], now: Sequence[Any] | None) -> ColumnSummary:
    """The picture of a column.

    Args:
        before: values of the training data.
        now: captured values; None if callers have not sent the column.
    """
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
    labels = _bin_labels(low, high)[cut]
    return ColumnSummary(
        name,
        ", ".join([note, *beyond] if note else beyond),
        paths.bars(sides[0], most),
        paths.outline(sides[1], most),
        f"{'below ' if below else ''}{numbers.number(low)}",
        f"{'above ' if above else ''}{numbers.number(high)}",
        bins=tuple(
            Bin(label, *(numbers.percent(side[place]) if side else "" for side in sides))
            for place, label in enumerate(labels)
        ),
    )


def _bin_labels(low: float, high: float) -> list[str]:
    if low == high:
        return ["below", *[numbers.number(low)] * _BINS, "above"]
    ends = [numbers.number(edge) for edge in _edges(low, high)]
    return [
        f"below {ends[0]}",
        *(f"{first}\u2013{last}" for first, last in pairwise(ends)),
        f"above {ends[-1]}",
    ]


def _edges(low: float, high: float) -> list[float]:
    # Unlike low + i * step, this does not overflow.
    return [low * (1 - i / _BINS) + high * (i / _BINS) for i in range(_BINS + 1)]


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
    edges = _edges(low, high)
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

    def category(name: str, labels: Sequence[str]) -> Category:
        first, second = (
            sum(side[label] for label in labels) / max(1, side.total()) for side in sides
        )
        return Category(name, round(100 * first), round(100 * second), numbers.percent(second))

    found = [category(label, [label]) for label in sides[0] | sides[1]]
    found.sort(key=lambda one: (-max(one.before, one.now), one.label))
    shown, others = found[:_CATEGORIES], [one.label for one in found[_CATEGORIES:]]
    if others:
        shown.append(category(f"{len(others)} others", others))
    return tuple(shown)


def _label(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:60]}\u2026"
