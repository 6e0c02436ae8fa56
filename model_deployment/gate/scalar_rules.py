"""The rules for scalar values: compiled from ``type_mapping.json``, applied to whole columns.

Each rule works in two steps. ``accepts`` is the hot path: it checks a whole column at once. ``coerce`` is
for the values of a column that was not accepted: it returns each one, repaired or not, or its fault.
``accepts`` may reject a valid column; ``coerce`` then finds no fault.
"""

import binascii
import math
import re
import struct
from abc import ABC, abstractmethod
from array import array
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

from model_deployment.gate.check_result import Fault, ViolationKind

Entry = Mapping[str, Any]

_PYTHON: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
#: Array type codes by their range, so that one conversion checks the range of a whole column.
_CODES = {
    **{
        (-(1 << 8 * array(c).itemsize - 1), (1 << 8 * array(c).itemsize - 1) - 1): c for c in "bhiq"
    },
    **{(0, (1 << 8 * array(c).itemsize) - 1): c for c in "BHIQ"},
}
#: Has zero in single precision in it, or is the end of one number and the begin of the next.
_ZEROS = bytes(4)
_ANY: "set[type]" = {int, float}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,307})(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,4})?", re.ASCII)
_BOOLEANS = {"true": True, "false": False, "True": True, "False": False}


class Rule(ABC):
    """What one column, or the values at one place inside it, must be."""

    def __init__(self, expected: str, *, nullable: bool) -> None:
        self.expected = expected
        self.nullable = nullable
        self._null = Fault(ViolationKind.NULL, expected)
        self._wrong = Fault(ViolationKind.TYPE, expected)
        self._lossy = Fault(ViolationKind.LOSSY, expected)
        self._range = Fault(ViolationKind.RANGE, expected)

    @abstractmethod
    def accepts(self, values: Sequence[Any]) -> bool:
        """Whether all values are surely valid as they are."""

    def packed(self, values: Sequence[Any], *, truths: bool = True) -> "array[Any] | None":
        """The values as they are, without Python's objects, where a check of them makes that anyway.

        None says nothing; otherwise they are valid.

        Args:
            truths: there may be true and false among them, which are numbers to Python.
        """
        return None

    @abstractmethod
    def coerce(self, value: Any, lenient: bool) -> Any:
        """The value to send, the same object if it is valid; or a :class:`Fault`."""

    def expect_null(self, expected: str) -> None:
        """Set what a fault says of null."""
        self._null = Fault(ViolationKind.NULL, expected)

    def unify(self, values: list[Any]) -> list[Any]:
        """Give values that were coerced one by one a common format."""
        return values


class ScalarRule(Rule):
    """Values of some Python types."""

    def __init__(self, entry: Entry, *, nullable: bool) -> None:
        super().__init__(str(entry["expected"]), nullable=nullable)
        self._types: frozenset[type] = frozenset(_PYTHON[name] for name in entry["types"])

    def accepts(self, values: Sequence[Any]) -> bool:
        types = set(map(type, values))
        if types <= self._types:
            return self._all_valid(values, types)
        if not self.nullable:
            return False
        types.discard(NoneType)
        present = [value for value in values if value is not None]
        return types <= self._types and self._all_valid(present, types)

    def coerce(self, value: Any, lenient: bool) -> Any:
        if value is None:
            return None if self.nullable else self._null
        if type(value) in self._types:
            return self._fault_in(value) or value
        converted = self._converted(value) if lenient else None
        if converted is not None:
            return self._fault_in(converted) or converted
        return self._type_fault(value)

    def _all_valid(self, values: Sequence[Any], types: set[type]) -> bool:
        """Whether all values, of the right types, are surely valid."""
        return True

    def _fault_in(self, value: Any) -> Fault | None:
        """The fault of a value of a right type."""
        return None

    def _converted(self, value: Any) -> Any:
        """What a value of another type surely means, as a value of a right type; or None."""
        return None

    def _type_fault(self, value: Any) -> Fault:
        """The fault of a value of a wrong type."""
        return self._wrong


class IntegerRule(ScalarRule):
    """Whole numbers in a range."""

    def __init__(self, entry: Entry, *, nullable: bool) -> None:
        super().__init__(entry, nullable=nullable)
        self._minimum = int(entry["minimum"])
        self._maximum = int(entry["maximum"])
        self._code = _CODES.get((self._minimum, self._maximum))

    def packed(self, values: Sequence[Any], *, truths: bool = True) -> "array[Any] | None":
        if self._code is None or not set(map(type, values)) <= self._types:
            return None
        return self._array(values)

    def _array(self, values: Sequence[Any]) -> "array[Any] | None":
        try:
            return array(self._code or "q", values)
        except OverflowError:
            return None

    def _all_valid(self, values: Sequence[Any], types: set[type]) -> bool:
        if self._code is None:
            return not values or (min(values) >= self._minimum and max(values) <= self._maximum)
        return self._array(values) is not None

    def _fault_in(self, value: Any) -> Fault | None:
        return None if self._minimum <= value <= self._maximum else self._range

    def _converted(self, value: Any) -> Any:
        if type(value) is float and value.is_integer() and abs(value) <= 1 << 53:
            return int(value)
        if type(value) is str:
            match = _NUMBER.fullmatch(value)
            return int(value) if match and not match[1] and not match[2] else None
        return None

    def _type_fault(self, value: Any) -> Fault:
        return self._lossy if type(value) in (float, bool) else self._wrong


