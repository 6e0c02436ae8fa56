"""The table of all settings, as the documents have it."""

from model_deployment.settings import Settings, settings_table


def test_the_table_has_a_line_for_every_setting() -> None:
    lines = settings_table().splitlines()
    assert len(lines) == 2 + len(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        variable = name.upper() if name.endswith("_uri") else f"MODEL_DEPLOYMENT_{name.upper()}"
        (line,) = (line for line in lines if line.startswith(f"| `{variable}` |"))
        assert field.description
        assert line.endswith(f"| {' '.join(field.description.split())} |")


def test_the_table_shows_defaults_as_they_are_written() -> None:
    defaults = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in
                settings_table().splitlines()}  # fmt: skip
    assert defaults["`MODEL_DEPLOYMENT_PORTS`"] == "`8001-8100`"
    assert defaults["`MODEL_DEPLOYMENT_KEEP_MODELS`"] == "`false`"
    assert defaults["`MODEL_DEPLOYMENT_START_TIMEOUT`"] == "`120`"
    assert defaults["`MODEL_DEPLOYMENT_ENV_MANAGER`"] == "`local`"
    assert defaults["`MODEL_DEPLOYMENT_START_CONCURRENCY`"] == "cores"
    assert defaults["`MODEL_DEPLOYMENT_MAX_HELD_BYTES`"] == "an eighth of the memory"
    assert defaults["`MLFLOW_TRACKING_URI`"] == ""
    assert not [name for name, default in defaults.items() if "Undefined" in default]
