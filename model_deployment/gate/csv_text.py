"""How pandas reads the text of a CSV: which lines are rows, and what some cells mean."""

import csv
import io
from collections.abc import Iterator
from typing import Protocol

Row = list[str]

#: Cells that pandas reads as missing values, in columns of text too.
MISSING = frozenset(
    {
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
        "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
    }
)  # fmt: skip
#: Booleans: words, in upper and lower case, or numbers; a column has either the ones or the others.
WORDS = {"true": True, "false": False}
DIGITS = {"0": False, "1": True, "0.0": False, "1.0": True}

# One value may be as long as the body, as in pandas: Python's own limit is 128 KiB.
csv.field_size_limit(2**31 - 1)


class Lines(Protocol):
    """What :func:`csv.reader` returns."""

    #: The last line that was read, from 1.
    line_num: int

    def __iter__(self) -> Iterator[Row]: ...

    def __next__(self) -> Row: ...


def lines(text: str) -> Lines:
    """The lines of a body as lists of values, blank lines included; raises csv.Error while it is read."""
    return csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)


def is_blank(line: Row) -> bool:
    """Whether pandas skips a line. It does not skip two quotes, which are an empty value."""
    return not line or (len(line) == 1 and line[0] != "" and not line[0].strip(" \t"))
