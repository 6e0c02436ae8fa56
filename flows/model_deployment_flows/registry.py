"""Aliases and versions of a registered model, as the flows need them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mlflow
import requests
from mlflow import environment_variables as variables
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    REQUEST_LIMIT_EXCEEDED,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
    ErrorCode,
)

from model_deployment.core.errors import NotFound
from model_deployment.registry.mlflow_server import MlflowServer
from model_deployment.registry.served_client import ServedClient
from model_deployment_flows.environment import Environment

#: Aliases that flows move: the newest version that was trained, and the newest that may serve.
NEWEST, CHALLENGER = "newest", "challenger"

#: Seconds that a call may take.
_TIMEOUT = 120
_PASSING = frozenset(
    ErrorCode.Name(one) for one in (INTERNAL_ERROR, TEMPORARILY_UNAVAILABLE, REQUEST_LIMIT_EXCEEDED)
)
_MISSING = frozenset(
    ErrorCode.Name(one) for one in (INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST)
)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered version."""

    model: str
    version: int
    run_id: str
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        return f"models:/{self.model}/{self.version}"


def connect(environment: Environment) -> None:
    """Have MLflow's client use the registry, and leave it to the tasks to repeat calls.

    A call that MLflow's client repeats may take effect twice, and keeps a run waiting for minutes.
    """
    mlflow.set_tracking_uri(environment.tracking_uri)
    variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)
    variables.MLFLOW_HTTP_REQUEST_TIMEOUT.set(_TIMEOUT)
    variables.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    variables.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
    logging.getLogger("mlflow").setLevel(logging.WARNING)


@lru_cache
def server(address: str) -> MlflowServer:
    """The server at an address: what it is, it is asked once in a run."""
    return MlflowServer(address)


def served_client() -> ServedClient:
    """MLflow's client, which asks the server only for what its release has."""
    here = server(mlflow.get_tracking_uri())
    return ServedClient(mlflow.MlflowClient(), here, here)


def is_passing(error: BaseException) -> bool:
    """Whether an error of a call may not happen again: the registry or its store of artifacts was away."""
    if isinstance(error, MlflowException):
        return str(error.error_code) in _PASSING
    return isinstance(error, requests.RequestException | ConnectionError | TimeoutError)


def version_of(model: str, version: int) -> ModelVersion:
    """A version by its number.

    Raises:
        NotFound: there is none.
    """
    try:
        return _of(mlflow.MlflowClient().get_model_version(model, str(version)))
    except MlflowException as error:
        if error.error_code in _MISSING:
            raise NotFound(
                f"cannot find version {version} of model {model} in the registry"
            ) from None
        raise


def version_at(model: str, alias: str) -> ModelVersion | None:
    """The version that an alias names; None: there is no such alias, or no such model."""
    try:
        return _of(mlflow.MlflowClient().get_model_version_by_alias(model, alias))
    except MlflowException as error:
        if error.error_code in _MISSING:
            return None
        raise


def move_alias(model: str, alias: str, version: int) -> None:
    """Have an alias name a version.

    Raises:
        RegistryUnusable: the server is too old to have aliases.
    """
    served_client().set_registered_model_alias(model, alias, str(version))


def tag_version(version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Set tags of a version."""
    client = mlflow.MlflowClient()
    for name, value in tags.items():
        client.set_model_version_tag(version.model, str(version.version), name, value)


def _of(found: Any) -> ModelVersion:
    return ModelVersion(found.name, int(found.version), found.run_id or "", dict(found.tags))
