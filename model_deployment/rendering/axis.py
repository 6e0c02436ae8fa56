"""Where an axis begins and ends."""

import math
from collections.abc import Sequence

#: Smallest span of an axis, as a share of the largest value: smaller differences look flat.
_MIN_SPAN = 0.05
#: Smallest span of an axis: smaller values are rounding errors.
_ROUNDING = 1e-12
#: Values beyond it overflow when they are added.
_HUGE = 1e300
#: Share of a step by which a tick may lie beyond an end, because of rounding.
_SLACK = 1e-6
_ROUND = (1, 2, 2.5, 5, 10)


def edges(values: Sequence[float], bound: float | None = None) -> tuple[float, float]:
    """Round numbers around some values, so far apart that rounding errors do not look like a change.

    Args:
        values: finite ones, at least one.
        bound: the largest value that is possible; sets the scale. None without such a bound.
    """
    low, high = min(values), max(values)
    size = max(abs(low), abs(high), bound or 0.0)
    if size > _HUGE:
        return (low, high) if low < 0 < high else (min(low, 0.0), max(high, 0.0))
    floor = max(_MIN_SPAN * size, _ROUNDING) if size else 1.0
    span = max(high - low, floor)
    middle = low / 2 + high / 2
    half = 0.65 * span
    step = _round_up(2 * half / 4)
    bottom, upper = (
        math.floor((middle - half) / step) * step,
        math.ceil((middle + half) / step) * step,
    )
    if bottom < 0 <= low:
        bottom = 0.0
    if low < 0 and upper > 0 >= high:
        upper = 0.0
    if bound is not None and high <= bound < upper:
        upper = bound
    return bottom, upper


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * one for one in _ROUND if power * one >= value * 0.999)


def top(values: Sequence[float | None]) -> float:
    """The upper edge of an axis that begins at zero: a round number above all values."""
    largest = max((value for value in values if value is not None), default=0.0)
    if largest <= 0:
        return 1.0
    power = 10.0 ** (len(f"{largest:.0f}") - 1) if largest >= 1 else 0.1
    while power > largest:
        power /= 10
    return next(
        power * factor for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20) if power * factor >= largest
    )


def ticks(low: float, high: float) -> tuple[float, ...]:
    """Round numbers from one end of an axis to the other, about five."""
    span = high / 2 - low / 2
    if not 0 < span < _HUGE:
        return (low, high)
    step = _round_up(span / 2)
    first, last = math.ceil(low / step - _SLACK), math.floor(high / step + _SLACK)
    return tuple(place * step for place in range(first, last + 1))
