"""Reads a CSV file of training data part by part, with values converted by the model's signature."""

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from model_deployment.gate.csv_text import is_blank
from model_deployment.tabular.canonical import cells
from model_deployment.tabular.input_columns import ModelInputs
from model_deployment.tabular.text_cells import KIND_OF_TYPE, READERS, ColumnKind, KindGuess

#: Most rows, and most cells, in memory.
_ROWS, _CELLS = 4096, 400_000
_PYTHON: dict[ColumnKind, type] = {
    ColumnKind.BOOL: bool,
    ColumnKind.INT: int,
    ColumnKind.FLOAT: float,
}
_INT64 = 2**63


class UnreadableData(ValueError):
    """The training data are not a table, or damaged."""


class CsvColumns:
    """The columns of a file. The kind of a column without a signature depends on all its cells."""

    def __init__(self, path: Path, inputs: ModelInputs, limit: int | None) -> None:
        self._path = path
        self._limit = limit
        self.names: list[str] = next(_parts(path, None))[0]
        # As in a request body, a name is that of the first column that has it.
        first = {name: place for place, name in reversed([*enumerate(self.names)])}
        self._specs = [
            inputs.spec(name) if first[name] == place else None
            for place, name in enumerate(self.names)
        ]
        self.kinds: list[ColumnKind] = [ColumnKind.TEXT] * len(self.names)

    def find_kinds(self) -> None:
        """Read the file once, to find the kind of each column."""
        guesses = [KindGuess() for _ in self.names]
        odd = [False] * len(self.names)
        for columns in self._texts():
            for place, (spec, texts) in enumerate(zip(self._specs, columns, strict=True)):
                if spec is None:
                    guesses[place].observe(texts)
                elif (kind := KIND_OF_TYPE.get(str(spec["type"]))) and not odd[place]:
                    odd[place] = not _all_of(cells(spec, texts), _PYTHON[kind])
        for place, spec in enumerate(self._specs):
            if spec is None:
                self.kinds[place] = guesses[place].kind
            elif (kind := KIND_OF_TYPE.get(str(spec["type"]))) and not odd[place]:
                self.kinds[place] = kind

    def parts(self) -> Iterator[list[list[Any]]]:
        """The values of all columns, some rows at a time."""
        for columns in self._texts():
            yield [
                cells(spec, texts)
                if spec is not None and kind is not ColumnKind.TEXT
                else READERS[kind](texts)
                for spec, kind, texts in zip(self._specs, self.kinds, columns, strict=True)
            ]

    def _texts(self) -> Iterator[list[Sequence[str]]]:
        parts = _parts(self._path, self._limit)
        next(parts)
        for rows in parts:
            yield list(zip(*rows, strict=True))


def read_columns(path: Path, inputs: ModelInputs, limit: int | None = None) -> CsvColumns:
    """The columns of a file, of its first ``limit`` rows.

    Raises:
        UnreadableData, ValueError, csv.Error, OSError: the file is not a CSV table.
    """
    columns = CsvColumns(path, inputs, limit)
    columns.find_kinds()
    return columns


def _all_of(values: Sequence[Any], kind: type) -> bool:
    if not set(map(type, values)) <= {kind, type(None)}:
        return False
    return kind is not int or all(v is None or -_INT64 <= v < _INT64 for v in values)


def _parts(path: Path, limit: int | None) -> Iterator[list[list[str]]]:
    """First the header alone, then some rows at a time, all with as many cells as the header."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = (line for line in csv.reader(file) if not is_blank(line))
        names = next(lines, None)
        if names is None:
            raise UnreadableData("cannot read the training data: the file is empty")
        yield [names]
        wanted = itertools.islice(lines, limit)
        most = max(1, min(_ROWS, _CELLS // len(names)))
        while rows := list(itertools.islice(wanted, most)):
            for row in rows:
                if len(row) > len(names):
                    raise UnreadableData(
                        "cannot read the training data: a row has more cells than the header"
                    )
                row.extend([""] * (len(names) - len(row)))
            yield rows
