"""Whether two predictions are the same but for rounding. Pure.

A sum of products is rounded after each step, and libraries take the steps in another order for a batch than
for one row. By Higham (Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1) the results of
two orders differ by at most 2nu times the sum of the products' sizes, u = 6e-8 in single precision. So what
counts is the size of the numbers that were added, of which the largest value of the answer is a measure:
close to zero, a value may have no digit in common. ``torch.testing.assert_close`` is as lenient: 1.3e-6 of
the value and 1e-5 beside it, for one operation.
"""

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from model_deployment.proxy.answers import Outputs


@dataclass(frozen=True, slots=True)
class Closeness:
    """How far floats may be apart. Whole numbers, labels, text and shapes are equal or they are not."""

    #: Of their own size.
    relative: float
    absolute: float = 0.0
    #: Of the size of the largest float in the same array of the answer.
    of_largest: float = 0.0


#: For numbers in single precision, as neural networks compute.
SINGLE = Closeness(1e-4, of_largest=1e-5)


def alike(one: Any, other: Any, tolerance: Closeness) -> bool:
    """Whether two predictions for a row are the same within a tolerance."""
    if type(one) is Outputs and type(other) is Outputs:
        return one.keys() == other.keys() and all(
            alike(one[name], other[name], tolerance) for name in one
        )
    allowed = tolerance.absolute
    if tolerance.of_largest:
        allowed += tolerance.of_largest * max(map(abs, _finite_floats(one)), default=0.0)
    return _equal(one, other, tolerance.relative, allowed)


def are_single(predictions: Iterable[Any]) -> bool:
    """Whether predictions were surely computed in single precision: all floats fit it, and some need it.

    Of doubles, one in 2**29 fits. Simple fractions, such as the shares of votes, prove nothing.
    """
    needed = False
    for value in _finite_floats(list(predictions)):
        if not _fits(value, "<f"):
            return False
        needed = needed or not _fits(value, "<e")
    return needed


def _fits(value: float, code: str) -> bool:
    try:
        return bool(struct.unpack(code, struct.pack(code, value))[0] == value)
    except OverflowError:
        return False


def _finite_floats(value: Any) -> Iterator[float]:
    if type(value) is float:
        if math.isfinite(value):
            yield value
    elif isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _finite_floats(one)


def _equal(one: Any, other: Any, relative: float, absolute: float) -> bool:
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(
            _equal(*pair, relative, absolute) for pair in zip(one, other, strict=True)
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _equal(one[key], other[key], relative, absolute) for key in one
        )
    if float in (type(one), type(other)) and {type(one), type(other)} <= {float, int}:
        try:
            return math.isclose(one, other, rel_tol=relative, abs_tol=absolute)
        except OverflowError:  # an integer that is too large for a float
            pass
    return bool(one == other)  # whole numbers are not rounded
