"""How many launches of a deployment serve at the same time: a number, or from one number to another."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

#: Launches of one deployment that serve at the same time, at most.
MAX_REPLICAS = 64
#: What is written, for messages and documents.
REPLICAS = f'a whole number from 1 to {MAX_REPLICAS}, or a range like 1-4 or {{"min": 1, "max": 4}}'
_TEXT = re.compile(r"([0-9]{1,6})(?:\s*-\s*([0-9]{1,6}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Replicas:
    """From ``min`` to ``max`` launches of a deployment serve, as its requests need; both inclusive.

    Raises:
        ValueError: not ``1 <= min <= max <= MAX_REPLICAS``; the message says what to write.
    """

    min: int = 1
    max: int = 1

    def __post_init__(self) -> None:
        # JSON's true is no number.
        if type(self.min) is not int or type(self.max) is not int:
            raise ValueError(f"write {REPLICAS}")
        if not 1 <= self.min <= self.max <= MAX_REPLICAS:
            raise ValueError(f"write {REPLICAS}")

    def __str__(self) -> str:
        return f"{self.min}-{self.max}" if self.follows else str(self.min)

    @property
    def follows(self) -> bool:
        """Whether the number follows the requests."""
        return self.min < self.max

    def clamp(self, count: int) -> int:
        """The number within the bounds that is nearest."""
        return max(self.min, min(self.max, count))

    def as_json(self) -> int | dict[str, int]:
        """The inverse of :meth:`read`: ``2``, or ``{"min": 1, "max": 4}``."""
        return {"min": self.min, "max": self.max} if self.follows else self.min

    @classmethod
    def read(cls, value: Any) -> Self:
        """From JSON (``2``, ``{"min": 1, "max": 4}``) or text (``2``, ``1-4``).

        Of a range, ``min`` may be left out (1), and ``max`` (the same as ``min``).

        Raises:
            ValueError: it is none, or beyond the limits; the message says what to write.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and (found := _TEXT.fullmatch(value.strip())):
            first, last = int(found[1]), found[2]
            return cls(first, first if last is None else int(last))
        if isinstance(value, Mapping) and value and value.keys() <= {"min", "max"}:
            least = value.get("min", 1)
            return cls(least, value.get("max", least))
        if type(value) is int:
            return cls(value, value)
        raise ValueError(f"write {REPLICAS}")
