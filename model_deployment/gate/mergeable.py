"""The rows of checked requests, as they are merged with those of others and taken apart again. Pure."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

#: Types of tensors of which each value is converted by itself, whatever stands beside it.
_MERGEABLE = re.compile(r"(float|u?int)\d+|bool|str|bytes|object|datetime64\[\w+\]")


@dataclass(frozen=True, slots=True)
class MergeableTable:
    """A checked JSON frame by columns. Tables with equal keys can be merged into one call."""

    columns: tuple[str | int | float, ...]
    values: tuple[Sequence[Any], ...]
    rows: int
    params: Mapping[str, Any] | None = None
    #: Types of the values, where there is no signature.
    types: tuple[type, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for tables that can be merged."""
        return self.columns, self.types, repr(self.params) if self.params else ""

    @property
    def cells(self) -> int:
        return self.rows * len(self.columns)

    def part(self, first: int, rows: int) -> "MergeableTable":
        if rows == self.rows:
            return self
        values = tuple([column[first : first + rows] for column in self.values])
        return replace(self, values=values, rows=rows)


@dataclass(frozen=True, slots=True)
class TensorKind:
    """What the rows of a tensor are. Only rows of one kind fit into one tensor."""

    #: Empty if it has none.
    name: str
    dtype: str
    #: Sizes of a row, without the first axis.
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """Values of a row."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class MergeableTensors:
    """Checked tensors of equally many rows. Those with equal keys can be merged along the first axis."""

    kinds: tuple[TensorKind, ...]
    #: The values of each tensor; the last axis varies fastest.
    values: tuple[Sequence[Any], ...]
    rows: int
    #: The form of the request that they came in.
    form: str
    params: Mapping[str, Any] | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for tensors that can be merged."""
        return self.form, self.kinds, repr(self.params) if self.params else ""

    @property
    def cells(self) -> int:
        return sum(map(len, self.values))

    def part(self, first: int, rows: int) -> "MergeableTensors":
        if rows == self.rows:
            return self
        values = tuple(
            flat[first * kind.width : (first + rows) * kind.width]
            for kind, flat in zip(self.kinds, self.values, strict=True)
        )
        return replace(self, values=values, rows=rows)


Mergeable = MergeableTable | MergeableTensors


def is_mergeable_type(dtype: str) -> bool:
    """Whether NumPy converts each value of a tensor of this type alike, whatever stands beside it.

    ``datetime64`` without a unit takes the finest unit that any of its values needs.
    """
    return _MERGEABLE.fullmatch(dtype) is not None


def joined_tensors(several: Sequence[MergeableTensors]) -> Any:
    """The ``inputs`` of one request for tensors of equal keys, their rows in order."""
    rows = sum(one.rows for one in several)
    joined = {}
    for place, kind in enumerate(several[0].kinds):
        flat = [value for one in several for value in one.values[place]]
        joined[kind.name] = reshaped(flat, [rows, *kind.shape])
    return joined.get("", joined)


def reshaped(flat: Sequence[Any], sizes: Sequence[int]) -> Any:
    """Nested lists of these sizes; the last dimension varies fastest."""
    if not sizes:
        return flat[0]
    parts: list[Any] = list(flat)
    for size in reversed(sizes[1:]):
        parts = [parts[start : start + size] for start in range(0, len(parts), size)]
    return parts
