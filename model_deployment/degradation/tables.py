"""Reads the two tables: no more rows of them than asked for, and only columns that can be compared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

LABEL, TIME, REQUEST, PREDICTION = "__label", "__ts", "__request_id", "__prediction"
#: Whether the inputs of a row are known.
SEEN = "__seen"
#: Cells of one table that are held at once: 20 columns of 100,000 rows, or 1000 of 2000.
_CELLS = 2_000_000
_BATCH = 8192


@dataclass(frozen=True, slots=True)
class Table:
    """A table, sampled. ``rows`` is how many it had."""

    frame: pd.DataFrame
    rows: int
    #: Columns of nested values, which were left out, with their type.
    nested: dict[str, str]

    @property
    def features(self) -> list[str]:
        """Names of the columns that are inputs, or a target."""
        return [name for name in (*self.frame.columns, *self.nested) if not is_ours(name)]

    @property
    def predictions(self) -> pd.DataFrame:
        """The outputs of the model, in their order."""
        names = [name for name in self.frame.columns if is_prediction(name)]
        return self.frame[sorted(names, key=_place)]

    @property
    def seen(self) -> "Table":
        """The rows whose inputs are known; ``rows`` stays how many it had."""
        if SEEN not in self.frame.columns:
            return self
        return Table(self.frame[self.frame[SEEN].astype(bool)], self.rows, self.nested)

    def column(self, name: str) -> "pd.Series[Any] | None":
        """One, None if there is none."""
        return self.frame[name] if name in self.frame.columns else None


def is_prediction(name: str) -> bool:
    """Whether a column holds an output."""
    return name == PREDICTION or name.startswith(f"{PREDICTION}_")


def is_ours(name: str) -> bool:
    """Whether a name is kept for what we add to the columns of callers."""
    return name in (LABEL, TIME, REQUEST, SEEN) or is_prediction(name)


def renamed(names: Iterable[str]) -> dict[str, str]:
    """What columns of callers are called here: those with a name of ours have a ``_`` before it."""
    every = list(dict.fromkeys(names))
    taken, found = set(every), {}
    for name in every:
        new = name
        while is_ours(new) or (new != name and new in taken):
            new = f"_{new}"
        taken.add(new)
        found[name] = new
    return found


def _place(name: str) -> tuple[int, str]:
    rest = name.removeprefix(f"{PREDICTION}_")
    return (int(rest), "") if rest.isdecimal() else (-1, rest)


def read(path: Path, most: int, seed: int) -> Table:
    """Read a Parquet file, or ``most`` of its rows chosen by chance, in their order."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        nested = {field.name: str(field.type) for field in schema if _nested(field.type)}
        names = [name for name in schema.names if name not in nested]
        rows = file.metadata.num_rows
        kept = _chosen(rows, min(most, max(_CELLS // max(len(names), 1), 1000)), seed)
        frame = _frame(file, names, kept)
    return Table(frame, rows, nested)


def read_labelled(path: Path) -> pd.DataFrame:
    """All rows whose truth is known, in the order of time: labels and predictions only."""
    with pq.ParquetFile(path) as file:
        names = [
            name
            for name in file.schema_arrow.names
            if (name in (LABEL, TIME) or is_prediction(name))
            and not _nested(file.schema_arrow.field(name).type)
        ]
        if LABEL not in names:
            return pd.DataFrame()
        frame = _frame(file, names, np.arange(file.metadata.num_rows))
    frame = frame[frame[LABEL].notna()]
    return frame.sort_values(TIME, kind="stable") if TIME in names else frame


def _nested(type: pa.DataType) -> bool:
    binary = pa.types.is_binary(type) or pa.types.is_large_binary(type)
    return bool(pa.types.is_nested(type) or binary or pa.types.is_fixed_size_binary(type))


def _chosen(rows: int, most: int, seed: int) -> NDArray[Any]:
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _frame(file: pq.ParquetFile, names: Sequence[str], kept: NDArray[Any]) -> pd.DataFrame:
    """Some rows of some columns, without what pandas wrote about its index."""
    parts, start = [], 0
    for batch in file.iter_batches(_BATCH, columns=list(names), use_threads=False):
        inside = kept[(kept >= start) & (kept < start + batch.num_rows)] - start
        start += batch.num_rows
        parts.append(batch.take(pa.array(inside, pa.int64())))
    schema = pa.schema([file.schema_arrow.field(name) for name in names])
    table = pa.Table.from_batches([part.select(list(names)) for part in parts], schema)
    return table.to_pandas(ignore_metadata=True, use_threads=False, timestamp_as_object=False)
