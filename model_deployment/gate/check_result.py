"""The result of checking one request, and how its violations are collected."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import nsmallest
from itertools import islice
from typing import Any

from model_deployment.gate.mergeable import Mergeable

#: Violations that are listed; the others are only counted.
SHOWN = 20
_LONGEST = 60
NOTHING: Mapping[tuple[str, str], int] = {}


class ViolationKind(StrEnum):
    """In which way a value, column or body violates the signature."""

    MISSING = "missing"  # a required column is not there
    UNKNOWN = "unknown"  # a column or member the signature does not have
    NULL = "null"
    TYPE = "type"
    LOSSY = "lossy"  # the model would get another value
    RANGE = "range"
    RAGGED = "ragged"  # rows or columns of unequal length
    SHAPE = "shape"  # a tensor of other dimensions
    PARAMS = "params"
    FORM = "form"  # not a form of a request


@dataclass(frozen=True, slots=True)
class Violation:
    """One violation. ``row`` and ``column`` are None where it concerns no particular one."""

    row: int | None
    column: str | None
    kind: ViolationKind
    expected: str
    #: The value, short and printable.
    got: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for the ``errors`` of a problem document."""
        return {
            "row": self.row,
            "column": self.column,
            "kind": str(self.kind),
            "expected": self.expected,
            "got": self.got,
        }


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a rule rejects a value. ``path`` leads to the culprit if it is inside of the value."""

    kind: ViolationKind
    expected: str
    path: str = ""
    value: Any = None

    def nested_in(self, step: str, value: Any) -> "Fault":
        """The same fault seen from one level up; ``value`` is the item that it was found in."""
        return Fault(self.kind, self.expected, step + self.path, self.value if self.path else value)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What is to become of a request."""

    #: What to send in place of the body; None to send the body as it came.
    payload: Any = None
    refused: bool = False
    #: The first violations, by row.
    violations: tuple[Violation, ...] = ()
    #: The number of all violations.
    count: int = 0
    #: Violations by column and kind. Columns that the signature does not have count under ``""``:
    #: callers can send any number of names.
    tally: Mapping[tuple[str, str], int] = field(default_factory=lambda: NOTHING)
    #: The rows, if they can be merged with those of other requests.
    table: Mergeable | None = None
    rows: int | None = None
    #: Whether the violations are those of a signature.
    checked: bool = True


@dataclass(slots=True)
class Findings:
    """Collects the violations of one request while it is checked."""

    #: Whether forgivable violations are repaired.
    lenient: bool = False
    #: Whether there may be true or false in the body.
    truths: bool = True
    count: int = 0
    #: Violations that cannot be repaired.
    fatal: int = 0
    tally: dict[tuple[str, str], int] = field(default_factory=dict)
    _shown: list[Violation] = field(default_factory=list)

    def add(
        self,
        kind: ViolationKind,
        expected: str,
        got: str,
        *,
        column: str | None = None,
        row: int | None = None,
        tally: str | None = None,
        forgivable: bool = False,
    ) -> None:
        """
        Args:
            tally: the name it is counted under, if not the column's.
            forgivable: a lenient gate repairs it.
        """
        self.add_unseen(
            kind, 1, tally=(column or "") if tally is None else tally, forgivable=forgivable
        )
        name = column and clip(column)
        self._shown.append(Violation(row, name, kind, expected, got))

    def add_form(
        self, expected: str, got: str, column: str | None = None, tally: str | None = None
    ) -> None:
        """Collect that the body, or a part of it, is not of a form that MLflow reads."""
        self.add(ViolationKind.FORM, expected, got, column=column, tally=tally)

    def add_unseen(
        self, kind: ViolationKind, count: int, *, tally: str = "", forgivable: bool = False
    ) -> None:
        """Count violations that are not listed, since :data:`SHOWN` of their column are."""
        if count > 0:
            self.count += count
            self.fatal += 0 if forgivable and self.lenient else count
            key = (tally, str(kind))
            self.tally[key] = self.tally.get(key, 0) + count

    def add_unknown(
        self,
        names: Collection[str],
        expected: Callable[[str], str],
        got: str,
        kind: ViolationKind = ViolationKind.UNKNOWN,
    ) -> None:
        """Collect names that the signature does not have, which a lenient gate drops."""
        for name in nsmallest(SHOWN, names):
            self.add(kind, expected(name), got, column=name, tally="", forgivable=True)
        self.add_unseen(kind, len(names) - SHOWN, forgivable=True)

    def add_faults(
        self,
        column: str,
        taken: Iterable[Any],
        values: Sequence[Any],
        row_of: Callable[[int], int | None] = lambda place: place,
        got: Callable[[Fault, Any], str] = lambda fault, value: describe(value),
    ) -> None:
        """Collect the faults among what the rule of a column made of its values."""
        faults = ((place, one) for place, one in enumerate(taken) if type(one) is Fault)
        for place, fault in islice(faults, SHOWN):
            where = f" at {clip(column + fault.path)}" if fault.path else ""
            text = got(fault, fault.value if fault.path else values[place])
            self.add(
                fault.kind, fault.expected + where, text, column=column or None, row=row_of(place)
            )
        for kind, count in Counter(fault.kind for _, fault in faults).items():
            self.add_unseen(kind, count, tally=column)

    @property
    def first_violations(self) -> tuple[Violation, ...]:
        """The first violations by row; those without a row come first."""
        ordered = sorted(self._shown, key=lambda one: -1 if one.row is None else one.row)
        return tuple(ordered[:SHOWN])


def clip(text: str) -> str:
    """A caller's text, cut to a harmless length."""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def describe(value: Any) -> str:
    """A caller's value in a few printable characters."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return ascii(clip(value))
        case int() | float():
            return clip(repr(value))
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return "nothing"