class FloatRule(ScalarRule):
    """Floating point numbers, and integers that they represent exactly."""

    def __init__(self, entry: Entry, *, nullable: bool) -> None:
        super().__init__(entry, nullable=nullable)
        # In the standard size, for which struct reports an overflow.
        self._pack = struct.Struct({16: "<e", 32: "<f", 64: "<d"}[entry["bits"]])
        self._exact = float(entry["exact_integers"])
        self._maximum = float(entry.get("maximum", math.inf))
        self._vanishes = float(entry.get("vanishes", 0))
        self._is_single = entry["bits"] == 32

    def packed(self, values: Sequence[Any], *, truths: bool = True) -> "array[Any] | None":
        if not self._is_single:
            return None
        try:
            # Of the types only truths matter then: of small numbers all are exact, and no others pack.
            if truths or not self._fit(values, _ANY):
                types = set(map(type, values))
                if not types <= self._types or not self._fit(values, types):
                    return None
            packed = array("f", values)
        except TypeError:  # text, null or a list
            return None
        # A number that is too small for the type has become zero, or it was zero.
        return packed if _ZEROS not in packed.tobytes() or self._are_large(values) else None

    def _fit(self, values: Sequence[Any], types: set[type]) -> bool:
        """Whether none is surely too large."""
        try:
            # An upper bound of the absolute values, by far the fastest to compute. A value just
            # above the limit may have been rounded to it.
            return math.hypot(*values) < (self._exact if int in types else self._maximum)
        except OverflowError:
            return False

    def _are_large(self, values: Sequence[Any]) -> bool:
        """Whether none but zero is too small."""
        return bool(min(map(abs, filter(None, values)), default=1.0) > self._vanishes)

    def _all_valid(self, values: Sequence[Any], types: set[type]) -> bool:
        if (int in types or self._vanishes) and not self._fit(values, types):
            return False
        return not self._vanishes or self._are_large(values)

    def _fault_in(self, value: Any) -> Fault | None:
        try:
            (kept,) = self._pack.unpack(self._pack.pack(float(value)))
        except OverflowError:
            return self._range
        if value and not kept:
            return self._lossy
        return self._lossy if type(value) is int and kept != value else None

    def _converted(self, value: Any) -> Any:
        match = _NUMBER.fullmatch(value) if type(value) is str else None
        if match is None:
            return None
        number = float(value) if match[1] or match[2] else int(value)
        return None if number in (math.inf, -math.inf) else number

    def _type_fault(self, value: Any) -> Fault:
        return self._lossy if type(value) is bool else self._wrong


class NestedFloatRule(FloatRule):
    """Floating point numbers inside an array or object.

    MLflow rejects 3 there where it wants 3.0, which JSON and JavaScript do not distinguish, so an integer
    is sent as a float. It rejects null there as well, but accepts NaN.
    """

    def __init__(self, entry: Entry, *, nullable: bool, gap: bool = False) -> None:
        super().__init__({**entry, "types": ["float"]}, nullable=nullable)
        self._gap = gap and not nullable

    def coerce(self, value: Any, lenient: bool) -> Any:
        if value is None and self._gap:
            return math.nan
        taken = (
            self._fault_in(value) or value if type(value) is int else super().coerce(value, lenient)
        )
        return float(taken) if type(taken) is int else taken


class StringRule(ScalarRule):
    def accepts(self, values: Sequence[Any]) -> bool:
        try:
            # Accepts only strings, three times as fast as a check of the types.
            "".join(values)
        except TypeError:
            return super().accepts(values)
        return True


class ArrayStringRule(ScalarRule):
    """Strings that become a NumPy array, which drops trailing NULs."""

    def __init__(self, entry: Entry, *, nullable: bool) -> None:
        super().__init__(entry, nullable=nullable)
        self._ascii = bool(entry.get("ascii"))

    def _all_valid(self, values: Sequence[Any], types: set[type]) -> bool:
        joined = "".join(values)
        return "\0" not in joined and (not self._ascii or joined.isascii())

    def _fault_in(self, value: Any) -> Fault | None:
        if self._ascii and not value.isascii():
            return self._wrong
        return self._lossy if value.endswith("\0") else None


class BooleanRule(ScalarRule):
    def _converted(self, value: Any) -> Any:
        if type(value) is str:
            return _BOOLEANS.get(value)
        return bool(value) if type(value) in (int, float) and value in (0, 1) else None


class BinaryRule(ScalarRule):
    """Bytes in base64. MLflow skips other characters; they are refused here."""

    def _all_valid(self, values: Sequence[Any], types: set[type]) -> bool:
        return all(map(_is_base64, values))

    def _fault_in(self, value: Any) -> Fault | None:
        return None if _is_base64(value) else self._wrong


def _is_base64(text: str) -> bool:
    try:
        # MLflow's own encoder breaks lines.
        binascii.a2b_base64(text.replace("\n", "").replace("\r", ""), strict_mode=True)
    except ValueError:
        return False
    return True
