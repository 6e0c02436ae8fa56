"""All settings as a Markdown table, for the README."""

from typing import Any

from pydantic import AliasChoices, SecretStr

from model_deployment.settings.settings import Settings


def settings_table() -> str:
    """A line for each setting: its variable, its default, what it means."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        lines.append(
            f"| `{variable(name)}` | {_default(name, field.default)} | {field.description} |"
        )
    return "\n".join(lines)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return f"MODEL_DEPLOYMENT_{name.upper()}"


def _default(name: str, value: Any) -> str:
    match name, value:
        case "ports", (first, last):
            return f"`{first}-{last}`"
        case "preload", _:
            return "MLflow, pandas, scikit-learn"
        case "start_concurrency", _:
            return "cores"
        case _, bool():
            return f"`{str(value).lower()}`"
        case _, "" | () | None | SecretStr():
            return ""
        case _:
            return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
