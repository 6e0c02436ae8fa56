"""The rules for values of any type, and for types that MLflow cannot read."""

from collections.abc import Sequence
from types import NoneType
from typing import Any

from model_deployment.gate.scalar_rules import Rule


class AnyRule(Rule):
    """All values of JSON, unless pandas turned large integers into floats."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected, nullable=True)

    def accepts(self, values: Sequence[Any]) -> bool:
        types = set(map(type, values))
        return int not in types or len(types) == 1 or not types <= {int, float, NoneType}

    def coerce(self, value: Any, lenient: bool) -> Any:
        if type(value) is int and abs(value) > 1 << 53 and not _is_double(value):
            return self._lossy
        return value


def _is_double(number: int) -> bool:
    try:
        return float(number) == number
    except OverflowError:
        return False


class UnreadableRule(Rule):
    """A type that MLflow cannot read from JSON at this place."""

    def accepts(self, values: Sequence[Any]) -> bool:
        return not any(value is not None or not self.nullable for value in values)

    def coerce(self, value: Any, lenient: bool) -> Any:
        if value is None:
            return None if self.nullable else self._null
        return self._wrong
