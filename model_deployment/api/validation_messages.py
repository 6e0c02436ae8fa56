"""What does not fit in a call of the API, in words for its caller. Pure."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

#: Misfits that are told one by one, and characters of a value that are shown.
_TOLD, _SHOWN = 20, 60
_SHOULD = "Input should be "
#: By the ends of Pydantic's names of errors.
_SHAPES = {
    "dict_type": "a JSON object",
    "attributes_type": "a JSON object",
    "model_type": "a JSON object",
    "tuple_type": "a list",
    "list_type": "a list",
}
_PLACES = {"query": "the query parameter {}", "path": "{} in the path", "header": "the header {}"}


def misfits(errors: Sequence[Mapping[str, Any]], body: Any) -> dict[str, Any]:
    """The members of a problem document about what Pydantic found.

    Args:
        body: the annotation of the call's body; None where it takes none.
    """
    told = [
        {
            "field": ".".join(map(_part, error.get("loc", ()))) or "request",
            "problem": _what(error, body),
        }
        for error in errors[:_TOLD]
    ]
    where, what = (
        (_where(errors[0]), told[0]["problem"]) if told else ("the request", "it is invalid")
    )
    more = f" ({len(errors) - 1} more below)" if len(errors) > 1 else ""
    return {
        "detail": f"cannot use {where}: {what}{more}",
        "errors": told,
        "error_count": len(errors),
    }


def _part(part: Any) -> str:
    # Half a character would not be written as JSON.
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
        return "it has half a character in it"
    if kind == "json_invalid":
        what = (error.get("ctx") or {}).get("error", said)
        return f"it is no JSON: {what} at character {error['loc'][-1]}"
    for end, shape in _SHAPES.items():
        if kind.endswith(end):
            return f"it has to be {shape}, got {_got(error.get('input'))}"
    if said.startswith(_SHOULD):
        what = said.removeprefix(_SHOULD).partition(", unable")[0]
        return f"it has to be {what}, got {_got(error.get('input'))}"
    if said == "Field required":
        return "it is missing"
    return said.removeprefix("Value error, ").replace(" after validation", "")


def _unknown(place: Sequence[Any], body: Any) -> str:
    names = [*_names(body, place[1:-1])]
    if near := difflib.get_close_matches(str(place[-1]).lower(), names, 1):
        return f"there is no such member; did you mean {near[0]}?"
    return "there is no such member" + (f"; known are {', '.join(names)}" if names else "")


def _got(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, bytes):
        return "bytes"
    text = json.dumps(value, default=repr)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _names(annotation: Any, path: Sequence[Any]) -> Iterator[str]:
    """The members that there are at a place of a body."""
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
