"""Settings from variables: units, what is said of values that cannot be used, and slips in names."""

import typing

import pytest
from pydantic import SecretStr

from model_deployment.core.errors import InvalidSettings
from model_deployment.settings import Settings, load, misspelt
from model_deployment.settings.table import variable
from model_deployment.settings.types import Bytes, Days, Hours, Seconds

#: What a bare number counts, for each kind that has units.
UNITS = {Seconds: ("2m", 120), Hours: ("3d", 72), Days: ("36h", 1.5), Bytes: ("3MiB", 3 * 1024**2)}
#: Settings that such a small value does not fit.
LARGE = {"memory_limit": ("300MiB", 300 * 1024**2)}
#: A setting of each number that takes no unit: it counts things.
COUNTS = {
    "port", "probe_failures", "tries", "start_concurrency", "max_connections", "max_queue", "capture_rate",
    "proxies", "keep_uploads", "devices",
}  # fmt: skip


def kinds() -> dict[str, object]:
    return typing.get_type_hints(Settings, include_extras=True)


def test_every_number_has_a_unit_or_counts_things() -> None:
    numbers = {
        name
        for name, kind in kinds().items()
        if name in Settings.model_fields
        and Settings.model_fields[name].annotation in (int, float)
        and kind not in UNITS
    }
    assert numbers == COUNTS


