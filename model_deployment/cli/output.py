"""What the commands print, and how they end when something fails."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer
from rich.cells import cell_len
from rich.console import Console

from model_deployment.cli import wording

# Names and messages come from elsewhere: printed as they are, without markup or colours.
out = Console(soft_wrap=True, markup=False, highlight=False)
err = Console(soft_wrap=True, markup=False, highlight=False, stderr=True)

#: A process that SIGINT ends: 128 and the signal's number.
INTERRUPTED = 130
#: What stands in a cell without a value, so that programs find the same number of columns in each line.
_NOTHING = "-"

T = TypeVar("T")


def fail(message: str, status: int = 1) -> NoReturn:
    err.print(f"error: {message}")
    raise typer.Exit(status)


def answer_of(
    call: Callable[[], T], options: Mapping[str, Any] | None = None, *, status: int = 1
) -> T:
    """What a call of the controller returns; a failed call ends the command with its reason.

    Args:
        options: that the call named, for the words about a conflict.
        status: of the exit, if the call fails.
    """
    from model_deployment.client.errors import ClientError

    try:
        return call()
    except ClientError as error:
        problem = getattr(error, "problem", {})
        for line in problem.get("log", []):
            err.print(f"  | {line}")
        fail(wording.told(str(error), problem, options or {}), status)


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """A file that cannot be written ends the command with its reason."""
    try:
        yield
    except OSError as error:
        fail(f"cannot write {file}: {error.strerror or error}")


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Text of any length, as it is, with one line end."""
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A heading and lines whose cells are aligned, two spaces apart; nothing if there are no rows.

    Nothing is cut or folded, and there are no colours: names can be found with grep.
    """
    if lines := table(columns, rows):
        print_text("\n".join(lines))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """The lines of :func:`print_table`."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        return []
    cells.insert(0, list(columns))
    widths = [max(cell_len(row[index]) for row in cells) for index in range(len(columns))]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def _cell(value: Any) -> str:
    """One line, without characters that steer a terminal."""
    if value is None:
        return _NOTHING
    return printable(" ".join(str(value).split())) or _NOTHING


def printable(text: str) -> str:
    """A line without characters that steer a terminal: devices and models have sent parts of it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
