"""The target ``model-deployment`` of MLflow's deployment calls (``mlflow.deployments``).

MLflow finds this module by the entry point ``model-deployment``. It needs ``target_help``, ``run_local``
and one client here.
"""

import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow.deployments import PredictionsResponse
from mlflow.deployments.base import BaseDeploymentClient
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from model_deployment.client.errors import ApiError
from model_deployment.client.mlflow_config import (
    DEFAULT_WAIT,
    HELP,
    BadRequest,
    ModelUri,
    address_of,
    check_flavor,
    check_name,
    deploy_config,
    policy_config,
)
from model_deployment.client.mlflow_errors import check_gone, check_serves, mlflow_errors
from model_deployment.client.sync.client import Client

FLAVOR = "python_function"
#: States in which a deployment of a name is no obstacle to a new one.
_GONE = ("stopped", "failed")
#: Seconds between two looks at a rollout.
_LOOK_EVERY = 0.5


class ModelDeploymentClient(BaseDeploymentClient):  # type: ignore[misc]  # MLflow has no types
    """Deployments and endpoints of a controller of model_deployment.

    A deployment of ``models:/diabetes/3`` is called ``diabetes-3``. One of ``models:/diabetes@champion`` is
    the endpoint ``diabetes@champion``, which follows the alias. :func:`target_help` has the rest.
    """

    def __init__(self, target_uri: str) -> None:
        super().__init__(target_uri)
        with mlflow_errors():
            self._client = Client(address_of(target_uri))
        weakref.finalize(self, self._client.close)  # MLflow's clients are never closed

    def create_deployment(
        self,
        name: str,
        model_uri: str,
        flavor: str | None = None,
        config: dict[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Deploy a registered version, and wait until it is ready; or make the endpoint of an alias.

        Raises:
            MlflowException: it is deployed already, could not be deployed, or is not ready after ``wait``
                seconds of its config; with 0 the call does not wait.
        """
        with mlflow_errors():
            check_flavor(flavor, FLAVOR)
            uri = ModelUri.parse(model_uri)
            if endpoint is not None and endpoint != uri.endpoint:
                raise BadRequest(
                    f"cannot deploy {model_uri} under the endpoint {endpoint!r}: an endpoint serves the "
                    f"version that its alias names. Use models:/{uri.model}@<alias>, or move the alias"
                )
            if uri.alias is not None:
                check_name(name, uri.endpoint, model_uri)
                return self.create_endpoint(name, config)
            version = uri.version if uri.version != "latest" else self._newest(uri.model)
            check_name(name, uri.deployment(str(version)), model_uri)
            given = deploy_config(config)
            if not given.replace:
                self._refuse_deployed(name)
            row = self._client.deploy(
                uri.model,
                str(version),
                wait=given.wait,
                replace=given.replace or None,
                strategy=given.strategy,
                **given.options,
            )
            check_serves(row, given.wait)
            return _with_flavor(row)

    def update_deployment(
        self,
        name: str,
        model_uri: str | None = None,
        flavor: str | None = None,
        config: dict[str, Any] | None = None,
        endpoint: str | None = None,
    ) -> dict[str, Any]:
        """Change the options of a deployment, or the policy of an endpoint; or move the alias of an
        endpoint to another version, and wait until that serves.

        Raises:
            MlflowException: there is no such deployment, the update failed, or it goes on after ``wait``
                seconds.
        """
        with mlflow_errors():
            check_flavor(flavor, FLAVOR)
            name = endpoint or name
            if "@" in name:
                return self._update_endpoint(name, model_uri, config)
            if model_uri is not None:
                uri = ModelUri.parse(model_uri)
                check_name(name, uri.deployment(str(uri.version)), model_uri)
            given = deploy_config(config)
            row = self._client.change(
                name, wait=given.wait, strategy=given.strategy, **given.options
            )
            check_serves(row, given.wait)
            return _with_flavor(row)

    def delete_deployment(
        self, name: str, config: dict[str, Any] | None = None, endpoint: str | None = None
    ) -> None:
        """Undeploy a version, or delete an endpoint. Once or again is the same."""
        with mlflow_errors(), _missing_is_fine():
            wait = deploy_config(config).wait
            if "@" in name:
                self._client.delete_endpoint(name, wait=wait)
            else:
                check_gone(self._client.undeploy(name, wait=wait), wait)

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """All deployments, or those that an endpoint uses now."""
        with mlflow_errors():
            if endpoint is None:
                return [_with_flavor(row) for row in self._client.deployments()]
            found = self._client.endpoint(endpoint)
            return [
                _with_flavor({"name": f"{found['model']}-{served['version']}", **served})
                for served in found["versions"]
            ]

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """A deployment with its signature, example, memory and counters; or an endpoint."""
        with mlflow_errors():
            if "@" in name:
                return _with_flavor(self._client.endpoint(name))
            return _with_flavor(self._client.deployment(name))

    def predict(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> PredictionsResponse:
        """Predict with a deployment or an endpoint; ``inputs`` is what :meth:`Client.predict` takes."""
        with mlflow_errors():
            found = self._client.predict(_target(deployment_name, endpoint), inputs)
            return PredictionsResponse({"predictions": found.answer})

    def predict_stream(
        self, deployment_name: str | None = None, inputs: Any = None, endpoint: str | None = None
    ) -> Iterator[Any]:
        """The events of a model that streams, such as a chat model or an agent."""
        with mlflow_errors():
            yield from self._client.stream(_target(deployment_name, endpoint), inputs)

    def explain(
        self, deployment_name: str | None = None, df: Any = None, endpoint: str | None = None
    ) -> Any:
        """Not available."""
        raise MlflowException(
            "cannot explain predictions: deployments only predict. Log a model that explains itself, or "
            "explain it where it was trained",
            error_code=codes.NOT_IMPLEMENTED,
        )

    def create_endpoint(self, name: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
        """Make the endpoint ``<model>@<alias>``; the config is its policy.

        Raises:
            MlflowException: there is one already, or the registry has no such alias.
        """
        with mlflow_errors():
            if any(one["name"] == name for one in self._client.endpoints()):
                raise MlflowException(
                    f"cannot create the endpoint {name}: it exists; update_endpoint changes it",
                    error_code=codes.RESOURCE_ALREADY_EXISTS,
                )
            return _with_flavor(self._client.set_endpoint(name, _policy(config)))

    def update_endpoint(
        self, endpoint: str, config: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Change the policy of an endpoint; what the config leaves out stays as it is."""
        with mlflow_errors():
            before = self._client.endpoint(endpoint)["policy"]
            return _with_flavor(self._client.set_endpoint(endpoint, _policy(config, before)))

    def delete_endpoint(self, endpoint: str) -> None:
        """Delete an endpoint. Once or again is the same."""
        with mlflow_errors(), _missing_is_fine():
            self._client.delete_endpoint(endpoint)

    def list_endpoints(self) -> list[dict[str, Any]]:
        with mlflow_errors():
            return [_with_flavor(one) for one in self._client.endpoints()]

    def get_endpoint(self, endpoint: str) -> dict[str, Any]:
        with mlflow_errors():
            return _with_flavor(self._client.endpoint(endpoint))

    def _newest(self, model: str) -> int:
        newest = self._client.versions(model)
        if not newest:
            raise BadRequest(f"cannot find a version of {model}: the registry has none")
        return newest[0]["version"]

    def _refuse_deployed(self, name: str) -> None:
        try:
            state = self._client.deployment(name)["state"]
        except ApiError as error:
            if error.status != 404:
                raise
            return
        if state not in _GONE:
            raise MlflowException(
                f"cannot create the deployment {name}: it exists and is {state}; update_deployment changes "
                "it",
                error_code=codes.RESOURCE_ALREADY_EXISTS,
            )

    def _update_endpoint(
        self, name: str, model_uri: str | None, config: dict[str, Any] | None
    ) -> dict[str, Any]:
        policy = dict(config or {})
        wait = deploy_config({"wait": policy.pop("wait", DEFAULT_WAIT)}).wait
        if policy:
            self.update_endpoint(name, policy)
        if model_uri is None:
            return self.get_endpoint(name)
        uri = ModelUri.parse(model_uri)
        model, _, alias = name.rpartition("@")
        if uri.model != model or uri.version is None:
            raise BadRequest(
                f"cannot serve {model_uri} at {name}: name a version of {model}, as in models:/{model}/2"
            )
        version = self._newest(model) if uri.version == "latest" else int(uri.version)
        _move_alias(model, alias, version)
        return self._wait_for(name, version, wait)

    def _wait_for(self, name: str, version: int, wait: float) -> dict[str, Any]:
        """The endpoint, once the version serves it.

        Raises:
            MlflowException: its rollout ended without that, or did not end within ``wait`` seconds.
        """
        until = time.monotonic() + wait
        while True:
            found = self._client.endpoint(name)
            if found["champion"] == version and found["alias_version"] == version:
                return _with_flavor(found)
            rollout = found["rollout"]
            ended = (
                rollout is not None and rollout["candidate"] == version and not rollout["active"]
            )
            if ended and found["alias_version"] == version and rollout is not None:
                raise MlflowException(
                    f"cannot serve version {version} at {name}: {rollout['reason']}",
                    error_code=codes.ABORTED,
                )
            if time.monotonic() > until:
                raise MlflowException(
                    f"version {version} does not serve {name} after {wait:g} s: {found['status']}. Its "
                    "rollout goes on; the config wait=<seconds> waits longer",
                    error_code=codes.DEADLINE_EXCEEDED,
                )
            time.sleep(_LOOK_EVERY)


def run_local(
    name: str, model_uri: str, flavor: str | None = None, config: dict[str, Any] | None = None
) -> None:
    """Deploy at the controller of ``MODEL_DEPLOYMENT_URL``; by default, that of this machine at port 8000.

    MLflow passes no target on.
    """
    ModelDeploymentClient("model-deployment").create_deployment(name, model_uri, flavor, config)


def target_help() -> str:
    """What ``mlflow deployments help -t model-deployment`` prints."""
    return HELP


def _policy(config: dict[str, Any] | None, before: Any = None) -> Any:
    return policy_config(config, before)


def _move_alias(model: str, alias: str, version: int) -> None:
    from mlflow import MlflowClient, get_registry_uri

    try:
        MlflowClient().set_registered_model_alias(model, alias, str(version))
    except MlflowException as error:
        raise BadRequest(
            f"cannot move the alias {alias} of {model} in the registry at {get_registry_uri()}: "
            f"{error.message}. MLFLOW_TRACKING_URI has to name the registry of the controller"
        ) from error


def _with_flavor(found: Any) -> dict[str, Any]:
    """An answer as MLflow's command line needs it."""
    return {"flavor": FLAVOR, **found}


def _target(deployment_name: str | None, endpoint: str | None) -> str:
    if (deployment_name is None) == (endpoint is None):
        raise BadRequest("cannot predict: name a deployment or an endpoint, and not both")
    return deployment_name or endpoint or ""


@contextmanager
def _missing_is_fine() -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        if error.status != 404:
            raise
