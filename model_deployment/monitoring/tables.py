"""The rows in a body, whatever its form: columns by name, values as they came."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from model_deployment.gate import forms, loads
from model_deployment.gate.verdict import Findings

#: Columns, and rows of as many values.
Rows = tuple[list[str], list[Sequence[Any]]]


def table(media_type: str, body: bytes) -> Rows | None:
    """The rows of a body; None if there is no table in it, or none that can be read without pandas.

    Columns without names are called ``f0``, ``f1`` and so on.

    Raises:
        MalformedJson: it is no JSON, and should be.
    """
    if media_type == "application/json":
        return _from_json(loads(body))
    if media_type == "text/csv":
        return _from_csv(body)
    return None


def _from_json(body: Any) -> Rows | None:
    findings = Findings()
    request = forms.unwrap(body, frozenset(), findings)
    if request is None or request.llm:
        return None
    data = request.data
    if request.form == forms.SPLIT:
        frame = forms.read_split(data, findings)
        if frame is None:
            return None
        names = [name if type(name) is str else f"f{name}" for name in frame.names]
        return names, list(zip(*frame.values, strict=True)) if frame.rows else []
    if type(data) is list and data and set(map(type, data)) == {dict}:
        names = list(dict.fromkeys(name for record in data for name in record))
        return names, [[record.get(name) for name in names] for record in data]
    if type(data) is dict:
        return _from_columns(data)
    if type(data) is list and data and set(map(type, data)) == {list}:
        width = max(map(len, data))
        if set(map(len, data)) == {width} and width:
            return [f"f{place}" for place in range(width)], data
    return None


def _from_columns(data: dict[str, Any]) -> Rows | None:
    columns = {name: one if type(one) is list else [one] for name, one in data.items()}
    if not columns or len(set(map(len, columns.values()))) != 1:
        return None
    return list(columns), list(zip(*columns.values(), strict=True))


def _from_csv(body: bytes) -> Rows | None:
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    names, *rows = [line for line in lines if line] or [[]]
    if not names or not set(map(len, rows)) <= {len(names)}:
        return None
    return names, [[_value(cell) for cell in row] for row in rows]


def _value(cell: str) -> Any:
    if not cell:
        return None
    try:
        if "_" in cell:
            return cell
        return int(cell) if cell.lstrip("+-").isdecimal() else float(cell)
    except ValueError:
        return cell
