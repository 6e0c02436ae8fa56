"""The page of one project of devices: one of its tabs, and the part of it that its script loads again."""

from typing import Any

from fastapi import APIRouter, Request, Response

from model_deployment.dashboard.device_rows import DeviceFilter
from model_deployment.dashboard.hub import Hub
from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.project_tabs import (
    LABELS,
    OPERATORS,
    OpenedProject,
    ProjectTab,
    form,
    values,
)
from model_deployment.devices.service import Devices
from model_deployment.endpoints.reader import EndpointReader


def router(devices: Devices, endpoints: EndpointReader, pages: Pages, hub: Hub) -> APIRouter:
    """The page itself."""
    routes = pages.router()

    @routes.get("/dashboard/projects/{project}")
    async def page(
        request: Request,
        project: str,
        tab: str = "",
        search: str = "",
        group: str = "",
        presence: str = "",
        release: str = "",
        page: int = 1,
        number: int | None = None,
        window: str = "",
    ) -> Response:
        wanted = DeviceFilter(search[:200], group, presence, release)
        opened = OpenedProject(project, wanted, page, number, window)
        operator = pages.is_operator(request)
        found = await _found(devices, opened, tab, operator=operator)
        more = await form(devices, endpoints, found["tab"], found["view"]) if operator else {}
        return pages.send(request, "project", at="devices", build=hub.build, **found, **more)

    return routes


def parts(devices: Devices, pages: Pages) -> APIRouter:
    """What the script of the page loads again."""
    routes = pages.router(part=True)

    @routes.get("/dashboard/projects/{project}/now")
    async def now(
        request: Request,
        project: str,
        tab: str = "",
        search: str = "",
        group: str = "",
        presence: str = "",
        release: str = "",
        page: int = 1,
        number: int | None = None,
        window: str = "",
    ) -> Response:
        wanted = DeviceFilter(search[:200], group, presence, release)
        opened = OpenedProject(project, wanted, page, number, window)
        found = await _found(devices, opened, tab, operator=pages.is_operator(request))
        return pages.send(request, "part_project", **found)

    return routes


async def _found(
    devices: Devices, opened: OpenedProject, tab: str, *, operator: bool
) -> dict[str, Any]:
    """What the templates show of a tab."""
    view = await devices.project(opened.project)
    open_tabs = [one for one in ProjectTab if operator or one not in OPERATORS]
    shown = ProjectTab(tab) if tab in open_tabs else ProjectTab.DEVICES
    return {
        "view": view,
        "project": view.project.name,
        "tab": shown,
        "tabs": {str(one): LABELS[one] for one in open_tabs},
        **await values(shown, devices, opened),
    }
