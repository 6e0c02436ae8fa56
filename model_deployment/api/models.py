"""The calls that list the models of the MLflow registry."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from model_deployment.api.paging import After, Limit, next_page, page
from model_deployment.api.parameters import ModelName
from model_deployment.api.problems import problem
from model_deployment.api.registry_schemas import RegisteredModelOut, RegisteredVersionOut
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
    async def get_model_list(
        request: Request, response: Response, limit: Limit = None, after: After = None
    ) -> Any:
        deployed = await states()
        shown = page(
            await registry.models(), lambda model: model.name,
            limit=limit, after=after, request=request, response=response,
        )  # fmt: skip
        return [
            RegisteredModelOut(
                **asdict(model),
                deployed_versions=sorted(
                    key.version for key in deployed if key.model == model.name
                ),
            )
            for model in shown
        ]

    @routes.get(
        "/get_model_version_list/{model}",
        summary="Versions of a registered model, newest first",
        response_model=list[RegisteredVersionOut],
        responses={**unavailable, 404: problem("The registry has no such model")},
    )
    async def get_model_version_list(
        request: Request,
        response: Response,
        model: ModelName,
        limit: Limit = None,
        after: Annotated[
            int | None,
            Query(ge=1, lt=2**31, description="Begin behind this version: only older ones."),
        ] = None,
    ) -> Any:
        ModelKey.of(model, 1)  # refuses a name that would be a filter for the registry
        deployed = await states()
        more = None if limit is None else limit + 1
        found = await registry.versions(model, limit=more, before=after)
        if limit is not None and len(found) > limit:
            found = found[:limit]
            next_page(request, response, after=found[-1].key.version)
        return [RegisteredVersionOut.of(version, deployed.get(version.key)) for version in found]

    return routes
