"""The call that shows warm parents and built environments."""

from fastapi import APIRouter

from model_deployment.api.environment_schemas import (
    BuiltEnvironmentOut,
    EnvironmentsOut,
    WarmParentOut,
)
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.control.deployment_environments import DeploymentEnvironments


def router(environments: DeploymentEnvironments) -> APIRouter:
    """The routes."""
    routes = APIRouter(tags=["system"], route_class=StrictRoute)

    @routes.get(
        "/environments",
        summary="Environments of models, and the processes they are forked from",
        response_model=EnvironmentsOut,
    )
    async def get_environments() -> EnvironmentsOut:
        """What takes memory and disk space beside the models themselves."""
        return EnvironmentsOut(
            parents=[WarmParentOut.of(one) for one in await environments.parents()],
            environments=[BuiltEnvironmentOut.of(one) for one in await environments.built()],
        )

    return routes
