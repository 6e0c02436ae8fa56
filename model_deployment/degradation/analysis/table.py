"""A table of training data: a sample of its rows, and what needs every row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Cells of a sample: 40,000 rows of 50 columns.
_MAX_CELLS = 2_000_000
_MAX_ROWS, _MIN_ROWS = 100_000, 1000
_SEED = 0


@dataclass(frozen=True, slots=True)
class Table:
    #: The sample, in the order of the rows.
    frame: pd.DataFrame
    #: Rows of the whole table.
    rows: int
    #: Types of the columns with nested values, which are not in ``frame``.
    nested: dict[str, str]
    #: A hash of each row; of a very long table, of its first rows.
    hashes: NDArray[np.uint64]
    #: Of each row; None without such a column.
    times: "pd.Series[Any] | None"
    #: Hashes of tables of the same form can be compared.
    form: str

    @property
    def names(self) -> list[str]:
        return [*self.frame.columns, *self.nested]

    @property
    def sampled(self) -> bool:
        return len(self.frame) < self.rows


def sample_size(columns: int) -> int:
    """Rows of a sample of a table with so many columns."""
    return min(_MAX_ROWS, max(_MAX_CELLS // max(columns, 1), _MIN_ROWS))


def random_numbers() -> np.random.Generator:
    """The same numbers for each analysis, so that an analysis can be repeated."""
    return np.random.default_rng(_SEED)


def unique_names(names: Sequence[object]) -> list[str]:
    """Names as texts; a name that occurs again gets a number, as in pandas."""
    found: list[str] = []
    taken = set(map(str, names))
    seen: set[str] = set()
    for one in map(str, names):
        name, number = one, 0
        while name in seen or (number and name in taken):
            number += 1
            name = f"{one}.{number}"
        seen.add(name)
        found.append(name)
    return found


def of_frame(frame: pd.DataFrame, time_column: str | None) -> Table:
    """The table of a data frame, which is not changed."""
    frame = frame.set_axis(unique_names(list(frame.columns)), axis="columns")
    nested = {
        name: "nested"
        for name in frame.columns
        if frame[name].dtype == object and _nested(frame[name])
    }
    flat = frame.drop(columns=list(nested))
    size = sample_size(len(flat.columns))
    sample = flat
    if len(flat) > size:
        sample = flat.iloc[np.sort(random_numbers().choice(len(flat), size, replace=False))]
    return Table(
        sample.reset_index(drop=True),
        len(frame),
        nested,
        _hashes(frame, nested),
        flat[time_column] if time_column in flat.columns else None,
        "frame",
    )


def _nested(values: "pd.Series[Any]") -> bool:
    return any(isinstance(one, list | dict | set | tuple | np.ndarray | bytes) for one in values)


def _hashes(frame: pd.DataFrame, nested: dict[str, str]) -> NDArray[np.uint64]:
    texts = {name: frame[name].map(repr) for name in nested}
    texts |= {
        name: frame[name].map(str)
        for name in frame.columns
        if name not in nested and frame[name].dtype == object
    }
    hashed = frame.assign(**texts)
    return np.asarray(pd.util.hash_pandas_object(hashed, index=False), dtype=np.uint64)


def read(source: pd.DataFrame | Path, time_column: str | None) -> Table:
    """The table of a data frame or a file.

    Raises:
        ValueError: the file is not a table.
    """
    if isinstance(source, pd.DataFrame):
        return of_frame(source, time_column)
    from model_deployment.degradation.analysis.table_files import of_file

    return of_file(source, time_column)
