"""Reads a table from a CSV or Parquet file as a stream: memory is bounded by the sample, not the file."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from model_deployment.degradation.analysis.table import Table, random_numbers, sample_size
from model_deployment.training_data import tables

#: Rows whose hashes are held, of 8 bytes each.
_MAX_HASHES = 20_000_000
#: Multiplies the hash of the cells before in a row.
_FACTOR = np.uint64(1_000_003)


def of_file(path: Path, time_column: str | None) -> Table:
    """The table of a CSV or Parquet file.

    The cells of a CSV file stay texts: their types are found later, of both tables alike.

    Raises:
        ValueError: the file is not a table.
    """
    try:
        format = tables.sniff(path)
        # What was uploaded is within the limit already.
        source = tables.read(path, format, most_bytes=sys.maxsize)
        collected = _Collected([*source.names], time_column)
        for batch in source.batches:
            collected.add(_trimmed(batch) if format == "csv" else batch)
    except (tables.UnreadableTable, OSError) as error:
        raise ValueError(f"cannot read {path.name} as a table: {error}") from error
    fields = [pa.field(name, type) for name, type in zip(source.names, source.types, strict=True)]
    return collected.table(pa.schema(fields), format)


def _trimmed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Without spaces before texts, as a training reads a CSV file."""
    columns = [compute.utf8_ltrim(column, " ") for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


@dataclass(slots=True)
class _Collected:
    """A random sample of the rows so far, with the hashes and the times of all rows."""

    names: list[str]
    time_column: str | None
    rows: int = 0
    _batches: list[pa.RecordBatch] = field(default_factory=list)
    #: A random number for each row of ``_batches``: rows with the smallest ones stay.
    _keys: list[NDArray[np.float64]] = field(default_factory=list)
    _hashes: list[NDArray[np.uint64]] = field(default_factory=list)
    _times: list["pd.Series[Any]"] = field(default_factory=list)
    _random: np.random.Generator = field(default_factory=random_numbers)

    def add(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._keys.append(self._random.random(batch.num_rows))
        if self.rows < _MAX_HASHES:
            self._hashes.append(_row_hashes(batch))
        if self.time_column in self.names:
            self._times.append(batch.column(self.time_column).to_pandas())
        self.rows += batch.num_rows
        if sum(map(len, self._keys)) > 2 * sample_size(len(self.names)):
            self._thin_out()

    def _thin_out(self) -> None:
        """Keep a sample, in the order of the rows."""
        keys = np.concatenate(self._keys)
        size = sample_size(len(self.names))
        if len(keys) <= size:
            return
        kept = np.sort(np.argpartition(keys, size - 1)[:size])
        table = pa.Table.from_batches(self._batches).take(pa.array(kept))
        self._batches = table.combine_chunks().to_batches()
        self._keys = [keys[kept]]

    def table(self, schema: pa.Schema, form: str) -> Table:
        if self._batches:
            self._thin_out()
            schema = self._batches[0].schema
        table = pa.Table.from_batches(self._batches, schema)
        frame = table.to_pandas(ignore_metadata=True, use_threads=False, timestamp_as_object=False)
        times = pd.concat(self._times, ignore_index=True) if self._times else None
        if times is None and self.time_column in self.names:
            times = frame[self.time_column]
        hashes = np.concatenate(self._hashes) if self._hashes else np.empty(0, dtype=np.uint64)
        return Table(frame, self.rows, {}, hashes, times, form)


def _row_hashes(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    hashes = np.zeros(batch.num_rows, dtype=np.uint64)
    for column in batch.columns:
        values = column.to_numpy(zero_copy_only=False)
        hashes = hashes * _FACTOR + pd.util.hash_array(np.asarray(values), categorize=False)
    return hashes
