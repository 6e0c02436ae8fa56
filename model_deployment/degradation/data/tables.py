"""Reads the tables of a report: a sample of their rows, and only columns that can be compared."""

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
#: Column that says whether the inputs of a row are known.
SEEN = "__seen"
#: Cells of a table that are held in memory: 20 columns of 100,000 rows, or 1,000 columns of 2,000 rows.
_MAX_CELLS = 2_000_000
_BATCH = 8192


@dataclass(frozen=True, slots=True)
class SampledTable:
    """A sample of the rows of a table."""

    frame: pd.DataFrame
    #: Rows of the whole table.
    rows: int
    #: Types of the columns with nested values, which are not in ``frame``.
    nested: dict[str, str]

    @property
    def features(self) -> list[str]:
        """Names of inputs, and of a target."""
        return [name for name in (*self.frame.columns, *self.nested) if not is_reserved(name)]

    @property
    def predictions(self) -> pd.DataFrame:
        """The outputs of the model in their order."""
        names = [name for name in self.frame.columns if is_prediction(name)]
        return self.frame[sorted(names, key=_place)]

    @property
    def seen(self) -> "SampledTable":
        """The rows whose inputs are known."""
        if SEEN not in self.frame.columns:
            return self
        return SampledTable(self.frame[self.frame[SEEN].astype(bool)], self.rows, self.nested)

    def column(self, name: str) -> "pd.Series[Any] | None":
        return self.frame[name] if name in self.frame.columns else None


def is_prediction(name: str) -> bool:
    """Whether a column holds an output of the model."""
    return name == PREDICTION or name.startswith(f"{PREDICTION}_")


def is_reserved(name: str) -> bool:
    """Whether a name is reserved for the columns that are added to the columns of callers."""
    return name in (LABEL, TIME, REQUEST, SEEN) or is_prediction(name)


def renamed(names: Iterable[str]) -> dict[str, str]:
    """New names for columns of callers: a reserved name gets a ``_`` in front."""
    every = list(dict.fromkeys(names))
    taken, found = set(every), {}
    for name in every:
        new = name
        while is_reserved(new) or (new != name and new in taken):
            new = f"_{new}"
        taken.add(new)
        found[name] = new
    return found


def _place(name: str) -> tuple[int, str]:
    rest = name.removeprefix(f"{PREDICTION}_")
    return (int(rest), "") if rest.isdecimal() else (-1, rest)


def read(path: Path, max_rows: int, seed: int) -> SampledTable:
    """Read a Parquet file, or a random sample of ``max_rows`` of its rows in their order."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        nested = {field.name: str(field.type) for field in schema if _nested(field.type)}
        names = [name for name in schema.names if name not in nested]
        rows = file.metadata.num_rows
        kept = _chosen(rows, min(max_rows, max(_MAX_CELLS // max(len(names), 1), 1000)), seed)
        frame = _frame(file, names, kept)
    return SampledTable(frame, rows, nested)


def read_labelled(path: Path) -> pd.DataFrame:
    """Labels and predictions of all rows with a label, in the order of time."""
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


def _chosen(rows: int, max_rows: int, seed: int) -> NDArray[Any]:
    if rows <= max_rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, max_rows, replace=False))


def _frame(file: pq.ParquetFile, names: Sequence[str], kept: NDArray[Any]) -> pd.DataFrame:
    """Some rows of some columns, ignoring the metadata that pandas writes about its index."""
    parts, start = [], 0
    for batch in file.iter_batches(_BATCH, columns=list(names), use_threads=False):
        inside = kept[(kept >= start) & (kept < start + batch.num_rows)] - start
        start += batch.num_rows
        parts.append(batch.take(pa.array(inside, pa.int64())))
    schema = pa.schema([file.schema_arrow.field(name) for name in names])
    table = pa.Table.from_batches([part.select(list(names)) for part in parts], schema)
    return table.to_pandas(ignore_metadata=True, use_threads=False, timestamp_as_object=False)
