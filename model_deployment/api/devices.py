"""The calls about devices of a project: which there are, how one does, and what they are told."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from model_deployment.api.device_command_schemas import (
    CommandIn,
    CommandTargets,
    DarkIn,
    DeviceCommandOut,
    OrderedOut,
)
from model_deployment.api.device_projects import NO_PROJECT, Answers
from model_deployment.api.device_registration_schemas import RegisteredDeviceOut
from model_deployment.api.device_schemas import DeviceChangeIn, DeviceLogLineOut, DeviceOut
from model_deployment.api.paging import After, Limit, page
from model_deployment.api.parameters import DeviceName, ProjectName
from model_deployment.api.problems import problem
from model_deployment.api.project_paths import add_at_both
from model_deployment.api.release_schemas import DeviceUpdateOut
from model_deployment.api.releases import Newest
from model_deployment.api.request_scope import ITEMS, user_name
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.core.devices import Presence
from model_deployment.devices.service import Devices
from model_deployment.devices.views import DeviceView

#: The command of `POST …/setDark`.
_DARK = "dark"

Group = Annotated[str | None, Query(max_length=64, description="Only devices of this group.")]
State = Annotated[Presence | None, Query(description="Only devices of this presence.")]
Running = Annotated[
    int | None,
    Query(ge=0, le=2**31 - 1, description="Only devices that run this release; 0: that run none."),
]
Text = Annotated[
    str | None,
    Query(
        max_length=100,
        description="Only devices that have this text in their name or in an attribute, in upper or lower "
        "case.",
    ),
]
Lines = Annotated[int, Query(ge=1, le=1000, description="Number of last lines.")]
BeforeLine = Annotated[
    int | None, Query(ge=1, le=2**53, description="Only lines before the one with this id.")
]
OfDevice = Annotated[str | None, Query(max_length=300, description="Only commands to this device.")]


def selects(
    view: DeviceView,
    *,
    group: str | None,
    state: Presence | None,
    release: int | None,
    text: str | None,
) -> bool:
    """Whether a device is one of those that a list is asked for."""
    device = view.device
    if group is not None and group not in device.groups:
        return False
    if state is not None and view.presence is not state:
        return False
    if release is not None and (device.running or 0) != release:
        return False
    if text is None:
        return True
    wanted = text.casefold()
    told = (device.name, *map(str, device.attributes.values()))
    return any(wanted in one.casefold() for one in told)


@dataclass(frozen=True)
class DeviceCalls:
    """The handlers, and what they use."""

    devices: Devices

    async def get_devices(
        self,
        request: Request,
        response: Response,
        project: ProjectName,
        group: Group = None,
        state: State = None,
        release: Running = None,
        text: Text = None,
        limit: Limit = None,
        after: After = None,
    ) -> Any:
        """By name."""
        found = [
            view
            for view in await self.devices.devices(project)
            if selects(view, group=group, state=state, release=release, text=text)
        ]
        shown = page(
            found, lambda view: view.device.name,
            limit=limit, after=after, request=request, response=response,
        )  # fmt: skip
        return [DeviceOut.of(view) for view in shown]

    async def get_device(self, project: ProjectName, device: DeviceName) -> Any:
        return DeviceOut.of(await self.devices.device(project, device))

    async def change_device(
        self, request: Request, project: ProjectName, device: DeviceName, body: DeviceChangeIn
    ) -> Any:
        """A change of groups counts for stages that have not opened yet as well."""
        by = user_name(request.scope)
        view = await self.devices.change_device(
            project, device, by, groups=body.groups, attributes=body.attributes
        )
        return DeviceOut.of(view)

    async def delete_device(
        self, request: Request, project: ProjectName, device: DeviceName
    ) -> Response:
        """Its token is no longer good, and its log, updates and commands are gone. Captures and metrics
        stay with the versions that made them.
        """
        await self.devices.delete_device(project, device, user_name(request.scope))
        return Response(status_code=204)

    async def revoke_device(
        self, request: Request, project: ProjectName, device: DeviceName
    ) -> Any:
        """Its token is no longer good from now on, and its connection ends. What it sent is kept. It comes
        back with an enrolment code that names it.
        """
        by = user_name(request.scope)
        return DeviceOut.of(await self.devices.revoke(project, device, by))

    async def rotate_device(
        self, request: Request, project: ProjectName, device: DeviceName
    ) -> Any:
        """The token of before is no longer good, and the connection of the device ends: put the new token
        into the device, whose messages then go on where they were.
        """
        by = user_name(request.scope)
        return RegisteredDeviceOut.of(await self.devices.rotate(project, device, by))

    async def get_device_logs(
        self,
        project: ProjectName,
        device: DeviceName,
        lines: Lines = 100,
        before: BeforeLine = None,
    ) -> Any:
        """Oldest first. The last 1,000 lines of each device are kept."""
        found = await self.devices.logs(project, device, lines, before)
        return [DeviceLogLineOut.of(line) for line in reversed(found)]

    async def get_device_updates(self, project: ProjectName, device: DeviceName) -> Any:
        found = await self.devices.updates(project, device)
        return [DeviceUpdateOut.of_named(one) for one in found]

    async def set_dark(self, request: Request, project: ProjectName, body: DarkIn) -> Any:
        """The command `dark`, as `POST …/commands` gives any other."""
        return await self._order(request, project, _DARK, body.value, body)

    async def send_command(self, request: Request, project: ProjectName, body: CommandIn) -> Any:
        """Devices that are away get it when they come back. A newer command of the same name takes the
        place of one that a device has not answered.
        """
        return await self._order(request, project, body.name, body.value, body)

    async def _order(
        self, request: Request, project: str, name: str, value: Any, targets: CommandTargets
    ) -> OrderedOut:
        ordered = await self.devices.order(
            project, name, value, user_name(request.scope),
            devices=targets.devices, groups=targets.groups,
        )  # fmt: skip
        request.scope[ITEMS] = len(ordered)
        return OrderedOut(name=name, value=value, devices=[one.device for one in ordered])

    async def get_commands(
        self, project: ProjectName, device: OfDevice = None, limit: Newest = 100
    ) -> Any:
        found = await self.devices.commands(project, limit, device)
        return [DeviceCommandOut.of(one) for one in found]


_NO_DEVICE: Answers = {404: problem("There is no such project or device")}
_ORDERED: Answers = {**_NO_DEVICE, 409: problem("A device that is named is revoked")}


def router(calls: DeviceCalls) -> APIRouter:
    routes = APIRouter(tags=["devices"], route_class=StrictRoute)
    one = "/devices/{device}"

    no_token: Answers = {
        **_NO_DEVICE,
        409: problem("The device is revoked"),
        503: problem("The key that signs releases cannot be used"),
    }

    def add(
        method: str, path: str, call: Callable[..., Awaitable[Any]], summary: str, **more: Any
    ) -> None:
        described = {"responses": _NO_DEVICE} | more
        add_at_both(routes, method, path, call, summary=summary, **described)

    add("GET", "/devices", calls.get_devices, "Devices, and how far they are",
        response_model=list[DeviceOut], responses=NO_PROJECT)  # fmt: skip
    add("GET", one, calls.get_device, "A device", response_model=DeviceOut)
    add("PATCH", one, calls.change_device, "Change the groups or attributes of a device",
        response_model=DeviceOut)  # fmt: skip
    add("DELETE", one, calls.delete_device, "Forget a device",
        status_code=204, response_class=Response)  # fmt: skip
    add("POST", f"{one}/revoke", calls.revoke_device, "Shut a device out", response_model=DeviceOut)
    add("POST", f"{one}/rotate", calls.rotate_device, "Give a device another token",
        response_model=RegisteredDeviceOut,
        responses=no_token)  # fmt: skip
    add("GET", f"{one}/logs", calls.get_device_logs, "The last lines of a device's log",
        response_model=list[DeviceLogLineOut])  # fmt: skip
    add("GET", f"{one}/updates", calls.get_device_updates,
        "What a device has made of each release, newest first",
        response_model=list[DeviceUpdateOut])  # fmt: skip
    add("POST", "/setDark", calls.set_dark, "Tell devices to be dark, or not",
        status_code=202, response_model=OrderedOut, responses=_ORDERED)  # fmt: skip
    add("POST", "/commands", calls.send_command, "Give devices a command",
        status_code=202, response_model=OrderedOut, responses=_ORDERED)  # fmt: skip
    add("GET", "/commands", calls.get_commands, "Commands and their answers, newest first",
        response_model=list[DeviceCommandOut])  # fmt: skip
    return routes
