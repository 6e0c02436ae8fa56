"""The calls about projects of devices: their models, and what their devices and the server did."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from model_deployment.api.device_project_schemas import (
    DeviceProjectOut,
    ProjectChangeIn,
    ProjectIn,
    ProjectStatsOut,
    ReleasableVersionOut,
)
from model_deployment.api.paging import After, Limit, page
from model_deployment.api.parameters import ProjectName
from model_deployment.api.problems import problem
from model_deployment.api.project_paths import add_at_both
from model_deployment.api.request_scope import PROJECT, user_name
from model_deployment.api.times import parse_moment
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.errors import InvalidRequest
from model_deployment.devices.service import Devices

#: Descriptions of answers, by status.
Answers = dict[int | str, dict[str, Any]]

_SPAN = timedelta(days=1)
Since = Annotated[
    str | None,
    Query(
        max_length=60,
        description="From this time on: ISO 8601, or a duration before now such as `24h`. Default: a day "
        "before `until`.",
    ),
]
Until = Annotated[str | None, Query(max_length=60, description="Before this time. Default: now.")]
Force = Annotated[
    bool, Query(description="Delete it with its devices, whose tokens are then no longer good.")
]


@dataclass(frozen=True)
class DeviceProjectCalls:
    """The handlers, and what they use."""

    devices: Devices

    async def get_projects(
        self, request: Request, response: Response, limit: Limit = None, after: After = None
    ) -> Any:
        shown = page(
            await self.devices.projects(), lambda view: view.project.name,
            limit=limit, after=after, request=request, response=response,
        )  # fmt: skip
        return [DeviceProjectOut.of(view) for view in shown]

    async def create_project(self, request: Request, body: ProjectIn) -> Any:
        request.scope[PROJECT] = body.name[:260]
        by = user_name(request.scope)
        return DeviceProjectOut.of(await self.devices.create_project(body.name, body.models, by))

    async def get_project(self, project: ProjectName) -> Any:
        return DeviceProjectOut.of(await self.devices.project(project))

    async def change_project(
        self, request: Request, project: ProjectName, body: ProjectChangeIn
    ) -> Any:
        """Devices keep what they run, whether its model is still one of the project's or not."""
        by = user_name(request.scope)
        return DeviceProjectOut.of(await self.devices.change_project(project, body.models, by))

    async def delete_project(
        self, request: Request, project: ProjectName, force: Force = False
    ) -> Response:
        """Its releases, commands and logs are gone too. Captures and metrics of its devices stay with the
        versions that made them.
        """
        await self.devices.delete_project(project, user_name(request.scope), force=force)
        return Response(status_code=204)

    async def get_project_models(self, project: ProjectName) -> Any:
        """By model, the newest version first."""
        found = await self.devices.versions(project)
        return [ReleasableVersionOut.of(one) for one in found]

    async def get_stats(
        self, project: ProjectName, since: Since = None, until: Until = None
    ) -> Any:
        """Drift compares the captured predictions of devices with those of the server."""
        now = datetime.now(UTC)
        end = now if until is None else parse_moment(until, now)
        start = end - _SPAN if since is None else parse_moment(since, now)
        if start >= end:
            raise InvalidRequest(
                f"cannot count from {start.isoformat()} to {end.isoformat()}: the time has no end after "
                "its beginning"
            )
        return ProjectStatsOut.of(await self.devices.stats(project, start, end))


NO_PROJECT: Answers = {404: problem("There is no such project")}
_AWAY: Answers = {503: problem("The registry does not answer")}


def router(calls: DeviceProjectCalls) -> APIRouter:
    routes = APIRouter(tags=["devices"], route_class=StrictRoute)
    one = "/projects/{project}"
    unknown: Answers = {404: problem("The registry has no such model"), **_AWAY}
    routes.get(
        "/projects",
        summary="All projects of devices",
        response_model=list[DeviceProjectOut],
    )(calls.get_projects)
    routes.post(
        "/projects",
        status_code=201,
        summary="Make a project of devices",
        response_model=DeviceProjectOut,
        responses={**unknown, 409: problem("There is a project of this name")},
    )(calls.create_project)
    routes.get(
        one,
        summary="A project: its models, devices and newest release",
        response_model=DeviceProjectOut,
        responses=NO_PROJECT,
    )(calls.get_project)
    routes.patch(
        one,
        summary="Change the models of a project",
        response_model=DeviceProjectOut,
        responses={
            404: problem("There is no such project, or no such model"),
            409: problem("The project follows an endpoint of a model that is left out"),
            **_AWAY,
        },
    )(calls.change_project)
    routes.delete(
        one,
        summary="Delete a project",
        status_code=204,
        response_class=Response,
        responses={**NO_PROJECT, 409: problem("Devices are registered, and not `force`")},
    )(calls.delete_project)
    add_at_both(
        routes, "GET", "/models", calls.get_project_models,
        summary="Versions that may be released, with metrics and where they run",
        response_model=list[ReleasableVersionOut],
        responses={**NO_PROJECT, **_AWAY},
    )  # fmt: skip
    add_at_both(
        routes, "GET", "/getStats", calls.get_stats,
        summary="What each version did on devices and on the server, side by side",
        response_model=ProjectStatsOut,
        responses={**NO_PROJECT, 503: problem("The document store does not answer")},
    )  # fmt: skip
    return routes
