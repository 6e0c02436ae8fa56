"""What pandas takes the text of a CSV for: which lines are rows, and what some cells mean."""

import csv
import io
from collections.abc import Iterator
from typing import Protocol

Row = list[str]

#: What it takes for a missing value, in columns of text too.
MISSING = frozenset(
    {
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
        "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
    }
)  # fmt: skip
#: Truth values: words, in upper and lower case, or numbers; a column has the ones or the others.
WORDS = {"true": True, "false": False}
DIGITS = {"0": False, "1": True, "0.0": False, "1.0": True}

# One value may be as long as the body: Python's own limit, 128 KiB, is none of pandas'.
csv.field_size_limit(2**31 - 1)


class Lines(Protocol):
    """What :func:`csv.reader` returns."""

    #: The last line that was read, from 1.
    line_num: int

    def __iter__(self) -> Iterator[Row]: ...

    def __next__(self) -> Row: ...


def lines(text: str) -> Lines:
    """The lines of a body, each taken apart; blank ones too.

    The iterator raises csv.Error where it is no CSV.
    """
    return csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)


def is_blank(line: Row) -> bool:
    """Whether pandas skips a line. Two quotes, which are an empty value, it does not skip."""
    return not line or (len(line) == 1 and line[0] != "" and not line[0].strip(" \t"))
