"""Messages for callers about what Pydantic found wrong with their request. Pure."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

#: Errors that are listed, and characters of a value that are shown.
_LISTED, _SHOWN = 20, 60
_SHOULD = "Input should be "
#: By the last part of the type of a Pydantic error.
_SHAPES = {
    "dict_type": "a JSON object",
    "attributes_type": "a JSON object",
    "model_type": "a JSON object",
    "tuple_type": "a list",
    "list_type": "a list",
}
_PLACES = {"query": "the query parameter {}", "path": "{} in the path", "header": "the header {}"}


def describe_errors(errors: Sequence[Mapping[str, Any]], body: Any) -> dict[str, Any]:
    """The members of a problem document about errors that Pydantic found.

    Args:
        body: the annotation of the body that the call takes; None if it takes none.
    """
    listed = [
        {
            "field": ".".join(map(_part, error.get("loc", ()))) or "request",
            "problem": _what(error, body),
        }
        for error in errors[:_LISTED]
    ]
    where, what = (
        (_where(errors[0]), listed[0]["problem"]) if listed else ("the request", "it is invalid")
    )
    more = f" ({len(errors) - 1} more below)" if len(errors) > 1 else ""
    return {
        "detail": f"cannot use {where}: {what}{more}",
        "errors": listed,
        "error_count": len(errors),
    }


def _part(part: Any) -> str:
    # Half of a surrogate pair cannot be encoded.
    return str(part)[:_SHOWN].encode(errors="replace").decode()


def _where(error: Mapping[str, Any]) -> str:
    kind, *path = error.get("loc") or ("request",)
    if kind in _PLACES and path:
        return _PLACES[kind].format(".".join(map(_part, path)))
    if not path or error.get("type") == "json_invalid":
        return f"the {kind}"
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{_part(part)}" for part in path)
    return f"{place.removeprefix('.')} in the body"


def _what(error: Mapping[str, Any], body: Any) -> str:
    kind, said = str(error.get("type")), str(error.get("msg", "invalid"))
    if kind == "extra_forbidden":
        return _unknown(error["loc"], body)
    if kind == "string_unicode":
        return "it contains half of a surrogate pair"
    if kind == "json_invalid":
        what = (error.get("ctx") or {}).get("error", said)
        return f"it is not JSON: {what} at character {error['loc'][-1]}"
    for end, shape in _SHAPES.items():
        if kind.endswith(end):
            return f"it must be {shape}, got {_got(error.get('input'))}"
    if said.startswith(_SHOULD):
        what = said.removeprefix(_SHOULD).partition(", unable")[0]
        return f"it must be {what}, got {_got(error.get('input'))}"
    if said == "Field required":
        return "it is missing"
    return said.removeprefix("Value error, ").replace(" after validation", "")


def _unknown(place: Sequence[Any], body: Any) -> str:
    names = [*_names(body, place[1:-1])]
    if near := difflib.get_close_matches(str(place[-1]).lower(), names, 1):
        return f"there is no such member; did you mean {near[0]}?"
    return "there is no such member" + (f"; the members are {', '.join(names)}" if names else "")


def _got(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, bytes):
        return "bytes"
    text = json.dumps(value, default=repr)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _names(annotation: Any, path: Sequence[Any]) -> Iterator[str]:
    """The members that a body may have at a place."""
    for model in _models(annotation):
        if not path:
            yield from model.model_fields
        elif isinstance(path[0], int):
            yield from _names(annotation, path[1:])
        elif path[0] in model.model_fields:
            yield from _names(model.model_fields[path[0]].annotation, path[1:])


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
