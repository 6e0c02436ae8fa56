"""Reads the table of a request body in any format: columns with the caller's names and values."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model_deployment.gate import body_forms, csv_text, loads
from model_deployment.gate.body_forms import ParsedBody
from model_deployment.gate.check_result import Findings

#: Most values of a table: a small body may describe a large table.
MOST_CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class BodyTable:
    #: Columns without names have their position instead.
    names: Sequence[str | float]
    columns: Sequence[Sequence[Any]]
    rows: int
    #: Whether the values are cells of CSV.
    texts: bool = False
    #: Types of the columns as far as the format has them, in MLflow's JSON form.
    types: Sequence[Mapping[str, Any] | None] = ()
    #: Whether the body has parameters beside the table.
    has_params: bool = False
    #: Whether the body is one call of a chat model: its members are the columns of one row.
    is_chat: bool = False

    @property
    def numbered(self) -> bool:
        """Whether the columns have positions instead of names; most formats write both as names."""
        return all(str(name) == str(place) for place, name in enumerate(self.names))


def read(media_type: str, body: bytes, *, nested: bool = False) -> BodyTable | None:
    """The table of a body; None if the body has none, or an unreadable one.

    Args:
        nested: whether columns of the model hold lists or objects. Then MLflow reads an object in
            ``inputs`` or ``instances`` as one record, and its lists as values.

    Raises:
        MalformedJson: the body is not valid JSON.
    """
    match media_type:
        case "application/json":
            return _from_json(loads(body), nested)
        case "text/csv":
            return _from_csv(body)
        case "application/vnd.apache.parquet":
            from model_deployment.tabular import parquet  # on demand: Arrow takes memory

            return parquet.read(body)
    return None


def _from_json(body: Any, nested: bool) -> BodyTable | None:
    request = body_forms.parse(body, frozenset(), Findings())
    if request is None:
        return None
    if request.llm:
        columns = [[value] for value in body.values()]
        return BodyTable(list(body), columns, 1, is_chat=True)
    table = _from_request(request, nested)
    return replace(table, has_params=True) if table is not None and request.params else table


def _from_request(request: ParsedBody, nested: bool) -> BodyTable | None:
    data = request.data
    if request.form == body_forms.SPLIT:
        frame = body_forms.read_split(data, Findings())
        return None if frame is None else BodyTable(list(frame.names), frame.values, frame.rows)
    if type(data) is dict:
        return _of_records([data]) if nested else _of_columns(data)
    if type(data) is not list or not data:
        return None
    kinds = set(map(type, data))
    if kinds == {dict}:
        return _of_records(data)
    if kinds == {list}:
        width = len(data[0])
        same = width and set(map(len, data)) == {width}
        return BodyTable(range(width), list(zip(*data, strict=True)), len(data)) if same else None
    return None if kinds & {dict, list} else BodyTable([0], [data], len(data))


def _of_records(records: list[dict[str, Any]]) -> BodyTable | None:
    names = list(dict.fromkeys(name for record in records for name in record))
    # Each record may have columns of its own: a megabyte could describe gigabytes.
    if len(names) * len(records) > max(MOST_CELLS, 2 * sum(map(len, records))):
        return None
    return BodyTable(
        names, [[record.get(name) for record in records] for name in names], len(records)
    )


def _of_columns(data: dict[str, Any]) -> BodyTable | None:
    columns = {name: one if type(one) is list else [one] for name, one in data.items()}
    lengths = set(map(len, columns.values()))
    if len(lengths) != 1:
        return None
    return BodyTable(list(columns), list(columns.values()), lengths.pop())


def _from_csv(body: bytes) -> BodyTable | None:
    try:
        lines = csv_text.lines(body.decode("utf-8"))
        names, *rows = [line for line in lines if not csv_text.is_blank(line)] or [[]]
    except (UnicodeDecodeError, csv.Error):
        return None
    width = len(names)
    if not names or max(map(len, rows), default=0) > width or width * len(rows) > MOST_CELLS:
        return None
    for row in rows:
        row.extend([""] * (width - len(row)))  # as pandas does
    columns = list(zip(*rows, strict=True)) if rows else [()] * width
    return BodyTable(names, columns, len(rows), texts=True)
