"""The predict form: a field for each column and parameter of a signature, filled from the example. Pure.

If the signature is not a list of named columns, the form is the whole request as JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from model_deployment.gate.body_forms import FORMS
from model_deployment.gate.nested_rules import COMPLEX

#: Fields at most: nobody fills in more by hand.
_MAX_FIELDS = 150
#: Bytes of a request that is shown indented, with a line for each value; the command line for a larger
#: tensor would become too long for a shell.
_SHORT = 8000
_NUMBERS = {"integer", "long", "float", "double"}
_TEXTS = {"string", "datetime", "binary"}
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


def form(signature: Mapping[str, Any] | None, request: Any) -> Form:
    """The form of a model.

    Args:
        signature: in MLflow's form, None for a model without one.
        request: the model's example, or one that was made from the signature.
    """
    try:
        body = _json(request, pretty=False)
    except orjson.JSONEncodeError:  # nested more deeply than it can be written
        request = {"inputs": []}
        body = _json(request, pretty=False)
    if len(body) < _SHORT:
        body = _json(request)
    params = tuple(_param(one) for one in (signature or {}).get("params") or [])
    inputs = (signature or {}).get("inputs")
    if not inputs:
        return Form(None, (), body, "The model has no signature, so requests are not checked.")
    names = [_name(column) for column in inputs]
    if None in names or len(set(names)) < len(names):
        return Form(None, (), body, "The model takes tensors, or columns without names.")
    if len(inputs) > _MAX_FIELDS:
        return Form(None, (), body, f"The model has {len(inputs)} columns.")
    whole = any(column["type"] in COMPLEX for column in inputs)
    record = _first(request, whole)
    columns = tuple(
        _column(str(name), column, record.get(str(name)))
        for name, column in zip(names, inputs, strict=True)
    )
    return Form(columns, params, body)


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
        hint=f"default {_json(param.get('default'), pretty=False)}"[:60],
    )


def _widget(kind: str) -> str:
    if kind == "boolean":
        return "boolean"
    return "number" if kind in _NUMBERS else "text" if kind in _TEXTS else "json"


def _typed(kind: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and kind in _TEXTS:
        return value
    return _json(value, pretty=False)


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


def _json(value: Any, *, pretty: bool = True) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if pretty else 0).decode()
