"""The part of the controller's environment that model processes get."""

import os
from collections.abc import Collection

from model_deployment.core.options import EnvManager

#: Where programs, temporary files and certificates are, and how text is encoded. Other variables may
#: contain passwords, and are not passed on.
_MODEL_VARIABLES = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION",
)  # fmt: skip
#: Needed in addition to build an environment (``uv``, ``virtualenv``, ``conda``).
_BUILD_VARIABLES = (
    "MLFLOW_ENV_ROOT", "MLFLOW_CONDA_HOME", "MLFLOW_CONDA_CREATE_ENV_CMD", "CONDA_EXE", "PYENV_ROOT",
    "PYTHON_BUILD_MIRROR_URL", "PYTHON_BUILD_CACHE_PATH", "XDG_CACHE_HOME", "XDG_DATA_HOME",
)  # fmt: skip
_BUILD_PREFIXES = ("PIP_", "UV_")
_SECRET = ("PASSWORD", "TOKEN", "SECRET", "USERNAME", "_KEY")
_PROXY_VARIABLES = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


#: Of a tracking server, which might run with the same environment.
_SERVER_ONLY = frozenset({"MLFLOW_BACKEND_STORE_URI", "MLFLOW_FLASK_SERVER_SECRET_KEY"})


def for_model(env_manager: EnvManager, granted: Collection[str]) -> dict[str, str]:
    """The environment of a model process: few variables, and no credentials of the controller.

    Args:
        granted: further variables that the process gets.
    """
    names = {*_MODEL_VARIABLES, *granted}
    if env_manager is not EnvManager.LOCAL:
        found = {name for name in os.environ if name.startswith(_BUILD_PREFIXES)}
        found |= {*_BUILD_VARIABLES, *_PROXY_VARIABLES}
        names |= {name for name in found if not _is_secret(name, os.environ.get(name, ""))}
    return {name: os.environ[name] for name in sorted(names) if name in os.environ}


#: Where pip gets packages from, and how. Others of its variables name files of this
#: machine; the one that ``PIP_CERT`` names is taken along.
_INDEX_VARIABLES = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_TRUSTED_HOST",
    "PIP_CERT", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT", "PIP_TIMEOUT", "PIP_RETRIES", "PIP_PRE",
    "PIP_PREFER_BINARY",
)  # fmt: skip


def for_image_builds() -> dict[str, str]:
    """Where packages come from when an image is built, also with a password, and proxies.

    No program of a package runs in a build, which could read it.
    """
    names = {*_INDEX_VARIABLES, *_PROXY_VARIABLES}
    return {name: os.environ[name] for name in sorted(names) if name in os.environ}


#: What MLflow's client needs to reach the registry and its artifacts, with passwords.
_REGISTRY_PREFIXES = ("MLFLOW_", "AWS_", "AZURE_", "GOOGLE_APPLICATION_")


def for_flows() -> dict[str, str]:
    """The environment of the service of flows and of its runs: with the credentials of the registry.

    Its runs train and register models, so they need what the controller has for MLflow; and nothing else.
    """
    found = {name for name in os.environ if name.startswith(_REGISTRY_PREFIXES)}
    names = {*_MODEL_VARIABLES, *_PROXY_VARIABLES, *found} - _SERVER_ONLY
    return {name: os.environ[name] for name in sorted(names) if name in os.environ}


def _is_secret(name: str, value: str) -> bool:
    """Whether a variable seems to hold a password; then only ``model_env`` can pass it on."""
    return any(word in name.upper() for word in _SECRET) or "@" in value
