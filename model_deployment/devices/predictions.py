"""What predictions are like, in a few figures, and how far two samples of them are apart. Pure."""

import math
import statistics
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Predictions of each sample without which no difference is told.
FEWEST = 30
#: Classes that are named; the others are counted together.
_CLASSES = 10
#: Characters of a class.
_NAME = 80
#: Differences up to these are small, and middling.
_SMALL, _MIDDLING = 0.1, 0.25


def values_of(captures: Iterable[Any], limit: int) -> list[Any]:
    """The predictions of captured answers, row by row: numbers, texts and truths.

    A row that is an object or a list (several outputs, probabilities) is left out, unless the list has one
    member.

    Args:
        captures: the ``predictions`` of captures.
        limit: of rows.
    """
    found: list[Any] = []
    for predictions in captures:
        for one in predictions if isinstance(predictions, list) else ():
            value = one[0] if isinstance(one, list) and len(one) == 1 else one
            if isinstance(value, bool | int | float | str):
                found.append(value)
            if len(found) >= limit:
                return found
    return found


def split(values: Sequence[Any]) -> tuple[list[float], list[str]]:
    """Values as numbers, or as classes where one of them is no number; the other list is empty."""
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        return [float(one) for one in values if math.isfinite(one)], []
    return [], [_name(one) for one in values]


def _name(value: Any) -> str:
    # As JSON writes them, so that a device and a server call a class alike.
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)[:_NAME]


def summary(values: Sequence[Any]) -> Mapping[str, Any] | None:
    """Figures of predictions: ``count``, and those of numbers, or the ``shares`` (0 to 1) of classes.

    Returns:
        None without values.
    """
    numbers, classes = split(values)
    if numbers:
        ordered = sorted(numbers)
        return {
            "count": len(ordered),
            "mean": statistics.fmean(ordered),
            "std": statistics.pstdev(ordered),
            "min": ordered[0],
            "max": ordered[-1],
            "quantiles": {
                name: ordered[min(len(ordered) - 1, int(share * len(ordered)))]
                for name, share in (("0.05", 0.05), ("0.25", 0.25), ("0.5", 0.5), ("0.75", 0.75),
                                    ("0.95", 0.95))
            },
        }  # fmt: skip
    if not classes:
        return None
    counted = Counter(classes)
    shares = {name: count / len(classes) for name, count in counted.most_common(_CLASSES)}
    return {"count": len(classes), "classes": len(counted), "shares": shares}


def difference(some: Sequence[Any], others: Sequence[Any]) -> tuple[float | None, str]:
    """How far two samples of predictions are apart, 0 (alike) to 1, and that in words.

    For numbers it is the largest difference of the shares up to any value (the statistic of Kolmogorov and
    Smirnov), for classes half the sum of the differences of their shares (total variation).

    Returns:
        None with the reason where it cannot be told.
    """
    if min(len(some), len(others)) < FEWEST:
        return None, (
            f"too few predictions to compare: {len(some)} on devices, {len(others)} on the server, of "
            f"{FEWEST} each"
        )
    (numbers, classes), (more_numbers, more_classes) = split(some), split(others)
    if bool(numbers) != bool(more_numbers):
        return None, "predictions are numbers in one place, and classes in the other"
    apart = _largest_gap(numbers, more_numbers) if numbers else _variation(classes, more_classes)
    if apart <= _SMALL:
        return apart, "predictions are alike"
    degree = "somewhat" if apart <= _MIDDLING else "much"
    return apart, f"predictions on devices differ {degree} from those on the server"


def _largest_gap(some: Sequence[float], others: Sequence[float]) -> float:
    one, other = sorted(some), sorted(others)
    return max(
        abs(bisect_right(one, value) / len(one) - bisect_right(other, value) / len(other))
        for value in {*one, *other}
    )


def _variation(some: Sequence[str], others: Sequence[str]) -> float:
    one, other = Counter(some), Counter(others)
    return sum(
        abs(one[name] / len(some) - other[name] / len(others)) for name in {*one, *other}
    ) / 2  # fmt: skip
