"""Cells of CSV, which are texts: what they are as values of a type, or what a column of them may be."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from model_deployment.gate.csv_text import DIGITS, MISSING, WORDS

_ENDLESS = frozenset({"inf", "-inf", "Infinity", "-Infinity"})
_BOOL = {"True": True, "true": True, "TRUE": True, "False": False, "false": False, "FALSE": False}
# No zeros in front and no plus: these are codes and telephone numbers.
_INT = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(
    r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII
)
#: Whole numbers that no float may stand for.
_EXACT, _INT64 = 2**53, 2**63
#: Digits of a whole number that are read as one.
_DIGITS = 4000

Read = Callable[[Sequence[str]], list[Any]]


class ColumnKind(StrEnum):
    """What all values of a column are."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    TIME = "time"
    TEXT = "text"  # or anything, as text


#: What values of MLflow's types are.
KIND_OF_TYPE: Mapping[str, ColumnKind] = {
    "boolean": ColumnKind.BOOL,
    "integer": ColumnKind.INT,
    "long": ColumnKind.INT,
    "float": ColumnKind.FLOAT,
    "double": ColumnKind.FLOAT,
}


def whole(cells: Sequence[str]) -> list[Any]:
    """Whole numbers; a text that is none stays."""
    joined = "".join(cells)
    if joined.isascii() and "_" not in joined:
        try:
            return list(map(int, cells))
        except ValueError:  # some are missing, or written otherwise
            pass
    return [_whole(cell) for cell in cells]


def _whole(cell: str) -> Any:
    plain = cell.strip()
    if plain in MISSING:
        return None
    digits = plain.lstrip("+-")
    if digits.isascii() and digits.isdecimal() and len(plain) - len(digits) <= 1:
        return int(plain) if len(digits) <= _DIGITS else cell
    number = _real(cell)
    if type(number) is float and number.is_integer():
        return int(number)
    truth = _BOOL.get(plain)
    return cell if truth is None else int(truth)


def real(cells: Sequence[str]) -> list[Any]:
    """Floating point numbers; a text that is none stays."""
    joined = "".join(cells)
    if joined.isascii() and "_" not in joined:
        try:
            found = list(map(float, cells))
        except ValueError:
            pass
        else:
            return [None if math.isnan(number) else number for number in found]
    return [_real(cell) for cell in cells]


def _real(cell: str) -> Any:
    plain = cell.strip()
    if plain in MISSING:
        return None
    try:
        number = float(plain) if plain.isascii() and "_" not in plain else math.nan
    except ValueError:
        return cell
    return cell if math.isnan(number) else number


def truth(cells: Sequence[str]) -> list[Any]:
    """Truth values; a text that is none stays."""
    return [None if cell in MISSING else _truth(cell) for cell in cells]


def _truth(cell: str) -> Any:
    word = WORDS.get(cell.lower())
    return DIGITS.get(cell, cell) if word is None else word


def text(cells: Sequence[str]) -> list[Any]:
    """Texts, as they are written."""
    if MISSING.isdisjoint(cells):
        return list(cells)
    return [None if cell in MISSING else cell for cell in cells]


class KindGuess:
    """What a column is whose type nobody knows, seen a part at a time.

    A number is only what is written as one: ``00501`` and ``+49151`` stay texts, which can be turned
    into numbers later, and back again from a number they cannot.
    """

    def __init__(self) -> None:
        self._kind: ColumnKind | None = None
        #: Whole numbers among them that no float may stand for.
        self._large = False

    def look(self, cells: Iterable[str]) -> None:
        """Take some cells into account."""
        found = set(cells) - MISSING
        if self._kind is ColumnKind.TEXT or not found:
            return
        self._kind = self._fitting(found)

    def _fitting(self, cells: set[str]) -> ColumnKind:
        before = self._kind
        if before in (None, ColumnKind.BOOL) and cells <= _BOOL.keys():
            return ColumnKind.BOOL
        whole = [cell for cell in cells if _INT.fullmatch(cell)]
        if any(len(cell) > 20 or not -_INT64 <= int(cell) < _INT64 for cell in whole):
            return ColumnKind.TEXT
        self._large |= any(abs(int(cell)) > _EXACT for cell in whole)
        if before in (None, ColumnKind.INT) and len(whole) == len(cells):
            return ColumnKind.INT
        numbers = all(_FLOAT.fullmatch(cell) or cell in _ENDLESS for cell in cells)
        if before is not ColumnKind.BOOL and numbers and not self._large:
            return ColumnKind.FLOAT
        return ColumnKind.TEXT

    @property
    def kind(self) -> ColumnKind:
        """What they are."""
        return self._kind or ColumnKind.TEXT


def guessed(cells: Sequence[str]) -> list[Any]:
    """The values of a whole column whose type nobody knows, in a request."""
    guess = KindGuess()
    guess.look(cells)
    return text(cells) if guess.kind is ColumnKind.TEXT else READ[guess.kind](cells)


def _cells(cells: Sequence[str]) -> list[Any]:
    return [cell or None for cell in cells]


#: Reads cells of a kind; texts as they are, but for empty ones.
READ: Mapping[ColumnKind, Read] = {
    ColumnKind.BOOL: lambda cells: [_BOOL.get(cell) for cell in cells],
    ColumnKind.INT: whole,
    ColumnKind.FLOAT: real,
    ColumnKind.TEXT: _cells,
}
