"""MLflow's client, which asks only what the server has.

MLflow's client of today asks every server what its own release has. A server of MLflow 2 answers some of
that with a page that says 404: it has no logged models. Others it answers wrongly: asked for models that
are no prompts, which MLflow's client always adds, it finds none. So these calls go through here.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from model_deployment.registry.errors import RegistryUnusable
from model_deployment.registry.mlflow_server import MlflowServer
from model_deployment.registry.server_features import ServerFeature, is_missing_call

T = TypeVar("T")

#: The tag of prompts, which MLflow keeps among the registered models.
_PROMPT_TAG = "mlflow.prompt.is_prompt"
#: All registered models. MLflow's client adds no condition of its own to a filter that has this tag in it.
_ALL_MODELS = f"name != '{_PROMPT_TAG}'"


class ServedClient:
    """A client of MLflow for one tracking server and one registry. All other calls are MLflow's own."""

    def __init__(self, client: Any, tracking: MlflowServer, registry: MlflowServer) -> None:
        """
        Args:
            client: MLflow's ``MlflowClient``.
            tracking: has the runs and logged models.
            registry: has the registered models; mostly the same server.
        """
        self._client = client
        self._tracking = tracking
        self._registry = registry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def search_registered_models(
        self, *, max_results: int = 100, page_token: str | None = None
    ) -> Any:
        """A page of the registered models, which has a ``token`` if there are more."""
        search = partial(
            self._client.search_registered_models, max_results=max_results, page_token=page_token
        )
        if self._registry.surely_has(ServerFeature.PROMPTS):
            return search()
        page = search(filter_string=_ALL_MODELS)
        page[:] = [model for model in page if model.tags.get(_PROMPT_TAG) != "true"]
        return page

    def get_logged_model(self, model_id: str) -> Any:
        """Raises MlflowException: there is none, or the server has no logged models at all."""

        def none() -> Any:
            from mlflow.exceptions import MlflowException
            from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

            raise MlflowException(
                self._tracking.lack(ServerFeature.LOGGED_MODELS), RESOURCE_DOES_NOT_EXIST
            )

        return self._where(
            ServerFeature.LOGGED_MODELS, lambda: self._client.get_logged_model(model_id), none
        )

    def search_logged_models(self, experiment_ids: Sequence[str], *more: Any, **named: Any) -> Any:
        """The page that MLflow finds; an empty list where the server has no logged models."""
        call = self._client.search_logged_models
        return self._where(
            ServerFeature.LOGGED_MODELS, lambda: call(experiment_ids, *more, **named), list
        )

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Raises RegistryUnusable: the server is too old to have aliases."""

        def none() -> Any:
            raise RegistryUnusable(self._registry.lack(ServerFeature.ALIASES))

        call = self._client.set_registered_model_alias
        self._where(ServerFeature.ALIASES, lambda: call(name, alias, version), none, self._registry)

    def log_inputs(self, run_id: str, datasets: Sequence[Any]) -> None:
        """Log datasets of a run; nothing where the server keeps none."""
        self._where(
            ServerFeature.DATASETS,
            lambda: self._client.log_inputs(run_id, datasets=datasets),
            lambda: None,
        )

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[Any]:
        """The files of the run itself.

        MLflow's function would search the logged models for one with the name of the folder, too.
        """
        return list(self._artifacts(run_id).list_artifacts(path))

    def download_artifacts(self, run_id: str, path: str, dst_path: str | None = None) -> str:
        """Download a file or folder of the run itself; returns where it is.

        MLflow's function says of every failure that the artifact does not exist.
        """
        return str(self._artifacts(run_id).download_artifacts(path, dst_path))

    def _artifacts(self, run_id: str) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        from mlflow.utils.uri import add_databricks_profile_info_to_artifact_uri

        tracking = self._client.tracking_uri
        root = self._client.get_run(run_id).info.artifact_uri
        return get_artifact_repository(
            add_databricks_profile_info_to_artifact_uri(root, tracking), tracking_uri=tracking
        )

    def _where(
        self,
        feature: ServerFeature,
        call: Callable[[], T],
        instead: Callable[[], Any],
        server: MlflowServer | None = None,
    ) -> T | Any:
        """The result of a call; of ``instead`` where the (tracking) server lacks the feature."""
        asked = server or self._tracking
        if not asked.has(feature):
            return instead()
        try:
            return call()
        except Exception as error:
            if not is_missing_call(error) or not asked.learn_missing(feature):
                raise
        return instead()
