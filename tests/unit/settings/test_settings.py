"""Settings: defaults, what the environment may say, and what cannot be used."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from model_deployment.core.actions import Policy
from model_deployment.core.options import EnvManager
from model_deployment.settings import Settings, machine_defaults


def refusal(**values: object) -> str:
    """What is said of values that cannot be used."""
    with pytest.raises(ValidationError) as refused:
        Settings(**values)  # type: ignore[arg-type]
    (error,) = refused.value.errors()
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def test_defaults() -> None:
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.ports == (8001, 8100)
    assert settings.options.env_manager is EnvManager.LOCAL
    assert settings.data_dir == Path.cwd() / "data"
    assert settings.client_url == "http://127.0.0.1:8000"
    assert settings.max_body_bytes == 10 * 1024 * 1024
    assert settings.start_concurrency >= 2
    assert not settings.keep_models


def test_the_default_policy_is_that_of_the_state_machine() -> None:
    # Two places hold these figures, and they must not part.
    assert Settings().policy == Policy()


def test_the_policy_follows_the_settings() -> None:
    settings = Settings(
        start_timeout=1, build_timeout=2, drain_timeout=3, stop_grace=4, request_timeout=5,
        probe_failures=6, tries=7,
    )  # fmt: skip
    assert settings.policy == Policy(
        start_timeout=1, build_timeout=2, drain_timeout=3, stop_grace=4, request_timeout=5,
        probe_failures=6, tries=7,
    )  # fmt: skip


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_the_environment_sets_fields(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "DATA_DIR": str(tmp_path),
        "PORTS": "9001-9002",
        "ENV_MANAGER": "uv",
        "KEEP_MODELS": "true",
        "MODEL_ENV": "ONE, TWO,,",
        "LOG_LEVEL": "debug",
        "URL": "http://elsewhere",
        "UNKNOWN": "ignored",
    }.items():
        environment.setenv(f"MODEL_DEPLOYMENT_{name}", value)
    settings = Settings()
    assert settings.data_dir == tmp_path
    assert settings.ports == (9001, 9002)
    assert settings.options.env_manager is EnvManager.UV
    assert settings.keep_models
    assert settings.model_env == ("ONE", "TWO")
    assert settings.log_level == "DEBUG"
    assert settings.client_url == "http://elsewhere"


def test_names_without_the_prefix_set_nothing(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PORT", "1")
    environment.setenv("PORTS", "2-3")
    environment.setenv("HOST", "0.0.0.0")
    assert Settings() == Settings(host="127.0.0.1", port=8000, ports=(8001, 8100))


def test_the_data_directory_is_absolute_and_knows_the_home(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("HOME", str(tmp_path))
    assert Settings(data_dir=Path("~/state")).data_dir == tmp_path / "state"
    environment.chdir(tmp_path)
    assert Settings(data_dir=Path("state")).data_dir == tmp_path / "state"


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("8001-8100", (8001, 8100)),
        (" 9000 - 9001 ", (9000, 9001)),
        ("1024-1024", (1024, 1024)),
        ("65535-65535", (65535, 65535)),
    ],
)
def test_port_range_is_read(
    environment: pytest.MonkeyPatch, text: str, ports: tuple[int, int]
) -> None:
    environment.setenv("MODEL_DEPLOYMENT_PORTS", text)
    assert Settings().ports == ports


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write a range of ports as first-last, for example 8001-8100"),
        ("8001", "write a range of ports"),
        ("8001-", "write a range of ports"),
        ("-8100", "write a range of ports"),
        ("8001-8100-8200", "write a range of ports"),
        ("8001:8100", "write a range of ports"),
        ("8001.0-8100", "write a range of ports"),
        ("a-b", "write a range of ports"),
        ("9002-9001", "smaller port first"),
        ("1023-2000", "must lie within 1024-65535"),
        ("60000-65536", "must lie within 1024-65535"),
    ],
)
def test_port_range_error_is_explained(
    environment: pytest.MonkeyPatch, text: str, says: str
) -> None:
    environment.setenv("MODEL_DEPLOYMENT_PORTS", text)
    message = refusal()
    assert message.startswith("ports: ")
    assert says in message


@pytest.mark.parametrize("port", [8001, 8050, 8100])
def test_port_of_the_controller_may_not_lie_in_the_range(port: int) -> None:
    assert f"own port {port} lies in the models' range 8001-8100" in refusal(port=port)
    assert Settings(port=8101).port == 8101


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("port", "65536", "less than or equal to 65535"),
        ("port", "http", "valid integer"),
        ("env_manager", "docker", "'local', 'uv', 'virtualenv' or 'conda'"),
        ("log_level", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("tries", "0", "greater than or equal to 1"),
        ("probe_failures", "0", "greater than or equal to 1"),
        ("start_timeout", "0", "greater than 0"),
        ("start_timeout", "nan", "finite number"),
        ("request_timeout", "inf", "finite number"),
        ("drain_timeout", "-1", "greater than or equal to 0"),
        ("max_body_bytes", "0", "greater than or equal to 1"),
        ("log_max_bytes", "10", "greater than or equal to 4096"),
        ("keep_models", "perhaps", "valid boolean"),
    ],
)
def test_value_out_of_range_is_explained(name: str, value: str, says: str) -> None:
    message = refusal(**{name: value})
    assert message.startswith(f"{name}: ")
    assert says in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 0) for name in ("port", "drain_timeout", "stop_grace", "port_quarantine")),
        *((name, 0.001) for name in ("start_timeout", "build_timeout", "request_timeout")),
        *((name, 0.001) for name in ("probe_interval", "probe_timeout", "registry_timeout")),
        *((name, 1) for name in ("probe_failures", "tries", "start_concurrency")),
        *((name, 1) for name in ("max_body_bytes", "max_connections")),
        ("log_max_bytes", 4096),
        *(("log_level", level) for level in ("DEBUG", "INFO", "WARNING", "ERROR")),
    ],
)
def test_value_at_the_limit_and_every_choice_is_accepted(name: str, value: object) -> None:
    assert getattr(Settings.model_validate({name: value}), name) == value


@pytest.mark.parametrize(("cores", "starts"), [(1, 2), (2, 2), (8, 8)])
def test_as_many_may_start_at_once_as_there_are_cores(
    environment: pytest.MonkeyPatch, cores: int, starts: int
) -> None:
    environment.setattr(machine_defaults, "processors", lambda: cores)
    assert Settings().start_concurrency == starts


def test_the_registry_is_by_default_in_the_data_directory(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert settings.registry_uri == settings.tracking_uri
    assert settings.owns_registry


def test_mlflow_variables_name_the_registry(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MLFLOW_TRACKING_URI", "http://tracking")
    settings = Settings()
    assert settings.tracking_uri == settings.registry_uri == "http://tracking"
    assert not settings.owns_registry
    environment.setenv("MLFLOW_REGISTRY_URI", "http://registry")
    settings = Settings()
    assert (settings.tracking_uri, settings.registry_uri) == ("http://tracking", "http://registry")
    environment.delenv("MLFLOW_TRACKING_URI")
    assert not Settings().owns_registry
    assert Settings(mlflow_tracking_uri="http://given").tracking_uri == "http://given"
