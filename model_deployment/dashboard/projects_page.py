"""The page of all projects of devices: their models, who is there, the release and how far it is."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from model_deployment.core.devices import Presence
from model_deployment.dashboard.hub import Hub
from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.release_stages import StageBar, bars, progress_text, total
from model_deployment.devices.service import Devices
from model_deployment.devices.views import ProjectView


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A project in the list."""

    view: ProjectView
    #: How far its newest release is: in words, and as parts of a bar. Empty without a release.
    progress: str
    bars: tuple[StageBar, ...]

    @property
    def presence(self) -> Mapping[Presence, int]:
        """Devices by presence, with zeros."""
        return dict.fromkeys(Presence, 0) | dict(self.view.devices)

    @property
    def devices(self) -> int:
        """Devices that are not revoked."""
        return sum(self.presence.values()) - self.presence[Presence.REVOKED]


def router(devices: Devices, pages: Pages, hub: Hub) -> APIRouter:
    """The page; its script loads the same page again to renew its list."""
    routes = pages.router()

    @routes.get("/dashboard/projects")
    async def projects(request: Request) -> Response:
        rows = [await _row(devices, one) for one in await devices.projects()]
        return pages.send(request, "projects", at="devices", build=hub.build, rows=rows)

    return routes


async def _row(devices: Devices, view: ProjectView) -> ProjectRow:
    if view.release is None:
        return ProjectRow(view, "", ())
    found = await devices.release(view.project.name, view.release.number)
    counts, number = total(found.stages)
    return ProjectRow(view, progress_text(counts, number), bars(counts, number))
