"""Training data on their way out: a Parquet or CSV file, read part by part and written in another form."""

import asyncio
import contextlib
import csv
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from model_deployment.datasets.formats import Format, Sink, encoder, unique
from model_deployment.tabular.csv_file import UnreadableData, read_columns
from model_deployment.tabular.input_columns import ModelInputs

#: Rows, and cells, that are in hand at once.
_ROWS, _CELLS = 4096, 400_000
_BLOCK = 256 * 1024


async def training(
    path: Path, format: Format, limit: int | None = None, inputs: ModelInputs | None = None
) -> AsyncGenerator[bytes, None]:
    """The rows of a Parquet or CSV file; its first ``limit`` ones.

    A Parquet file that is wanted whole, as Parquet, is sent as it is. Values in CSV files are what the
    model's inputs are by its signature; in other columns numbers and truth values where all of a column
    are.

    Raises:
        UnreadableData: it is no such file, or damaged.
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
            yield from _as_it_is(path)
        else:
            yield from _from_parquet(path, format, limit)
    except UnreadableData:
        raise
    except (ValueError, csv.Error, OSError) as error:  # pyarrow's are of these
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnreadableData(f"cannot read the training data: {first[:200]}") from error


async def _on_thread(
    make: Callable[[], Generator[bytes, None, None]],
) -> AsyncGenerator[bytes, None]:
    """A generator that blocks, each step of it on a thread. It is closed in any case."""
    generator = make()
    step: asyncio.Future[bytes | None] | None = None
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, generator, None))
            # A thread goes on after its caller was cancelled, and may not be disturbed in it.
            part = await asyncio.shield(step)
            if part is None:
                return
            yield part
    finally:
        if step is None or step.done():
            generator.close()
        else:
            step.add_done_callback(lambda done: _end(done, generator))


def _end(done: asyncio.Future[Any], generator: Generator[bytes, None, None]) -> None:
    if not done.cancelled():
        done.exception()  # or there would be a complaint that nobody has asked for it
    with contextlib.suppress(ValueError):  # it is still at work, and the program ends
        generator.close()


def _as_it_is(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _from_parquet(path: Path, format: Format, limit: int | None) -> Iterator[bytes]:
    from pyarrow import parquet

    # Buffered, or a row group would be read whole, and some files are one row group.
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
    """Python's values, with times as text: Arrow's reach further than Python's."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        texts = column.cast(pa.string()).to_pylist()
        return [text and text.replace(" ", "T", 1) for text in texts]
    found: list[Any] = column.to_pylist()
    return found


def _from_csv(
    path: Path, format: Format, limit: int | None, inputs: ModelInputs
) -> Iterator[bytes]:
    """Twice through the file: what a column is can be told when all of it was seen."""
    columns = read_columns(path, inputs, limit)
    writer = encoder(format, unique(columns.names), columns.kinds)
    yield writer.head()
    for values in columns.parts():
        yield writer.rows(list(zip(*values, strict=True)))
    if last := writer.tail():
        yield last
