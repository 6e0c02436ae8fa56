"""Where an axis begins and ends. Pure, standard library only."""

import math
from collections.abc import Sequence

from model_deployment.degradation.metric_verdict import ROUNDING

#: Of the largest value, what an axis spans at least: what differs less looks the same.
_FLOOR = 0.05
#: Beyond it, sums are no numbers any more.
_HUGE = 1e300
_ROUND = (1, 2, 2.5, 5, 10)


def edges(values: Sequence[float], most: float | None = None) -> tuple[float, float]:
    """Round numbers around some values, never so close that rounding noise looks like a fall.

    Args:
        values: finite ones, at least one.
        most: that no value can be above, which is the scale then; None if there is no such bound.
    """
    low, high = min(values), max(values)
    size = max(abs(low), abs(high), most or 0.0)
    if size > _HUGE:
        return (low, high) if low < 0 < high else (min(low, 0.0), max(high, 0.0))
    floor = max(_FLOOR * size, ROUNDING) if size else 1.0
    room = max(high - low, floor)
    middle = low / 2 + high / 2
    wide = 0.65 * room
    step = _step(2 * wide / 4)
    bottom, top = (
        math.floor((middle - wide) / step) * step,
        math.ceil((middle + wide) / step) * step,
    )
    if bottom < 0 <= low:
        bottom = 0.0
    if low < 0 and top > 0 >= high:
        top = 0.0
    if most is not None and high <= most < top:
        top = most
    return bottom, top


def _step(wanted: float) -> float:
    """A round number that is no smaller."""
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(power * one for one in _ROUND if power * one >= wanted * 0.999)
