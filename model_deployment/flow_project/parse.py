"""Turns the text of ``settings.yaml`` into settings, or says line by line what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from model_deployment.core.errors import InvalidProject
from model_deployment.flow_project import search_space
from model_deployment.flow_project.settings import (
    ExperimentSettings,
    ProjectSettings,
    Resources,
    Threshold,
)
from model_deployment.flow_project.types import Misplaced
from model_deployment.flow_project.yaml_text import InvalidYaml, Path, read

#: More problems than these are not listed.
_MOST_PROBLEMS = 50
_LONGEST = 60
_PARAMETERS: dict[str, type[BaseModel]] = {
    "int": search_space.IntRange,
    "float": search_space.FloatRange,
    "categorical": search_space.Choice,
}
#: Plainer messages for types of Pydantic errors.
_PLAIN = {
    "missing": "it is missing",
    "int_type": "write a whole number",
    "float_type": "write a number",
    "bool_type": "write true or false",
    "string_type": "write a text; put words that YAML reads otherwise (no, 1, 2024-01-31) in quotes",
    "tuple_type": "write a list",
    "dict_type": "write keys with values",
    "model_type": "write keys with values",
    "model_attributes_type": "write keys with values",
    "too_short": "name at least one",
    "union_tag_not_found": "say type: int, float or categorical",
    "union_tag_invalid": "say type: int, float or categorical",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the text."""

    #: From 1; None if no line can be named.
    line: int | None
    #: Keys with dots between them; empty for the whole text.
    key: str
    message: str

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}: "
        return f"{where}{self.key}: {self.message}" if self.key else f"{where}{self.message}"


def parse(text: str) -> ProjectSettings:
    """The settings that a text means.

    Raises:
        InvalidProject: it means none; ``extra["problems"]`` lists line, key and message of each problem.
    """
    try:
        value, lines = read(text)
    except InvalidYaml as error:
        raise _invalid([Problem(error.line, "", f"this is no YAML: {error}")]) from None
    try:
        return ProjectSettings.model_validate(value)
    except ValidationError as error:
        found = dict.fromkeys(_problem(one, value, lines) for one in error.errors())
        raise _invalid([*found]) from None


def _invalid(problems: list[Problem]) -> InvalidProject:
    return InvalidProject(
        "cannot use the settings of the project: " + "; ".join(map(str, problems[:5])),
        extra={
            "problems": [
                {"line": one.line, "key": one.key, "message": one.message}
                for one in problems[:_MOST_PROBLEMS]
            ]
        },
    )


def _problem(error: ErrorDetails, value: Any, lines: Mapping[Path, int]) -> Problem:
    path = _path(error["loc"], value)
    if isinstance(misplaced := error.get("ctx", {}).get("error"), Misplaced):
        path = (*path, *misplaced.path)
    near = path
    while near and near not in lines:
        near = near[:-1]
    return Problem(lines.get(near), ".".join(map(str, path)), _message(error, path))


def _message(error: ErrorDetails, path: Path) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), _allowed(path[:-1], error["loc"][:-1]))
    if "choices" in path and kind != "too_short":
        return "write a list of texts, numbers, true, false or null"
    why = _PLAIN.get(kind)
    if why is None:
        why = (
            str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "it must be")
        )
    given = error["input"]
    if kind == "missing" or isinstance(given, Mapping | list | tuple):
        return why
    shown = str(given)[: _LONGEST + 1]
    return (
        f"{shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '...'!a} cannot be used: {why}"
    )


def _unknown_key(key: str, allowed: list[str]) -> str:
    near = get_close_matches(key, allowed, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"there is no such setting; {hint}Allowed here: {', '.join(allowed)}"


def _allowed(path: Path, loc: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel]
    match path:
        case ():
            model = ProjectSettings
        case ("resources",):
            model = Resources
        case ("experiments", _):
            model = ExperimentSettings
        case ("experiments", _, "thresholds", _):
            model = Threshold
        case _:
            model = _PARAMETERS[str(loc[-1])]
    return [field.alias or name for name, field in model.model_fields.items()]


def _path(loc: tuple[int | str, ...], value: Any) -> Path:
    """The path in the text: without what Pydantic adds for keys and kinds of unions."""
    path: list[str | int] = []
    for part in loc:
        if part == "[key]":
            break
        if isinstance(value, Mapping) and part not in value and value.get("type") == part:
            continue
        if isinstance(value, list | tuple) and not isinstance(part, int):
            break
        path.append(part)
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif part not in ("choices",) and value is not None and not isinstance(value, Mapping):
            path.pop()
            break
    return tuple(path)
