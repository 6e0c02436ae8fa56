"""The calls that show the registry's models, and the controller itself."""

from typing import Any

from model_deployment.client.aio.connection import AsyncConnection
from model_deployment.client.answers import (
    Environments,
    Health,
    Ready,
    RegisteredModel,
    RegisteredVersion,
    Version,
)
from model_deployment.client.exchange import path


class AsyncRegistry(AsyncConnection):
    """Models that can be deployed."""

    async def models(self, *, limit: int | None = None) -> list[RegisteredModel]:
        """All registered models."""
        found: list[RegisteredModel] = await self.items("/get_model_list", {}, limit)
        return found

    async def versions(self, model: str, *, limit: int | None = None) -> list[RegisteredVersion]:
        """Versions of a registered model, newest first."""
        where = path("/get_model_version_list/{}", model)
        found: list[RegisteredVersion] = await self.items(where, {}, limit)
        return found

    async def ready(self) -> Ready:
        """State of the controller.

        Raises:
            ApiError: 503, its control loop does not tick; ``problem`` has the state.
        """
        found: Ready = await self.data("GET", "/ready")
        return found

    async def health(self) -> Health:
        """Whether predictions are answered; ``controller`` is ``away`` where only the proxies run."""
        found: Health = await self.data("GET", "/health")
        return found

    async def version(self) -> Version:
        """Versions of the controller and of its MLflow."""
        found: Version = await self.data("GET", "/version")
        return found

    async def environments(self) -> Environments:
        """The built environments of models, and the warm parents, with their sizes."""
        found: Environments = await self.data("GET", "/environments")
        return found

    async def openapi(self) -> dict[str, Any]:
        """The description of the API."""
        found: dict[str, Any] = await self.data("GET", "/openapi.json")
        return found
