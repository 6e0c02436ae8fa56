"""The calls that list the models of the MLflow registry."""

import math
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from model_deployment.api.parameters import ModelName
from model_deployment.api.problems import problem
from model_deployment.api.schemas import RegisteredModelOut, RegisteredVersionOut
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.control.controller import Controller
from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry


def router(controller: Controller, registry: Registry) -> APIRouter:
    routes = APIRouter(tags=["registry"], route_class=StrictRoute)
    unavailable: dict[int | str, dict[str, Any]] = {503: problem("The registry does not answer")}

    async def states() -> dict[ModelKey, State]:
        return {row.key: row.state for row in await controller.all()}

    @routes.get(
        "/get_model_list",
        summary="All registered models",
        response_model=list[RegisteredModelOut],
        responses=unavailable,
    )
    async def get_model_list() -> Any:
        deployed = await states()
        return [
            RegisteredModelOut(
                **asdict(model),
                deployed_versions=sorted(
                    key.version for key in deployed if key.model == model.name
                ),
            )
            for model in await registry.models()
        ]

    @routes.get(
        "/get_model_version_list/{model}",
        summary="All versions of a registered model, newest first",
        response_model=list[RegisteredVersionOut],
        responses={**unavailable, 404: problem("The registry has no such model")},
    )
    async def get_model_version_list(model: ModelName) -> Any:
        ModelKey.of(model, 1)  # refuses a name that would be a filter for the registry
        deployed = await states()
        return [
            RegisteredVersionOut(
                version=version.key.version,
                aliases=version.aliases,
                status=version.status,
                run_id=version.run_id,
                created_at=version.created_at,
                # MLflow has NaN; JSON has not.
                metrics={
                    name: value if math.isfinite(value) else None
                    for name, value in version.metrics.items()
                },
                state=deployed.get(version.key),
            )
            for version in await registry.versions(model)
        ]

    return routes