@pytest.mark.parametrize(
    "name", [name for name, kind in kinds().items() if kind in UNITS and name in Settings.model_fields]
)  # fmt: skip
def test_every_duration_and_size_is_read_with_its_unit(
    environment: pytest.MonkeyPatch, name: str
) -> None:
    text, expected = LARGE.get(name) or UNITS[kinds()[name]]  # type: ignore[index]
    environment.setenv(variable(name), text)
    assert getattr(load(), name) == expected
    environment.setenv(variable(name), "many")
    with pytest.raises(InvalidSettings, match=rf"cannot use {variable(name)}='many': write a "):
        load()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("REPORT_EVERY", "1x", "='1x': write a number of seconds, or a duration like 30s"),
        ("REPORT_EVERY", "-1", "='-1': it must be greater than or equal to 0"),
        ("REPORT_EVERY", "nan", "='nan': it must be a finite number"),
        ("REPORT_WINDOW", "200000d", "='200000d': it is longer than 36500 days"),
        ("REPORT_WINDOW", "9" * 400 + "s", "write a number of seconds"),
        ("RETENTION_DAYS", "1e9", "='1e9': it is longer than 36500 days"),
        ("SPOOL_BYTES", "1k", "='1k': it must be greater than or equal to 1048576"),
        ("ALIAS_POLL", "0.4", "='0.4': it must be greater than or equal to 0.5"),
        ("PORTS", "9", "='9': write a range of ports as first-last"),
        ("KEEP_MODELS", "perhaps", "='perhaps': write true or false"),
        ("ENV_MANAGER", "docker", "='docker': it must be 'local', 'uv', 'virtualenv' or 'conda'"),
        ("PRELOAD", "numpy,my mod", "='numpy,my mod': 'my mod' is not the name of a module"),
        ("LOG_LEVEL", "x" * 200, f"='{'x' * 80}...': it must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("TRAINING_DATA", "ftp://u:hush@host/", "='ftp://u:***@host/': cannot allow training data from"),
        ("WEBHOOK_URL", "ftp://host/hush", ": write https://HOST/PATH"),
    ],
)  # fmt: skip
def test_errors_name_the_variable_and_what_is_understood(
    environment: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    environment.setenv(f"MODEL_DEPLOYMENT_{name}", value)
    with pytest.raises(InvalidSettings) as refused:
        load()
    assert refused.value.detail.startswith(f"cannot use MODEL_DEPLOYMENT_{name}")
    assert says in refused.value.detail
    assert "Input" not in refused.value.detail
    assert "hush" not in refused.value.detail


def test_two_settings_that_do_not_fit_are_both_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MODEL_DEPLOYMENT_PORT", "8050")
    with pytest.raises(InvalidSettings, match=r"MODEL_DEPLOYMENT_PORT, MODEL_DEPLOYMENT_PORTS"):
        load()


def test_an_option_of_the_command_line_is_named_as_it_was_given() -> None:
    with pytest.raises(InvalidSettings, match=r"cannot use --port='70000': it must be less than"):
        load(port=70000, host=None)


def test_errors_of_settings_are_all_listed(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MODEL_DEPLOYMENT_TRIES", "0")
    environment.setenv("MODEL_DEPLOYMENT_STOP_GRACE", "soon")
    with pytest.raises(InvalidSettings) as refused:
        load()
    assert len(refused.value.detail.splitlines()) == 2


def test_no_secret_is_repeated(environment: pytest.MonkeyPatch) -> None:
    secret = {name for name, field in Settings.model_fields.items() if field.repr is False}
    secret |= {n for n, field in Settings.model_fields.items() if field.annotation is SecretStr}
    for name in secret:
        with pytest.raises(InvalidSettings) as refused:
            load(**{name: ["hush"]})  # of no kind that any of them takes
        assert "hush" not in refused.value.detail, name
    assert secret == {
        *("password", "documents_url", "webhook_url", "mlflow_webhook_secret", "flows_api_auth")
    }


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("MODEL_DEPLOYMENT_REPORT_EVRY", "did you mean MODEL_DEPLOYMENT_REPORT_EVERY?"),
        ("MODEL_DEPLOYMENT_REPORTS_EVERY", "did you mean MODEL_DEPLOYMENT_REPORT_EVERY?"),
        ("MODEL_DEPLOYMENT_DATADIR", "did you mean MODEL_DEPLOYMENT_DATA_DIR?"),
        ("model_deployment_pasword", "did you mean MODEL_DEPLOYMENT_PASSWORD?"),
        ("MODEL_DEPLOYMENTS_PORTS", "did you mean MODEL_DEPLOYMENT_PORTS?"),
        ("MODELDEPLOYMENT_DOCUMENTS_URL", "did you mean MODEL_DEPLOYMENT_DOCUMENTS_URL?"),
        ("MODEL_DEPLOYMENT_QUANTUM_FLUX", "is not a setting and has no effect"),
        ("MLFLOW_TRACKING_URL", "did you mean MLFLOW_TRACKING_URI?"),
        ("MLFLOW_TRAKING_URI", "did you mean MLFLOW_TRACKING_URI?"),
    ],
)
def test_misspelt_variables_are_named(
    environment: pytest.MonkeyPatch, name: str, says: str
) -> None:
    environment.setenv(name, "a value that is not repeated")
    (told,) = misspelt()
    assert told.startswith(f"the variable {name} ")
    assert told.endswith(says)


def test_known_variables_are_not_warned_about(
    environment: pytest.MonkeyPatch,
) -> None:
    from mlflow import environment_variables

    for name in Settings.model_fields:
        environment.setenv(variable(name), "x")
        environment.setenv(variable(name).lower(), "x")
    for name in (
        "DOCUMENTS_URL_FILE",
        "MLFLOW_WEBHOOK_SECRET_FILE",
        "LAUNCH",
        "ENDPOINT",
        "METHOD",
        "PADDING",
        "TEST_MONGO_URL",
    ):
        environment.setenv(f"MODEL_DEPLOYMENT_{name}", "x")
    for name in vars(environment_variables):
        if name.startswith("MLFLOW_"):
            environment.setenv(name, "x")
    for name in ("MODEL_DEPLOYMENT", "PATH", "DEPLOYMENT_MODEL_PORTS", "MODEL_DEPLOYER_URL"):
        environment.setenv(name, "x")
    assert misspelt() == []
    environment.setenv("MODEL_DEPLOYMENT_LICENCE", "for a model")
    assert len(misspelt()) == 1
    assert misspelt(["MODEL_DEPLOYMENT_LICENCE"]) == []
