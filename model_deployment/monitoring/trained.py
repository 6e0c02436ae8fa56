"""Training data on their way out: a Parquet or CSV file, read part by part and written in another form."""

import asyncio
import contextlib
import csv
import itertools
import re
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from model_deployment.monitoring.formats import Format, Kind, Row, Sink, encoder, unique

#: Rows, and cells, that are in hand at once.
_ROWS, _CELLS = 4096, 400_000
_BLOCK = 256 * 1024
#: What may be missing in a column of numbers, as pandas writes and reads it.
_MISSING = frozenset({"NA", "N/A", "#N/A", "<NA>", "NaN", "nan", "null", "NULL", "None"})
_ENDLESS = frozenset({"inf", "-inf", "Infinity", "-Infinity"})
_BOOL = {"True": True, "true": True, "TRUE": True, "False": False, "false": False, "FALSE": False}
# No zeros in front and no plus: these are codes and telephone numbers.
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_FLOAT = re.compile(
    r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII
)


class Unreadable(ValueError):
    """The training data are no table that can be read to its end."""


async def training(
    path: Path, format: Format, limit: int | None = None
) -> AsyncGenerator[bytes, None]:
    """The rows of a Parquet or CSV file; its first ``limit`` ones.

    A Parquet file that is wanted whole, as Parquet, is sent as it is. Values in CSV files are read as
    numbers and truth values where all of a column are.

    Raises:
        Unreadable: it is no such file, or damaged.
    """
    async with aclosing(_on_thread(lambda: _training(path, format, limit))) as parts:
        async for part in parts:
            yield part


def _training(path: Path, format: Format, limit: int | None) -> Generator[bytes, None, None]:
    try:
        if path.suffix.lower() == ".csv":
            yield from _from_csv(path, format, limit)
        elif format is Format.PARQUET and limit is None:
            yield from _as_it_is(path)
        else:
            yield from _from_parquet(path, format, limit)
    except Unreadable:
        raise
    except (ValueError, csv.Error, OSError) as error:  # pyarrow's are of these
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unreadable(f"cannot read the training data: {first[:200]}") from error


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


def _from_csv(path: Path, format: Format, limit: int | None) -> Iterator[bytes]:
    """Twice through the file: what a column is can be told when all of it was seen."""
    parts = _csv_rows(path, limit)
    names = next(parts)[0]
    texts = _Texts(len(names))
    for rows in parts:
        texts.look(rows)
    parts = _csv_rows(path, limit)
    next(parts)
    writer = encoder(format, unique(names), texts.found())
    yield writer.head()
    for rows in parts:
        yield writer.rows(texts.read(rows))
    if last := writer.tail():
        yield last


def _csv_rows(path: Path, limit: int | None) -> Iterator[list[list[str]]]:
    """The header, alone, and then rows of as many cells, some at a time."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = filter(None, csv.reader(file))
        names = next(lines, None)
        if names is None:
            raise Unreadable("cannot read the training data: the file is empty")
        yield [names]
        wanted = itertools.islice(lines, limit)
        most = max(1, min(_ROWS, _CELLS // len(names)))
        while rows := list(itertools.islice(wanted, most)):
            for row in rows:
                if len(row) > len(names):
                    raise Unreadable(
                        "cannot read the training data: a row has more cells than the header"
                    )
                row.extend([""] * (len(names) - len(row)))
            yield rows


class _Texts:
    """What the columns of a CSV file are, and their values as such."""

    def __init__(self, columns: int) -> None:
        self._kinds: list[Kind | None] = [None] * columns

    def look(self, rows: Sequence[Sequence[str]]) -> None:
        for place, column in enumerate(zip(*rows, strict=True)):
            if self._kinds[place] is not Kind.TEXT:
                self._kinds[place] = _kind_of_texts(set(column), self._kinds[place])

    def found(self) -> list[Kind]:
        return [kind or Kind.TEXT for kind in self._kinds]

    def read(self, rows: Sequence[Sequence[str]]) -> list[Row]:
        columns = [
            [_READ[kind](cell) for cell in column]
            for kind, column in zip(self.found(), zip(*rows, strict=True), strict=True)
        ]
        return list(zip(*columns, strict=True))


def _kind_of_texts(cells: set[str], before: Kind | None) -> Kind | None:
    cells = cells - _MISSING - {""}
    if not cells:
        return before
    if before in (None, Kind.BOOL) and cells <= _BOOL.keys():
        return Kind.BOOL
    if before in (None, Kind.INT) and all(map(_INT.fullmatch, cells)):
        return Kind.INT
    if before in (None, Kind.INT, Kind.FLOAT) and all(
        _FLOAT.fullmatch(cell) or cell in _ENDLESS for cell in cells
    ):
        return Kind.FLOAT
    return Kind.TEXT


def _present(cell: str) -> bool:
    return bool(cell) and cell not in _MISSING


_READ: Mapping[Kind, Callable[[str], Any]] = {
    Kind.BOOL: _BOOL.get,
    Kind.INT: lambda cell: int(cell) if _present(cell) else None,
    Kind.FLOAT: lambda cell: float(cell) if _present(cell) else None,
    Kind.TEXT: lambda cell: cell or None,
}
