"""The rules for the cells of a CSV body, from which pandas makes values of a column's type.

pandas does not report what it changes: an integer that does not fit 32 bits becomes another one, and the
text "NA" a missing value. Like :class:`.scalar_rules.Rule`, a rule checks all cells at once or one by one.
It sees the cells of a column in blocks, in order.
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
#: Digits of a number that pandas reads, including leading zeros.
_DIGITS_READ = 17
_BLIND = "0" * _DIGITS_READ
#: The largest integer up to which floating point numbers represent all integers.
_EXACT = 1 << 53
_LONGEST = 400


class CellRule(ABC):
    """What the cells of one column in one body must be."""

    def __init__(self, rule: Rule, *, nullable: bool) -> None:
        """
        Args:
            rule: for the column's values.
            nullable: whether the column may have empty cells, and pandas can represent them.
        """
        self.rule = rule
        self._nullable = nullable
        self._null = Fault(ViolationKind.NULL, rule.expected)
        self._wrong = Fault(ViolationKind.TYPE, rule.expected)
        self._lossy = Fault(ViolationKind.LOSSY, rule.expected)

    def accepts(self, cells: Sequence[str]) -> bool:
        """Whether all cells are surely valid."""
        if MISSING.isdisjoint(cells):
            return self._all_valid(cells)
        return self._nullable and self._all_valid([cell for cell in cells if cell not in MISSING])

    def fault(self, cell: str) -> Fault | None:
        """The fault of one cell."""
        if cell in MISSING:
            return None if self._nullable else self._null
        return self._fault_in(cell)

    @abstractmethod
    def _all_valid(self, cells: Sequence[str]) -> bool:
        """Whether all cells, none of them empty, are surely valid."""

    @abstractmethod
    def _fault_in(self, cell: str) -> Fault | None:
        """The fault of a cell that is not empty."""


class StringCellRule(CellRule):
    """Text: every cell is valid."""

    def _all_valid(self, cells: Sequence[str]) -> bool:
        return True

    def _fault_in(self, cell: str) -> Fault | None:
        return None


class IntegerCellRule(CellRule):
    """Integers. If one is written as 1.0, pandas reads all of them as floats first."""

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
    def _all_valid(self, cells: Sequence[str]) -> bool:
        joined = "\n".join(cells)
        if _BLIND in joined or not _REALS.fullmatch(joined):
            return False
        try:
            numbers: list[Any] = list(map(float, cells))
        except ValueError:
            return False
        # With an integer among them, since the rule then rejects large ones, which may be inexact.
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
    """The words true and false, or 1 and 0 if all cells are numbers."""

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


def cell_rule(kind: str, rule: Rule) -> CellRule | None:
    """The rule for the cells of a column; None if MLflow reads no column of this type from CSV."""
    made = _CELLS.get(kind)
    # pandas has neither integers nor booleans with gaps.
    gaps = made in (FloatCellRule, StringCellRule) and rule.nullable
    return None if made is None else made(rule, nullable=gaps)


def _fault(taken: Any) -> Fault | None:
    return taken if isinstance(taken, Fault) else None


def _vanishes(text: str, number: float) -> bool:
    """Whether pandas reads a number as 0, since the digits that it reads are all zeros."""
    digits = re.split("[eE]", text)[0].lstrip("+-").replace(".", "")
    return number != 0 and not digits[:_DIGITS_READ].strip("0")
