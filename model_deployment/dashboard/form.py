"""A model's signature as a form: a field for each column and parameter, filled in from the example. Pure.

Where a signature is no list of plain columns, the form is the request itself, as JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from model_deployment.gate.body_forms import FORMS
from model_deployment.gate.nested_rules import COMPLEX

#: Fields that somebody would still fill in by hand.
MOST = 150
#: Bytes of a request that is shown with a line for each value; with those of a tensor it would be too
#: long for a shell.
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
    """One value that somebody may type."""

    name: str
    kind: str
    #: ``number``, ``text``, ``boolean`` or ``json``.
    widget: str
    required: bool
    #: As it is typed; empty where it is left out.
    value: str
    hint: str
    #: The model's own example has missing values there: a field that is left empty is null.
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """What a prediction is asked with."""

    #: None: the request is written as JSON.
    columns: tuple[Field, ...] | None
    params: tuple[Field, ...]
    #: The whole request as JSON.
    body: str
    #: Why there are no fields.
    why: str = ""


def form(signature: Mapping[str, Any] | None, example: Any, sample: Any) -> Form:
    """The form of a model.

    Args:
        signature: in MLflow's own form, None where the model has none.
        example: its own scoring request, if it has one.
        sample: one made from the signature.
    """
    request = example if example is not None and _can_be_told(example) else sample
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
    if len(inputs) > MOST:
        return Form(None, (), body, f"The model has {len(inputs)} columns.")
    whole = any(column["type"] in COMPLEX for column in inputs)
    record, made = _first(request, whole), _first(sample, whole)
    columns = tuple(
        _column(str(name), column, (record or made).get(str(name)))
        for name, column in zip(names, inputs, strict=True)
    )
    return Form(columns, params, body)


def _name(column: Mapping[str, Any]) -> str | None:
    """As a key of a record, in which a number is text."""
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
        whole: an object in ``inputs`` is one record, of which any value may be a list.
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
        return {name: one[0] if _full(one) and not whole else one for name, one in inputs.items()}
    return _first_of_split(None, inputs)


def _first_of_split(names: Any, data: Any) -> dict[str, Any]:
    """Examples are written by anybody, so that any part of one may be anything."""
    if not isinstance(data, list) or not data or not isinstance(data[0], list):
        return {}
    if names is None:
        names = list(range(len(data[0])))
    keys = [_name({"name": name}) for name in names] if isinstance(names, list) else [None]
    if None in keys:
        return {}
    return {str(key): value for key, value in zip(keys, data[0], strict=False)}


def _full(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0


def _can_be_told(value: Any) -> bool:
    """Whether JSON can be made of it: of what is nested very deeply it cannot, though it can be read."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


def _json(value: Any, *, pretty: bool = True) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if pretty else 0).decode()
