"""The call that tells which version of a model an endpoint serves now."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query

from model_deployment.api.endpoint_schemas import ModelInfoOut
from model_deployment.api.problems import problem
from model_deployment.api.registry_schemas import finite
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.domain import Deployment
from model_deployment.core.errors import ModelDeploymentError, NotDeployed
from model_deployment.core.names import ModelKey
from model_deployment.endpoints.service import Endpoints
from model_deployment.registry.values import RegisteredVersion

#: Seconds that the registry may take: what serves is known without it.
_REGISTRY_LIMIT = 5.0


@dataclass(frozen=True)
class ModelInfo:
    """The handler, and what it uses."""

    endpoints: Endpoints
    #: One version, by the registry; None if the registry has it not.
    registered: Callable[[ModelKey], Awaitable[RegisteredVersion | None]]
    #: Returns a deployment, or raises NotDeployed.
    deployment: Callable[[ModelKey], Awaitable[Deployment]]
    #: Reads the files of a deployment's model: ``(signature, example, request to show)``.
    describe: Callable[[Deployment], tuple[dict[str, Any] | None, Any, Any]]

    async def model_info(
        self,
        model: Annotated[
            str | None,
            Query(
                description="Name of a registered model; that of the default endpoint if left out."
            ),
        ] = None,
        alias: Annotated[
            str | None, Query(description="That of the default endpoint if left out.")
        ] = None,
    ) -> Any:
        """Answered without the run and its metrics if the registry is away; `registry` then says why."""
        view = await self.endpoints.find(model, alias)
        name, version = view.endpoint.name, view.endpoint.champion
        found, why = await self._registered(name.model, version)
        metrics = found.metrics if found else {}
        return ModelInfoOut(
            endpoint=str(name),
            model=name.model,
            alias=name.alias,
            version=version,
            since=view.endpoint.champion_since,
            run_id=found.run_id if found else None,
            metrics=finite(metrics),
            signature=await self._signature(view.endpoint.key(version)) if version else None,
            registry=why,
            status=view.status,
        )

    async def _registered(
        self, model: str, version: int | None
    ) -> tuple[RegisteredVersion | None, str]:
        """The version as the registry has it, and why there is none."""
        if version is None:
            return None, ""
        try:
            async with asyncio.timeout(_REGISTRY_LIMIT):
                found = await self.registered(ModelKey(model, version))
        except ModelDeploymentError as error:
            return None, error.detail
        except TimeoutError:
            return None, f"no answer from the MLflow registry within {_REGISTRY_LIMIT:g} s"
        return found, "" if found else f"the registry has no version {version} of {model}"

    async def _signature(self, key: ModelKey) -> dict[str, Any] | None:
        try:
            row = await self.deployment(key)
        except NotDeployed:
            return None
        return (await asyncio.to_thread(self.describe, row))[0]


def router(calls: ModelInfo) -> APIRouter:
    routes = APIRouter(tags=["endpoints"], route_class=StrictRoute)
    routes.get(
        "/model_info",
        summary="The version that an endpoint serves now",
        response_model=ModelInfoOut,
        responses={404: problem("There is no such endpoint")},
    )(calls.model_info)
    return routes
