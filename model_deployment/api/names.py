"""What the name in a path stands for: a deployment, or an endpoint and the versions that answered by it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import NotDeployed
from model_deployment.core.names import ModelKey
from model_deployment.datasets.captured import any_captured
from model_deployment.documents.base import CapturedOn, Documents
from model_deployment.endpoints.service import Endpoints

#: Rollouts, newest first, whose versions are known as those of an endpoint.
_ROLLOUTS = 200

#: Returns a deployment, or raises NotDeployed.
Get = Callable[[ModelKey], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Named:
    """What was found under a name."""

    #: The deployment; of an endpoint the one that serves now.
    key: ModelKey
    #: None if the name is that of a deployment.
    endpoint: EndpointName | None
    #: All versions that may have answered by the endpoint, the newest first; else the deployment alone.
    keys: tuple[ModelKey, ...]

    @property
    def version(self) -> int | None:
        """Of the deployment; None if the name is that of an endpoint."""
        return self.key.version if self.endpoint is None else None

    def __str__(self) -> str:
        return str(self.endpoint or self.key)


class Names:
    """Finds deployments and endpoints by their names in paths."""

    def __init__(self, get: Get, endpoints: Endpoints, documents: Documents) -> None:
        self._get = get
        self._endpoints = endpoints
        self._documents = documents

    async def find(self, name: str) -> Named:
        """
        Raises:
            NotDeployed: there is no such deployment or endpoint, or no version of the endpoint serves.
            InvalidName: the name can be neither.
        """
        if "@" not in name:
            key = ModelKey.parse(name)
            await self._get(key)
            return Named(key, None, (key,))
        endpoint = EndpointName.parse(name)
        found = (await self._endpoints.get(endpoint)).endpoint
        if found.champion is None:
            raise NotDeployed(f"cannot tell the version of {endpoint}: no version serves yet")
        versions = {found.champion, found.previous}
        for rollout in await self._endpoints.history(endpoint, _ROLLOUTS):
            versions |= {rollout.candidate, rollout.champion}
        newest_first = sorted((one for one in versions if one is not None), reverse=True)
        keys = tuple(found.key(version) for version in newest_first)
        return Named(found.key(found.champion), endpoint, keys)

    async def version(self, name: str, source: CapturedOn) -> ModelKey:
        """As :meth:`key`; of predictions of devices also a version that is not deployed here.

        Raises:
            StoreUnavailable: it is not deployed, and whether it runs on devices cannot be told.
        """
        try:
            return await self.key(name)
        except NotDeployed:
            if source is not CapturedOn.DEVICES or "@" in name:
                raise
            key = ModelKey.parse(name)
            if not await any_captured(self._documents, key.model, key.version, source=source):
                raise
            return key

    async def key(self, name: str) -> ModelKey:
        """The deployment; of an endpoint the one that serves now. Raises as :meth:`find`."""
        return (await self.find(name)).key
