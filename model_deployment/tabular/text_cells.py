"""Converts cells of CSV, which are texts, to values of a type, and guesses the type of a column.

Arrow's CSV reader cannot take over: it reads ``00501`` as 501, rounds 2**53 + 1 next to a decimal number,
and rejects short rows.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from model_deployment.gate.csv_text import DIGITS, MISSING, WORDS

_ENDLESS = frozenset({"inf", "-inf", "Infinity", "-Infinity"})
_BOOL = {"True": True, "true": True, "TRUE": True, "False": False, "false": False, "FALSE": False}
# Without leading zeros and plus signs: those are codes and telephone numbers.
_INT = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(
    r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII
)
#: Larger whole numbers are rounded in floats; bounds of 64 bits.
_EXACT, _INT64 = 2**53, 2**63
#: Most digits of a whole number: Python refuses to read longer ones.
_DIGITS = 4000

Read = Callable[[Sequence[str]], list[Any]]


class ColumnKind(StrEnum):
    """The common type of all values of a column."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    TIME = "time"
    TEXT = "text"  # also mixed values, as text


#: Kinds by MLflow's types.
KIND_OF_TYPE: Mapping[str, ColumnKind] = {
    "boolean": ColumnKind.BOOL,
    "integer": ColumnKind.INT,
    "long": ColumnKind.INT,
    "float": ColumnKind.FLOAT,
    "double": ColumnKind.FLOAT,
}


def integers(cells: Sequence[str]) -> list[Any]:
    """Whole numbers; other texts stay."""
    joined = "".join(cells)
    if joined.isascii() and "_" not in joined:
        try:
            return list(map(int, cells))
        except ValueError:  # missing ones, or other spellings
            pass
    return [_integer(cell) for cell in cells]


def _integer(cell: str) -> Any:
    plain = cell.strip()
    if plain in MISSING:
        return None
    digits = plain.lstrip("+-")
    if digits.isascii() and digits.isdecimal() and len(plain) - len(digits) <= 1:
        return int(plain) if len(digits) <= _DIGITS else cell
    number = _float(cell)
    if type(number) is float and number.is_integer():
        return int(number)
    truth = _BOOL.get(plain)
    return cell if truth is None else int(truth)


def floats(cells: Sequence[str]) -> list[Any]:
    """Floating point numbers; other texts stay."""
    joined = "".join(cells)
    if joined.isascii() and "_" not in joined:
        try:
            found = list(map(float, cells))
        except ValueError:
            pass
        else:
            return [None if math.isnan(number) else number for number in found]
    return [_float(cell) for cell in cells]


def _float(cell: str) -> Any:
    plain = cell.strip()
    if plain in MISSING:
        return None
    try:
        number = float(plain) if plain.isascii() and "_" not in plain else math.nan
    except ValueError:
        return cell
    return cell if math.isnan(number) else number


def booleans(cells: Sequence[str]) -> list[Any]:
    """Booleans; other texts stay."""
    return [None if cell in MISSING else _boolean(cell) for cell in cells]


def _boolean(cell: str) -> Any:
    word = WORDS.get(cell.lower())
    return DIGITS.get(cell, cell) if word is None else word


def texts(cells: Sequence[str]) -> list[Any]:
    """Texts as they are, with None for missing ones."""
    if MISSING.isdisjoint(cells):
        return list(cells)
    return [None if cell in MISSING else cell for cell in cells]


class KindGuess:
    """Guesses the kind of a column without a signature, one part of its cells at a time.

    ``00501`` and ``+49151`` stay texts: a text can become a number later, but a number has lost the zeros.
    """

    def __init__(self) -> None:
        self._kind: ColumnKind | None = None
        #: Whether there are whole numbers that a float would round.
        self._large = False

    def observe(self, cells: Iterable[str]) -> None:
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
        return self._kind or ColumnKind.TEXT


def guess_values(cells: Sequence[str]) -> list[Any]:
    """The values of a column of a request without a signature."""
    guess = KindGuess()
    guess.observe(cells)
    return texts(cells) if guess.kind is ColumnKind.TEXT else READERS[guess.kind](cells)


#: Readers of cells by kind; of texts, only empty ones become None.
READERS: Mapping[ColumnKind, Read] = {
    ColumnKind.BOOL: lambda cells: [_BOOL.get(cell) for cell in cells],
    ColumnKind.INT: integers,
    ColumnKind.FLOAT: floats,
    ColumnKind.TEXT: lambda cells: [cell or None for cell in cells],
}
