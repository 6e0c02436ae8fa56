"""What a model, and the build of its environment, get to see of the environment of the controller."""

import pytest

from model_deployment.core.options import EnvManager
from model_deployment.settings import Settings

SECRETS = (
    "MONGO_PASSWORD", "MONGODB_URI", "MODEL_DEPLOYMENT_MONGO_PASSWORD", "GATEWAY_PASSWORD",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MLFLOW_S3_ENDPOINT_URL",
    "AZURE_STORAGE_CONNECTION_STRING", "GOOGLE_APPLICATION_CREDENTIALS", "DATABRICKS_TOKEN",
    "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
    "HF_TOKEN", "SSH_AUTH_SOCK", "PYTHONPATH",
)  # fmt: skip
PLAIN = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION",
)  # fmt: skip
#: What builds an environment could use, and a model would see: only if it is named in MODEL_ENV.
SECRET = {
    "PIP_EXTRA_INDEX_URL": "https://user:password@index.example",
    "UV_INDEX_CORP_PASSWORD": "canary",
    "UV_PUBLISH_TOKEN": "canary",
    "ALL_PROXY": "http://user:password@proxy.example",
}
BUILD = {
    "PIP_INDEX_URL": "https://index.example",
    "UV_INDEX_URL": "https://index.example",
    "MLFLOW_ENV_ROOT": "/envs",
    "MLFLOW_CONDA_HOME": "/conda",
    "PYENV_ROOT": "/pyenv",
    "CONDA_EXE": "/conda/bin/conda",
    "HTTP_PROXY": "http://proxy.example",
    "HTTPS_PROXY": "http://proxy.example",
    "NO_PROXY": "localhost",
    "http_proxy": "http://proxy.example",
    "https_proxy": "http://proxy.example",
    "no_proxy": "localhost",
}


@pytest.mark.parametrize("manager", EnvManager)
def test_a_model_sees_no_secrets(environment: pytest.MonkeyPatch, manager: EnvManager) -> None:
    for name in PLAIN:
        environment.setenv(name, f"{name}'s own")
    for name in SECRETS:
        environment.setenv(name, "secret")
    given = Settings().model_environment(manager)
    assert given == {name: f"{name}'s own" for name in PLAIN}


@pytest.mark.parametrize("manager", EnvManager)
def test_only_what_builds_an_environment_is_told_how(
    environment: pytest.MonkeyPatch, manager: EnvManager
) -> None:
    for name, value in BUILD.items():
        environment.setenv(name, value)
    given = Settings().model_environment(manager)
    assert given == ({} if manager is EnvManager.LOCAL else BUILD)


@pytest.mark.parametrize("manager", EnvManager)
def test_a_model_gets_the_variables_it_is_granted(
    environment: pytest.MonkeyPatch, manager: EnvManager
) -> None:
    environment.setenv("HF_TOKEN", "granted")
    environment.setenv("HF_HOME", "not granted")
    settings = Settings(model_env=("HF_TOKEN", "ABSENT"))
    assert settings.model_environment(manager) == {"HF_TOKEN": "granted"}


def test_passwords_for_building_are_handed_on_by_name_only(environment: pytest.MonkeyPatch) -> None:
    for name, value in SECRET.items():
        environment.setenv(name, value)
    assert not SECRET.keys() & Settings().model_environment(EnvManager.UV).keys()
    environment.setenv("MODEL_DEPLOYMENT_MODEL_ENV", "UV_INDEX_CORP_PASSWORD")
    assert SECRET.keys() & Settings().model_environment(EnvManager.UV).keys() == {
        "UV_INDEX_CORP_PASSWORD"
    }


def test_pip_of_a_build_gets_what_is_not_about_this_machine(
    environment: pytest.MonkeyPatch,
) -> None:
    wanted = {
        "PIP_INDEX_URL": "https://u:p@index",
        "PIP_CERT": "/ca.pem",
        "HTTPS_PROXY": "http://p",
    }
    here = {
        "PIP_TARGET": "/here",
        "PIP_CONSTRAINT": "/c.txt",
        "PIP_USER": "1",
        "PIP_CONFIG_FILE": "/c",
        "HOME": "/root",
    }
    for name, value in {**wanted, **here, "SECRET": "canary"}.items():
        environment.setenv(name, value)
    assert Settings().build_environment == wanted
