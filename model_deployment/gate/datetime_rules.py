"""The rules for times: only ISO 8601, which pandas and NumPy read as it is meant.

They read much else as a time as well: 5, "now", and "01/02/2026", a day in January.
"""

import re
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from model_deployment.gate.check_result import Fault
from model_deployment.gate.scalar_rules import Entry, ScalarRule

#: Replaces all digits by 0, so that texts of one format have one shape.
_MASK = dict.fromkeys(map(ord, "123456789"), "0")
_SHAPE = re.compile(r"0000-00-00(?:[T ]00:00(?::00(?:\.0{1,9})?)?)?")
_TOO_FINE = re.compile(r"0000-00-00[T ]00:00:00\.0{10,}")
#: How MLflow writes and reads a missing time.
MISSING_TIME = "NaT"
_NONE = (None, MISSING_TIME)
#: The range of NumPy's times, before and after 1970.
_NANOSECONDS = (1 << 63) - 1
#: Also with an offset, or without hyphens and colons.
_LENIENT = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)"
    r"(?:[Tt ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)


class DatetimeRule(ScalarRule):
    """Times without a zone, in a range, given as text."""

    def __init__(
        self, entry: Entry, *, nullable: bool, finest: int = 9, missing: str | None = MISSING_TIME
    ) -> None:
        """
        Args:
            finest: digits that a fraction of a second may have.
            missing: a text that means null.
        """
        super().__init__(entry, nullable=nullable)
        self._missing = missing
        self._minimum = str(entry.get("minimum", "0001"))
        self._maximum = str(entry.get("maximum", "9999-13"))
        self._longest = len("2026-01-31T12:00:00.") + finest

    def _all_valid(self, values: Sequence[Any], types: set[type]) -> bool:
        shapes = {value.translate(_MASK) for value in values}
        if len(shapes) != 1:
            return not shapes
        together = "\n".join(values)
        # Midnight at the end of a day: Python reads it since 3.13, pandas does not.
        if not self._allowed(shapes.pop()) or "T24:" in together or " 24:" in together:
            return False
        try:
            deque(map(datetime.fromisoformat, values), maxlen=0)
        except ValueError:
            return False
        # Texts of one shape sort as the times that they mean.
        return self._in_range(min(values)) and self._in_range(max(values))

    def coerce(self, value: Any, lenient: bool) -> Any:
        if type(value) is not str:
            return super().coerce(value, lenient)
        if value == self._missing:
            return value if self.nullable else self._wrong
        fault = self._fault_of(value)
        if fault is None or not lenient:
            return fault or value
        converted = _to_iso(value)
        return fault if converted is None else self._fault_of(converted) or converted

    def unify(self, values: list[Any]) -> list[Any]:
        """Give all one format: pandas expects the format of the first from all others."""
        shapes = {value.translate(_MASK) for value in values if value not in _NONE}
        if len(shapes) < 2:
            return values
        return [value if value in _NONE else _spelled_out(value) for value in values]

    def _fault_of(self, text: str) -> Fault | None:
        shape = text.translate(_MASK)
        if not self._allowed(shape):
            return (
                self._lossy
                if _TOO_FINE.fullmatch(shape) or _SHAPE.fullmatch(shape)
                else self._wrong
            )
        try:
            datetime.fromisoformat(text)
        except ValueError:
            return self._wrong
        if text.startswith("24", 11):
            return self._wrong
        return None if self._in_range(text) else self._range

    def _allowed(self, shape: str) -> bool:
        return len(shape) <= self._longest and _SHAPE.fullmatch(shape) is not None

    def _in_range(self, text: str) -> bool:
        # What is left out at the end means zeros, and a shorter text sorts before a longer one.
        return self._minimum <= text.replace(" ", "T") <= self._maximum


class TensorDatetimeRule(DatetimeRule):
    """Times of a tensor, also as nanoseconds since 1970, in which MLflow saves an array of times."""

    def accepts(self, values: Sequence[Any]) -> bool:
        return super().accepts(values) or (
            set(map(type, values)) == {int}
            and min(values) >= -_NANOSECONDS
            and max(values) <= _NANOSECONDS
        )

    def coerce(self, value: Any, lenient: bool) -> Any:
        if type(value) is int:
            return value if abs(value) <= _NANOSECONDS else self._range
        return super().coerce(value, lenient)


def _spelled_out(text: str) -> str:
    date, time = text[:10], text[11:] or "00:00:00"
    whole, _, fraction = time.partition(".")
    seconds = "" if len(whole) == 8 else ":00"
    return f"{date}T{whole}{seconds}.{fraction:0<9}"


def _to_iso(text: str) -> str | None:
    """An ISO 8601 time in the usual spelling and without a zone; one with an offset is converted to UTC."""
    match = _LENIENT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    clock = f"{hour or '00'}:{minute or '00'}:{second or '00'}"
    try:
        time = datetime.fromisoformat(f"{year}-{month}-{day}T{clock}{(offset or '').upper()}")
        if time.tzinfo is not None:
            time = time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return time.isoformat() + (f".{fraction}" if fraction else "")
