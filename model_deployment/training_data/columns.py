"""What the values of columns are, and which do not fit. Pure; for the process that checks uploads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


class Kind(StrEnum):
    """What the values of a column are, with the name of the Arrow type that has them."""

    EMPTY = "null"
    INTEGER = "int64"
    NUMBER = "double"
    BOOLEAN = "bool"
    TIME = "timestamp[us]"
    TEXT = "string"


#: What pandas reads as missing unless it is told otherwise, in addition to what a project names.
MISSING = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip

_PATTERNS: Mapping[Kind, str] = {
    Kind.INTEGER: r"^[+-]?[0-9]{1,18}$",
    Kind.NUMBER: r"^[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf|infinity))$",
    Kind.BOOLEAN: r"^(?i:true|false)$",
    Kind.TIME: r"^[0-9]{4}-[01][0-9]-[0-3][0-9]"
    r"(?:[T ][0-2][0-9]:[0-5][0-9](?::[0-6][0-9](?:[.,][0-9]+)?)?(?: ?(?:Z|[+-][0-9]{2}:?[0-9]{2}))?)?$",
}
#: Kinds of values that fit a column of another kind, by the column's kind.
_FITTING: Mapping[Kind, frozenset[Kind]] = {
    Kind.INTEGER: frozenset({Kind.NUMBER, Kind.BOOLEAN}),
    Kind.NUMBER: frozenset({Kind.INTEGER, Kind.BOOLEAN}),
    Kind.BOOLEAN: frozenset({Kind.INTEGER}),
    Kind.TIME: frozenset(),
}
#: As what texts are read in a column of a kind, if not as that kind itself.
_READ_AS = {Kind.INTEGER: Kind.NUMBER}
_WORDS: Mapping[Kind, str] = {
    Kind.INTEGER: "numbers",
    Kind.NUMBER: "numbers",
    Kind.BOOLEAN: "true or false",
    Kind.TIME: "times such as 2026-11-30 or 2026-11-30T12:00:00",
    Kind.TEXT: "texts",
    Kind.EMPTY: "missing",
}
#: Rows that a message shows of each column, and characters of a value.
_SHOWN_ROWS, _SHOWN_CHARACTERS = 3, 60


def joined(first: Kind, second: Kind) -> Kind:
    """The kind of a column that has values of both kinds."""
    kinds = {first, second} - {Kind.EMPTY}
    if len(kinds) < 2:
        return next(iter(kinds), Kind.EMPTY)
    return Kind.NUMBER if kinds == {Kind.INTEGER, Kind.NUMBER} else Kind.TEXT


def kind_of_type(type_: Any) -> Kind | None:
    """The kind of an Arrow type; None for nested and binary types, which no table for models has.

    Of texts it is :data:`Kind.TEXT`, whatever they say.
    """
    if pa.types.is_dictionary(type_):
        return kind_of_type(type_.value_type)
    if pa.types.is_null(type_):
        return Kind.EMPTY
    if pa.types.is_boolean(type_):
        return Kind.BOOLEAN
    if pa.types.is_integer(type_):
        return Kind.INTEGER
    if pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return Kind.NUMBER
    if pa.types.is_temporal(type_):
        return Kind.TIME
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return Kind.TEXT
    return None


class Texts:
    """Texts of one column, without surrounding space; those that mean "missing" are null."""

    def __init__(self, values: Any, missing: Any) -> None:
        """
        Args:
            values: an Arrow array of texts, or of a dictionary of texts.
            missing: an Arrow array of the texts that mean that a value is missing.
        """
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        trimmed = pc.utf8_trim_whitespace(values)
        absent = pc.is_in(trimmed, value_set=missing.cast(trimmed.type))
        self.values = pc.if_else(absent, pa.scalar(None, trimmed.type), trimmed)

    def are(self, kind: Kind) -> bool:
        """Whether every value that is there is of a kind."""
        if kind in (Kind.INTEGER, Kind.NUMBER):
            try:  # ten times faster than the expression, which also knows a plus sign
                self.values.cast(pa.int64() if kind is Kind.INTEGER else pa.float64())
            except pa.ArrowInvalid:
                pass
            else:
                return True
        return not pc.any(self.odd(kind)).as_py()

    def odd(self, kind: Kind) -> Any:
        """For each value whether it is there, and not of a kind."""
        matching = pc.match_substring_regex(self.values, _PATTERNS[kind])
        return pc.fill_null(pc.invert(matching), False)

    def kind(self, likely: Kind) -> Kind:
        """What they are; ``likely`` is tried first."""
        if self.values.null_count == len(self.values):
            return Kind.EMPTY
        if likely in _PATTERNS and self.are(likely):
            return likely
        return next((kind for kind in _PATTERNS if self.are(kind)), Kind.TEXT)


@dataclass
class ColumnCheck:
    """One column of new data, fed batch by batch, against the column of the original data."""

    name: str
    #: :data:`Kind.TEXT` where the original data does not have it: anything fits.
    expected: Kind
    kind: Kind = Kind.EMPTY
    odd: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, values: Any, missing: Any, before: int) -> None:
        """Look at a batch.

        Args:
            values: an Arrow array.
            missing: as in :class:`Texts`.
            before: rows before the batch.
        """
        kind = kind_of_type(values.type)
        if kind is not Kind.TEXT:
            self.kind = joined(self.kind, kind or Kind.TEXT)
            return
        texts = Texts(values, missing)
        found = Kind.TEXT
        if self.kind is not Kind.TEXT:
            found = texts.kind(self.kind)
            self.kind = joined(self.kind, found)
        if self.expected not in _FITTING:
            return
        wanted = _READ_AS.get(self.expected, self.expected)
        if joined(found, wanted) is not wanted and not texts.are(wanted):
            self._note(texts, texts.odd(wanted), before)

    def _note(self, texts: Texts, odd: Any, before: int) -> None:
        self.odd += pc.sum(odd).as_py()
        for place in pc.indices_nonzero(odd)[: _SHOWN_ROWS - len(self.rows)]:
            value = texts.values[place.as_py()].as_py()
            short = value[:_SHOWN_CHARACTERS] + "…" * (len(value) > _SHOWN_CHARACTERS)
            self.rows.append({"row": before + place.as_py() + 1, "value": short})

    def misfit(self, *, texts: bool) -> dict[str, Any] | None:
        """What does not fit, in words and with the first rows; None if all does.

        Args:
            texts: the file has texts only (CSV), so that every value was looked at.
        """
        if self.expected not in _FITTING:
            return None
        wanted = _WORDS[self.expected]
        if self.odd:
            shown = ", ".join(f"row {one['row']} has {one['value']!r}" for one in self.rows)
            values = "a value" if self.odd == 1 else f"{self.odd} values"
            message = f"the original data has {wanted}, but {values} cannot be read so: {shown}"
            return {"column": self.name, "message": message, "rows": self.rows}
        fits = {self.expected, Kind.EMPTY, Kind.TEXT} | _FITTING[self.expected]
        if not texts and self.kind not in fits:
            message = f"the original data has {wanted}, but the column has {_WORDS[self.kind]}"
            return {"column": self.name, "message": message, "rows": []}
        return None
