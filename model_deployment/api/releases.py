"""The calls about releases: what devices should run, and how a new one reaches them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from model_deployment.api.device_projects import NO_PROJECT, Answers
from model_deployment.api.paging import next_page
from model_deployment.api.parameters import ProjectName, ReleaseNumber
from model_deployment.api.problems import problem
from model_deployment.api.project_paths import add_at_both
from model_deployment.api.release_policy import SetReleaseIn
from model_deployment.api.release_schemas import (
    FollowedEndpointOut,
    ReleaseDetailOut,
    ReleaseEventOut,
    ReleaseOut,
    SetReleaseOut,
)
from model_deployment.api.request_scope import TARGET, user_name
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.errors import InvalidRequest
from model_deployment.devices.service import Devices
from model_deployment.devices.views import ReleaseView

#: Newest events that are shown with a release.
_EVENTS = 50

Newest = Annotated[int, Query(ge=1, le=500, description="Number of newest ones.")]
PageLength = Annotated[
    int, Query(ge=1, le=1000, description="Length of a page. `Link` has the next page.")
]
OfRelease = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="Only events of the release of this number.")
]
Before = Annotated[
    int | None,
    Query(
        ge=1, le=2**31 - 1, description="Begin behind the release of this number: older ones only."
    ),
]


@dataclass(frozen=True)
class ReleaseCalls:
    """The handlers, and what they use."""

    devices: Devices

    async def set_release(self, request: Request, project: ProjectName, body: SetReleaseIn) -> Any:
        """Begins a release, which takes the place of the one under way; or follows an endpoint, whose
        versions become releases from now on. With a version, no endpoint is followed any more. The release
        is prepared first: its files are fetched, converted and signed. `GET …/releases/{number}` shows how
        far it is.
        """
        by = user_name(request.scope)
        policy = body.release_policy()
        begun: ReleaseView | None
        if body.unfollows:
            await self.devices.unfollow(project, by)
            begun = None
        elif endpoint := body.follows():
            request.scope[TARGET] = str(endpoint)
            begun = await self.devices.follow(project, endpoint, policy, by)
        else:
            if body.version is None:  # the body was checked
                raise InvalidRequest("cannot release anything: the body names no version")
            begun = await self.devices.set_version(project, body.model, body.version, policy, by)
            request.scope[TARGET] = str(begun.release.key)
        view = await self.devices.project(project)
        name = view.project.name
        return SetReleaseOut(
            project=name,
            release=None if begun is None else ReleaseOut.of(begun.release, name),
            follows=FollowedEndpointOut.of(view.follows),
        )

    async def get_releases(
        self,
        request: Request,
        response: Response,
        project: ProjectName,
        limit: PageLength = 100,
        after: Before = None,
    ) -> Any:
        name = (await self.devices.project(project)).project.name
        found = await self.devices.releases(project, limit + 1, after)
        if len(found) > limit:
            found = found[:limit]
            next_page(request, response, after=found[-1].number)
        return [ReleaseOut.of(one, name) for one in found]

    async def get_release(self, project: ProjectName, number: ReleaseNumber) -> Any:
        return await self._detail(await self.devices.release(project, number))

    async def pause_release(
        self, request: Request, project: ProjectName, number: ReleaseNumber
    ) -> Any:
        """No further stage opens. Devices of open stages go on."""
        return await self._steer(request, project, number, self.devices.pause)

    async def resume_release(
        self, request: Request, project: ProjectName, number: ReleaseNumber
    ) -> Any:
        return await self._steer(request, project, number, self.devices.resume)

    async def stop_release(
        self, request: Request, project: ProjectName, number: ReleaseNumber
    ) -> Any:
        """A new release of the last complete version follows, for all devices at once; without one, devices
        keep what they run.
        """
        return await self._steer(request, project, number, self.devices.stop)

    async def _steer(
        self,
        request: Request,
        project: str,
        number: int,
        order: Callable[[str, int, str], Awaitable[ReleaseView]],
    ) -> ReleaseDetailOut:
        return await self._detail(await order(project, number, user_name(request.scope)))

    async def _detail(self, view: ReleaseView) -> ReleaseDetailOut:
        events = await self.devices.events(view.project, _EVENTS, view.release.number)
        return ReleaseDetailOut.with_stages(view, events)

    async def get_project_events(
        self, project: ProjectName, release: OfRelease = None, limit: Newest = 100
    ) -> Any:
        """Of releases and of single devices."""
        found = await self.devices.events(project, limit, release)
        return [ReleaseEventOut.of(event) for event in found]


_NO_RELEASE: Answers = {404: problem("There is no such project or release")}
_SET: Answers = {
    404: problem("There is no such project, model, version or endpoint"),
    409: problem("The registry has not the whole version yet"),
    503: problem("The registry does not answer"),
}


def router(calls: ReleaseCalls) -> APIRouter:
    routes = APIRouter(tags=["devices"], route_class=StrictRoute)
    one = "/releases/{number}"
    add_at_both(
        routes, "POST", "/setModel", calls.set_release,
        status_code=202,
        summary="Release a version to devices, or follow an endpoint",
        response_model=SetReleaseOut,
        responses=_SET,
    )  # fmt: skip
    add_at_both(
        routes, "GET", "/releases", calls.get_releases,
        summary="Releases, newest first",
        response_model=list[ReleaseOut],
        responses=NO_PROJECT,
    )  # fmt: skip
    add_at_both(
        routes, "GET", one, calls.get_release,
        summary="A release: its stages and how far their devices are",
        response_model=ReleaseDetailOut,
        responses=_NO_RELEASE,
    )  # fmt: skip
    for order, summary, call in (
        ("pause", "Open no further stage of a release", calls.pause_release),
        ("resume", "Let a paused release go on", calls.resume_release),
        ("stop", "Stop a release, and go back", calls.stop_release),
    ):
        add_at_both(
            routes, "POST", f"{one}/{order}", call,
            summary=summary,
            response_model=ReleaseDetailOut,
            responses={**_NO_RELEASE, 409: problem("It is in another state, or a newer one came")},
        )  # fmt: skip
    add_at_both(
        routes, "GET", "/events", calls.get_project_events,
        summary="What happened to releases and devices, newest first",
        response_model=list[ReleaseEventOut],
        responses=NO_PROJECT,
    )  # fmt: skip
    return routes
