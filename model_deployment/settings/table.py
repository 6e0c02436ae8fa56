"""All settings as a Markdown table."""

from typing import Any

from pydantic import AliasChoices, SecretStr

from model_deployment.settings.deploy_defaults import DeployDefaults
from model_deployment.settings.launch_settings import LaunchSettings
from model_deployment.settings.settings import Settings


def settings_table() -> str:
    """One row for each setting; those of launches and the defaults of deploy options come last."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    fields = Settings.model_fields
    bases = (LaunchSettings.model_fields, DeployDefaults.model_fields)
    for name in sorted(fields, key=lambda name: sum(name in base for base in bases)):
        meaning = " ".join((fields[name].description or "").split())
        lines.append(f"| `{variable(name)}` | {_default(name, fields[name].default)} | {meaning} |")
    return "\n".join(lines)


def variable(name: str) -> str:
    """The environment variable that holds a setting."""
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
        case "proxies", _:
            return "half the cores"
        case "max_held_bytes", _:
            return "an eighth of the memory"
        case _, bool():
            return f"`{str(value).lower()}`"
        case _, "" | () | None | SecretStr():
            return ""
        case _:
            return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
