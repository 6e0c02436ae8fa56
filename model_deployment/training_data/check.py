"""The process that checks one upload: ``python -m model_deployment.training_data.check``.

It reads a :class:`Task` from its standard input and writes a JSON object to its standard output, both as
:mod:`~model_deployment.training_data.checking` has them. It runs apart from the controller, with limits of
memory and processor time, because the file can be made to break its reader.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from model_deployment.training_data.columns import MISSING, ColumnCheck, Kind, kind_of_type
from model_deployment.training_data.tables import Table, TooMuch, UnreadableTable, read, sniff
from model_deployment.worker import limits

#: Rows of the original data that say what its columns are.
_ORIGINAL_ROWS = 200_000
#: Columns that a message lists, and that the answer has.
_LISTED, _ANSWERED = 5, 200


def check(task: Mapping[str, Any]) -> dict[str, Any]:
    """Check a file.

    Args:
        task: ``path``, ``declared`` (format or null), ``original`` (path), ``missing`` (texts),
            ``most_bytes``.

    Returns:
        ``format``, ``rows`` and ``columns``; or a ``refusal``: what does not fit (``misfit``), cannot be
        read (``unreadable``), is too large (``too_large``), or ails the ``original``.
    """
    most_bytes = task["most_bytes"]
    try:
        expected = _kinds(Path(task["original"]), task["missing"], most_bytes)
    except (UnreadableTable, OSError) as error:
        return _refusal("original", (isinstance(error, OSError) and error.strerror) or str(error))
    path = Path(task["path"])
    try:
        format = sniff(path)
        if task["declared"] not in (None, format):
            return _refusal(
                "media", f"it is declared as {task['declared']}, but its content is {format}"
            )
        table = read(path, format, most_bytes=most_bytes)
        if gone := [name for name in expected if name not in table.names]:
            return _gone(gone, table)
        return _compared(table, expected, task["missing"])
    except TooMuch as error:
        return _refusal("too_large", str(error))
    except UnreadableTable as error:
        return _refusal("unreadable", str(error), list(error.errors))


def _compared(table: Table, expected: Mapping[str, Kind], missing: list[str]) -> dict[str, Any]:
    checks = [ColumnCheck(name, expected.get(name, Kind.TEXT)) for name in table.names]
    absent = pa.array([*MISSING, *missing])
    rows = 0
    for batch in table.batches:
        for one, values in zip(checks, batch.columns, strict=True):
            one.add(values, absent, rows)
        rows += batch.num_rows
    if not rows:
        return _refusal("unreadable", "it has a header, but no rows")
    texts = table.format == "csv"
    if misfits := [found for one in checks if (found := one.misfit(texts=texts))]:
        told = "; ".join(f"{one['column']}: {one['message']}" for one in misfits[:_LISTED])
        more = f"; and {len(misfits) - _LISTED} more columns" if len(misfits) > _LISTED else ""
        return _refusal("misfit", told + more, misfits[:_ANSWERED])
    types = zip(checks, table.types, strict=True)
    return {
        "format": table.format,
        "rows": rows,
        "columns": [
            {"name": one.name, "type": str(one.kind) if texts else str(type_)}
            for one, type_ in types
        ],
    }


def _gone(gone: list[str], table: Table) -> dict[str, Any]:
    listed = ", ".join(map(repr, gone[:20])) + " …" * (len(gone) > 20)
    found = ", ".join(map(repr, table.names[:20])) + " …" * (len(table.names) > 20)
    errors = [
        {"column": name, "message": "the original data has it, this file has not", "rows": []}
        for name in gone[:_ANSWERED]
    ]
    return _refusal(
        "misfit", f"columns of the original data are missing: {listed}; it has {found}", errors
    )


def _kinds(path: Path, missing: list[str], most_bytes: int) -> dict[str, Kind]:
    """What the columns of the original data are, by their first rows."""
    table = read(path, sniff(path), most_bytes=max(most_bytes, 1 << 40))
    checks = [ColumnCheck(name, Kind.TEXT) for name in table.names]
    absent = pa.array([*MISSING, *missing])
    rows = 0
    for batch in table.batches:
        for one, values in zip(checks, batch.columns, strict=True):
            one.add(values, absent, rows)
        rows += batch.num_rows
        if rows >= _ORIGINAL_ROWS:
            break
    if table.format == "parquet":  # its texts are meant as texts
        return {
            name: kind_of_type(type_) or Kind.TEXT
            for name, type_ in zip(table.names, table.types, strict=True)
        }
    return {one.name: one.kind for one in checks}


def _refusal(kind: str, message: str, errors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"refusal": kind, "message": message, "errors": errors or []}


def _limit(memory: int, seconds: int) -> None:
    # It writes its answer to a pipe, and nothing else.
    limits.limit_resources(memory, seconds, file_bytes=0)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    # Its allocations fail at the limit; those of others are taken from a reserve made in advance.
    pa.set_memory_pool(pa.system_memory_pool())


def main() -> None:
    """Check the file that the standard input names."""
    task = json.load(sys.stdin)
    limits.end_with(task["parent"])
    _limit(task["memory"], task["seconds"])
    try:
        answer = check(task)
    except (MemoryError, pa.ArrowMemoryError):
        answer = _refusal("too_large", "unpacking the table takes too much memory; send fewer rows")
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
