"""The calls that show the registry's models, and the controller itself."""

from typing import Any

from model_deployment.client.answers import (
    Environments,
    Health,
    Ready,
    RegisteredModel,
    RegisteredVersion,
    Version,
)
from model_deployment.client.exchange import path
from model_deployment.client.sync.connection import Connection


class Registry(Connection):
    """Models that can be deployed."""

    def models(self, *, limit: int | None = None) -> list[RegisteredModel]:
        """All registered models."""
        found: list[RegisteredModel] = self.items("/get_model_list", {}, limit)
        return found

    def versions(self, model: str, *, limit: int | None = None) -> list[RegisteredVersion]:
        """Versions of a registered model, newest first."""
        where = path("/get_model_version_list/{}", model)
        found: list[RegisteredVersion] = self.items(where, {}, limit)
        return found

    def ready(self) -> Ready:
        """State of the controller.

        Raises:
            ApiError: 503, its control loop does not tick; ``problem`` has the state.
        """
        found: Ready = self.data("GET", "/ready")
        return found

    def health(self) -> Health:
        """Whether predictions are answered; ``controller`` is ``away`` where only the proxies run."""
        found: Health = self.data("GET", "/health")
        return found

    def version(self) -> Version:
        """Versions of the controller and of its MLflow."""
        found: Version = self.data("GET", "/version")
        return found

    def environments(self) -> Environments:
        """The built environments of models, and the warm parents, with their sizes."""
        found: Environments = self.data("GET", "/environments")
        return found

    def openapi(self) -> dict[str, Any]:
        """The description of the API."""
        found: dict[str, Any] = self.data("GET", "/openapi.json")
        return found
