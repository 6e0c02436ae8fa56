"""The table in a body, whatever its form: columns, with the names and values that they came with."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.gate import csv_text, forms, loads
from model_deployment.gate.verdict import Findings

#: Values that a table may have, and that are made of it: a body may be packed.
MOST_CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class BodyTable:
    """What a caller sent."""

    #: Columns without names have their place instead.
    names: Sequence[str | float]
    columns: Sequence[Sequence[Any]]
    rows: int
    #: The values are cells of CSV.
    texts: bool = False
    #: What the form tells of the columns' types, in MLflow's JSON form.
    types: Sequence[Mapping[str, Any] | None] = ()

    @property
    def numbered(self) -> bool:
        """Whether the columns have places, and no names of their own. Most forms have names only."""
        return all(str(name) == str(place) for place, name in enumerate(self.names))


def read(media_type: str, body: bytes, *, nested: bool = False) -> BodyTable | None:
    """The table of a body; None if there is none in it, or none that can be read.

    Args:
        nested: columns of the model hold lists or objects. Then MLflow takes an object in ``inputs`` or
            ``instances`` for one record, and its lists for values.

    Raises:
        MalformedJson: it is no JSON, and should be.
    """
    match media_type:
        case "application/json":
            return _from_json(loads(body), nested)
        case "text/csv":
            return _from_csv(body)
        case "application/vnd.apache.parquet":
            from model_deployment.tabular import parquet  # which takes memory

            return parquet.read(body)
    return None


def _from_json(body: Any, nested: bool) -> BodyTable | None:
    findings = Findings()
    request = forms.unwrap(body, frozenset(), findings)
    if request is None or request.llm:
        return None
    data = request.data
    if request.form == forms.SPLIT:
        frame = forms.read_split(data, findings)
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
    # Each may have columns of its own, and what a megabyte says of them is gigabytes.
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
        row.extend([""] * (width - len(row)))  # as pandas has it
    columns = list(zip(*rows, strict=True)) if rows else [()] * width
    return BodyTable(names, columns, len(rows), texts=True)
