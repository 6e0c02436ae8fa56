"""The settings of a project as tables, for the documentation."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from model_deployment.flow_project.search_space import Choice, FloatRange, IntRange
from model_deployment.flow_project.settings import (
    ExperimentSettings,
    ProjectSettings,
    Resources,
    Threshold,
)

_TABLES: Mapping[str, type[BaseModel]] = {
    "The file": ProjectSettings,
    "Resources (`resources`)": Resources,
    "An experiment (below `experiments`)": ExperimentSettings,
    "A threshold (below `thresholds`, by metric)": Threshold,
    "A range of whole numbers (below `search_space`, by model type and parameter)": IntRange,
    "A range of numbers (there too)": FloatRange,
    "One of some values (there too)": Choice,
}


def settings_tables() -> str:
    """Markdown: a section with a table for each mapping of ``settings.yaml``."""
    return "\n\n".join(_section(title, model) for title, model in _TABLES.items())


def _section(title: str, model: type[BaseModel]) -> str:
    rows = [f"## {title}", "", "| key | default | meaning |", "| --- | --- | --- |"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _shown(field.get_default())
        meaning = " ".join((field.description or "").split())
        rows.append(f"| `{field.alias or name}` | {default} | {meaning} |")
    return "\n".join(rows)


def _shown(value: Any) -> str:
    match value:
        case BaseModel() | None | "" | {}:
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case StrEnum() | str():
            return f"`{value}`"
        case tuple():
            return ", ".join(f'`"{one}"`' for one in value)
        case float() if value.is_integer():
            return f"`{int(value)}`"
    return f"`{value}`"
