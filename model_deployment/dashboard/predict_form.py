"""The predict form: a field for each column and parameter of a signature, filled from the example. Pure.

If the signature is not a list of named columns, or one column without a name, the form is the whole request
as JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from model_deployment.core.errors import InvalidRequest
from model_deployment.dashboard.predict_table import JSON, TEXTS, table
from model_deployment.gate.body_forms import FORMS
from model_deployment.gate.nested_rules import COMPLEX

#: Fields at most: nobody fills in more by hand.
_MAX_FIELDS = 150
#: Bytes of a request that is shown indented, with a line for each value; the command line for a larger
#: tensor would become too long for a shell.
_SHORT = 8000
_NUMBERS = {"integer", "long", "float", "double"}
#: Rows of the example that the form offers.
_EXAMPLE_ROWS = 20
#: The name of the field of a column without a name.
_UNNAMED = "input"
_HINTS = {
    "integer": "whole number",
    "long": "whole number",
    "float": "number",
    "double": "number",
    "datetime": "2026-01-31T12:00:00",
    "binary": "base64",
}


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: str
    #: ``number``, ``text``, ``boolean`` or ``json``.
    widget: str
    required: bool
    #: The text in the field; empty if the value is left out.
    value: str
    hint: str
    #: The model's example has missing values in this column: an empty field is sent as null.
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    #: None: the user writes the request as JSON.
    columns: tuple[Field, ...] | None
    params: tuple[Field, ...]
    #: The whole request as JSON.
    body: str
    #: Why there are no fields.
    why: str = ""
    #: Rows of the example, as texts in the order of the columns; the first one is in the fields.
    rows: tuple[tuple[str, ...], ...] = ()
    #: The model has one column, without a name: a request is a list of its values.
    unnamed: bool = False


def form(signature: Mapping[str, Any] | None, request: Any) -> Form:
    """The form of a model.

    Args:
        signature: in MLflow's form, None for a model without one.
        request: the model's example, or one that was made from the signature; None if nothing is known.
    """
    try:
        body = _json(request)
    except orjson.JSONEncodeError:  # nested more deeply than it can be written
        request = {"inputs": []}
        body = _json(request)
    body = "" if request is None else _in_lines(request) if len(body) < _SHORT else body
    params = tuple(_param(one) for one in (signature or {}).get("params") or [])
    inputs = (signature or {}).get("inputs")
    if not inputs:
        why = (
            "" if request is not None else "It has no example either: write what its code expects."
        )
        return Form(None, params, body, why)
    names = [_name(column) for column in inputs]
    if names == [None] and (values := _values(inputs[0], request)):
        first = replace(_column(_UNNAMED, inputs[0], None), value=values[0])
        rows = tuple((text,) for text in values)
        return Form((first,), params, body, rows=rows, unnamed=True)
    if None in names or len(set(names)) < len(names):
        return Form(None, params, body, "The model takes tensors, or columns without names.")
    if len(inputs) > _MAX_FIELDS:
        return Form(None, params, body, f"The model has {len(inputs)} columns.")
    whole = any(column["type"] in COMPLEX for column in inputs)
    record = _first(request, whole)
    columns = tuple(
        _column(str(name), column, record.get(str(name)))
        for name, column in zip(names, inputs, strict=True)
    )
    return Form(columns, params, body, rows=_rows(signature, request, columns))


def _values(column: Mapping[str, Any], request: Any) -> list[str]:
    """The values of a request for a model that takes a list of them, such as texts; else nothing."""
    values = request.get("inputs") if isinstance(request, dict) else None
    kind = str(column["type"])
    if kind not in (*_NUMBERS, *TEXTS) or not isinstance(values, list):
        return []
    if any(value is None or isinstance(value, list | dict) for value in values):
        return []
    return [_typed(kind, value) for value in values[:_EXAMPLE_ROWS]]


def _rows(
    signature: Mapping[str, Any] | None, request: Any, columns: tuple[Field, ...]
) -> tuple[tuple[str, ...], ...]:
    """The rows of the example; the first one is that of the fields."""
    first = tuple(column.value for column in columns)
    try:
        found = table(JSON, _json(request).encode(), signature, _EXAMPLE_ROWS)
    except InvalidRequest:  # an example may be malformed
        return (first,)
    places = {name: place for place, name in enumerate(found.names)}
    return (
        first,
        *(
            tuple(row[places[column.name]] if column.name in places else "" for column in columns)
            for row in found.rows[1:]
        ),
    )


def _name(column: Mapping[str, Any]) -> str | None:
    """The name as a key of a JSON record, where a number becomes text."""
    name = column.get("name")
    return name if isinstance(name, str) else _json(name) if _is_number(name) else None


def _is_number(name: Any) -> bool:
    return isinstance(name, int | float) and not isinstance(name, bool)


def _column(name: str, column: Mapping[str, Any], value: Any) -> Field:
    kind = str(column["type"])
    return Field(
        name=name,
        kind=kind,
        widget=_widget(kind),
        required=bool(column.get("required", True)),
        value=_typed(kind, value),
        hint=_HINTS.get(kind, "JSON" if _widget(kind) == "json" else ""),
        nullable=bool(column.get("nullable")),
    )


def _param(param: Mapping[str, Any]) -> Field:
    kind = str(param.get("type") or param.get("dtype") or "any")
    listed = param.get("shape") is not None
    return Field(
        name=str(param.get("name")),
        kind=f"list of {kind}" if listed else kind,
        widget="json" if listed else _widget(kind),
        required=False,
        value="",
        hint=f"default {_json(param.get('default'))}"[:60],
    )


def _widget(kind: str) -> str:
    if kind == "boolean":
        return "boolean"
    return "number" if kind in _NUMBERS else "text" if kind in TEXTS else "json"


def _typed(kind: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and kind in TEXTS:
        return value
    return _json(value)


def _first(request: Any, whole: bool) -> dict[str, Any]:
    """The first record of a scoring request.

    Args:
        whole: an object in ``inputs`` is one record, whose values may be lists.
    """
    if not isinstance(request, dict):
        return {}
    if not FORMS & request.keys():
        return {name: value for name, value in request.items() if name != "params"}
    split, records = request.get("dataframe_split"), request.get("dataframe_records")
    if isinstance(split, dict):
        return _first_of_split(split.get("columns"), split.get("data"))
    if isinstance(records, list) and records and isinstance(records[0], dict):
        return records[0]
    inputs = request.get("inputs", request.get("instances"))
    if isinstance(inputs, list) and inputs and isinstance(inputs[0], dict):
        return inputs[0]
    if isinstance(inputs, dict):
        return {
            name: one[0] if isinstance(one, list) and one and not whole else one
            for name, one in inputs.items()
        }
    return _first_of_split(None, inputs)


def _first_of_split(names: Any, data: Any) -> dict[str, Any]:
    """An example may be malformed: any part of it can have any type."""
    if not isinstance(data, list) or not data or not isinstance(data[0], list):
        return {}
    if names is None:
        names = list(range(len(data[0])))
    keys = [_name({"name": name}) for name in names] if isinstance(names, list) else [None]
    if None in keys:
        return {}
    return {str(key): value for key, value in zip(keys, data[0], strict=False)}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _in_lines(value: Any, indent: str = "") -> str:
    """Indented JSON, with lists of plain values in one line each."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        members = [
            f"{inner}{_json(str(key))}: {_in_lines(one, inner)}" for key, one in value.items()
        ]
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(one, list | dict) and one for one in value):
        return "[\n" + ",\n".join(inner + _in_lines(one, inner) for one in value) + f"\n{indent}]"
    return f"[{', '.join(map(_json, value))}]" if isinstance(value, list) else _json(value)
