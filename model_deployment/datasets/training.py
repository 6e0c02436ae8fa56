"""Streams a Parquet or CSV file of training data in another format, part by part."""

import asyncio
import csv
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from model_deployment.datasets.formats import Format, Sink, encoder, unique
from model_deployment.tabular.csv_file import UnreadableData, read_columns
from model_deployment.tabular.input_columns import ModelInputs

#: Most rows, and most cells, in memory.
_ROWS, _CELLS = 4096, 400_000
_BLOCK = 256 * 1024


async def training(
    path: Path, format: Format, limit: int | None = None, inputs: ModelInputs | None = None
) -> AsyncGenerator[bytes, None]:
    """The first ``limit`` rows of a Parquet or CSV file, or all.

    A Parquet file that is wanted as Parquet, and whole, is sent unchanged. The model's signature gives the
    types of a CSV file's columns; other columns are numbers or booleans if all their values are.

    Raises:
        UnreadableData: the file is neither, or damaged.
    """
    async with aclosing(
        _on_thread(lambda: _training(path, format, limit, inputs or ModelInputs()))
    ) as parts:
        async for part in parts:
            yield part


def _training(
    path: Path, format: Format, limit: int | None, inputs: ModelInputs
) -> Generator[bytes, None, None]:
    try:
        if path.suffix.lower() == ".csv":
            yield from _from_csv(path, format, limit, inputs)
        elif format is Format.PARQUET and limit is None:
            with path.open("rb") as file:
                yield from iter(lambda: file.read(_BLOCK), b"")
        else:
            yield from _from_parquet(path, format, limit)
    except UnreadableData:
        raise
    except (ValueError, csv.Error, OSError) as error:  # pyarrow raises these too
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnreadableData(f"cannot read the training data: {first[:200]}") from error


async def _on_thread(
    make: Callable[[], Generator[bytes, None, None]],
) -> AsyncGenerator[bytes, None]:
    """Runs each step of a blocking generator on a thread."""
    generator = make()
    step: asyncio.Future[bytes | None] | None = None
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, generator, None))
            if (part := await asyncio.shield(step)) is None:
                return
            yield part
    finally:
        if step is not None and not step.done():
            # The caller was cancelled, and the thread goes on: a running generator cannot be closed.
            await asyncio.wait([step])
            step.exception()  # retrieved, so that asyncio does not complain
        generator.close()


def _from_parquet(path: Path, format: Format, limit: int | None) -> Iterator[bytes]:
    from pyarrow import parquet

    # Buffered: otherwise whole row groups are read, and some files have only one.
    with parquet.ParquetFile(path, buffer_size=_BLOCK, pre_buffer=False) as file:
        schema = file.schema_arrow
        most = max(1, min(_ROWS, _CELLS // max(1, len(schema.names))))
        batches = _limited(file.iter_batches(most, use_threads=False), limit)
        if format is Format.PARQUET:
            yield from _rewritten(batches, schema)
            return
        writer = encoder(format, unique(schema.names), ())
        yield writer.head()
        for batch in batches:
            lists = [_values(column) for column in batch.columns]
            yield writer.rows(list(zip(*lists, strict=True)))
        if last := writer.tail():
            yield last


def _limited(batches: Iterator[Any], limit: int | None) -> Iterator[Any]:
    left = limit
    for batch in batches:
        if left is None:
            yield batch
            continue
        yield batch.slice(0, left)
        left -= min(left, batch.num_rows)
        if not left:
            return


def _rewritten(batches: Iterator[Any], schema: Any) -> Iterator[bytes]:
    from pyarrow import parquet

    sink = Sink()
    with parquet.ParquetWriter(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            if part := sink.take():
                yield part
    yield sink.take()


def _values(column: Any) -> list[Any]:
    """Python values; times as text, since Arrow's range is wider than Python's."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        texts = column.cast(pa.string()).to_pylist()
        return [text and text.replace(" ", "T", 1) for text in texts]
    found: list[Any] = column.to_pylist()
    return found


def _from_csv(
    path: Path, format: Format, limit: int | None, inputs: ModelInputs
) -> Iterator[bytes]:
    """Reads the file twice: the kind of a column is known only after all its cells."""
    columns = read_columns(path, inputs, limit)
    writer = encoder(format, unique(columns.names), columns.kinds)
    yield writer.head()
    for values in columns.parts():
        yield writer.rows(list(zip(*values, strict=True)))
    if last := writer.tail():
        yield last
