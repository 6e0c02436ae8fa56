"""The page of one device: is it there, what it runs and should run, health, log, commands."""

from typing import Any

from fastapi import APIRouter, Request, Response

from model_deployment.core.devices import UNDER_WAY, Presence
from model_deployment.dashboard import device_charts
from model_deployment.dashboard.device_rows import health_value
from model_deployment.dashboard.device_text import plain, value
from model_deployment.dashboard.hub import Hub
from model_deployment.dashboard.pages import Pages
from model_deployment.devices.service import Devices
from model_deployment.documents.base import StoreUnavailable
from model_deployment.log.masking import mask

#: Commands that are listed.
_COMMANDS = 50


def router(
    devices: Devices, traffic: device_charts.ReadTraffic, pages: Pages, hub: Hub
) -> APIRouter:
    """The page itself."""
    routes = pages.router()

    @routes.get("/dashboard/projects/{project}/devices/{device}")
    async def page(
        request: Request,
        project: str,
        device: str,
        window: str = "",
        # Only the script reads these: what of the log is wanted.
        search: str = "",
        level: str = "",
    ) -> Response:
        found = await _found(devices, traffic, project, device, window)
        return pages.send(request, "device", at="devices", build=hub.build, **found)

    return routes


def parts(devices: Devices, traffic: device_charts.ReadTraffic, pages: Pages) -> APIRouter:
    """What the script of the page loads again."""
    routes = pages.router(part=True)

    @routes.get("/dashboard/projects/{project}/devices/{device}/now")
    async def now(
        request: Request,
        project: str,
        device: str,
        window: str = "",
        search: str = "",
        level: str = "",
    ) -> Response:
        found = await _found(devices, traffic, project, device, window)
        return pages.send(request, "part_device", **found)

    return routes


async def _found(
    devices: Devices,
    traffic: device_charts.ReadTraffic,
    project: str,
    name: str,
    window: str,
) -> dict[str, Any]:
    """What the templates show of a device."""
    view = await devices.device(project, name)
    device = view.device
    shown = window if window in device_charts.WINDOWS else device_charts.WINDOW
    try:
        charts, problem = await device_charts.charts(traffic, device, shown), ""
    except StoreUnavailable as error:
        charts, problem = [], f"cannot read the document store now: {mask(str(error))}"
    return {
        "view": view,
        "device": device,
        "project": view.project,
        "revoked": view.presence is Presence.REVOKED,
        "updates": await devices.updates(project, name),
        "commands": await devices.commands(project, _COMMANDS, name),
        "health": [(plain(key, 40), health_value(key, one)) for key, one in device.health.items()],
        "attributes": [(plain(key, 60), value(one)) for key, one in device.attributes.items()],
        "charts": charts,
        "charts_problem": problem,
        "window": shown,
        "windows": [*device_charts.WINDOWS],
        "active": view.update is not None and view.update.state in UNDER_WAY,
    }
