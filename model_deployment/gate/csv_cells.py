"""The rules for the cells of a CSV body: text, of which pandas makes values of a column's type.

It makes them in C, and says nothing of what it changes: a whole number that does not fit 32 bits becomes
another one, and the text "NA" a missing value. Like a :class:`.scalar_rules.Rule`, these
answer twice: of all cells at once, and of one. They see the cells of a column in blocks, in order.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from model_deployment.gate.check_result import Fault, ViolationKind
from model_deployment.gate.csv_text import DIGITS, MISSING, WORDS
from model_deployment.gate.scalar_rules import Rule

_WHOLES = re.compile(r"[-+0-9 \t\n]*+")
_REALS = re.compile(r"[-+0-9.eE \t\n]*+")
_NUMBER = re.compile(r"[+-]?(?:([0-9]+)(\.[0-9]*)?|(\.[0-9]+))([eE][+-]?[0-9]+)?")
#: Digits that pandas looks at, zeros in front among them.
_LOOKED_AT = 17
_BLIND = "0" * _LOOKED_AT
#: The largest whole number up to which floating point numbers have all of them.
_EXACT = 1 << 53
_LONGEST = 400


class CellRule(ABC):
    """What the cells of one column of one body must be."""

    def __init__(self, rule: Rule, *, nullable: bool) -> None:
        """Compile.

        Args:
            rule: for the column's values.
            nullable: whether pandas can leave a cell out, and the column may lack one.
        """
        self.rule = rule
        self._nullable = nullable
        self._null = Fault(ViolationKind.NULL, rule.expected)
        self._wrong = Fault(ViolationKind.TYPE, rule.expected)
        self._lossy = Fault(ViolationKind.LOSSY, rule.expected)

    def accepts(self, cells: Sequence[str]) -> bool:
        """Whether all are surely fine."""
        if MISSING.isdisjoint(cells):
            return self._all_valid(cells)
        return self._nullable and self._all_valid([cell for cell in cells if cell not in MISSING])

    def fault(self, cell: str) -> Fault | None:
        """What is wrong with one."""
        if cell in MISSING:
            return None if self._nullable else self._null
        return self._fault_in(cell)

    @abstractmethod
    def _all_valid(self, cells: Sequence[str]) -> bool:
        """Whether cells with something in them are surely fine."""

    @abstractmethod
    def _fault_in(self, cell: str) -> Fault | None:
        """What is wrong with a cell that has something in it."""


class StringCellRule(CellRule):
    """Text, which is what it is."""

    def _all_valid(self, cells: Sequence[str]) -> bool:
        return True

    def _fault_in(self, cell: str) -> Fault | None:
        return None


class IntegerCellRule(CellRule):
    """Whole numbers. Where one is written as 1.0, pandas makes all of them floats on the way."""

    def __init__(self, rule: Rule, *, nullable: bool) -> None:
        super().__init__(rule, nullable=nullable)
        self._wide = self._pointed = False

    def _all_valid(self, cells: Sequence[str]) -> bool:
        if self._pointed or not _WHOLES.fullmatch("\n".join(cells)):
            return False
        try:
            numbers = list(map(int, cells))
        except ValueError:
            return False
        if numbers and not self._wide:
            self._wide = max(numbers) > _EXACT or min(numbers) < -_EXACT
        return self.rule.accepts(numbers)

    def _fault_in(self, cell: str) -> Fault | None:
        text = cell.strip(" \t")
        match = _NUMBER.fullmatch(text)
        if match is None or len(text) > _LONGEST:
            return self._wrong
        number: Any
        if match[2] or match[3] or match[4]:
            self._pointed = True
            number = float(text)
            if not number.is_integer() or abs(number) >= _EXACT or _vanishes(text, number):
                return self._lossy
        else:
            number = int(text)
            self._wide = self._wide or abs(number) > _EXACT
        if self._wide and self._pointed:
            return self._lossy
        return _fault(self.rule.coerce(int(number), False))


class FloatCellRule(CellRule):
    """Floating point numbers."""

    def _all_valid(self, cells: Sequence[str]) -> bool:
        joined = "\n".join(cells)
        if _BLIND in joined or not _REALS.fullmatch(joined):
            return False
        try:
            numbers: list[Any] = list(map(float, cells))
        except ValueError:
            return False
        # As if there were whole numbers among them: of these, not all large ones are kept.
        return self.rule.accepts([*numbers, 0])

    def _fault_in(self, cell: str) -> Fault | None:
        text = cell.strip(" \t")
        match = _NUMBER.fullmatch(text)
        if match is None:
            return self._wrong
        whole = not (match[2] or match[3] or match[4]) and len(text) <= _LONGEST
        number = int(text) if whole else float(text)
        if number in (float("inf"), float("-inf")):
            return Fault(ViolationKind.RANGE, self.rule.expected)
        if _vanishes(text, number):
            return self._lossy
        return _fault(self.rule.coerce(number, False))


class BooleanCellRule(CellRule):
    """True and false; or 1 and 0, if all are numbers."""

    def __init__(self, rule: Rule, *, nullable: bool) -> None:
        super().__init__(rule, nullable=nullable)
        self._words: bool | None = None

    def _all_valid(self, cells: Sequence[str]) -> bool:
        found = set(cells)
        if self._words is None and found:
            self._words = next(iter(cells)).lower() in WORDS
        if self._words:
            return {cell.lower() for cell in found} <= WORDS.keys()
        return found <= DIGITS.keys()

    def _fault_in(self, cell: str) -> Fault | None:
        if self._words is None:
            self._words = cell.lower() in WORDS
        fine = cell.lower() in WORDS if self._words else cell in DIGITS
        return None if fine else self._wrong


_CELLS: dict[str, type[CellRule]] = {
    "integer": IntegerCellRule,
    "long": IntegerCellRule,
    "float": FloatCellRule,
    "double": FloatCellRule,
    "string": StringCellRule,
    "boolean": BooleanCellRule,
}


def cells(kind: str, rule: Rule) -> CellRule | None:
    """The rule for the cells of a column; None where MLflow reads no such column from CSV."""
    made = _CELLS.get(kind)
    # pandas has no whole numbers and no booleans with gaps.
    gaps = made in (FloatCellRule, StringCellRule) and rule.nullable
    return None if made is None else made(rule, nullable=gaps)


def _fault(taken: Any) -> Fault | None:
    return taken if isinstance(taken, Fault) else None


def _vanishes(text: str, number: float) -> bool:
    """Whether pandas makes 0 of a number, since nothing but zeros are among the digits it looks at."""
    digits = re.split("[eE]", text)[0].lstrip("+-").replace(".", "")
    return number != 0 and not digits[:_LOOKED_AT].strip("0")
