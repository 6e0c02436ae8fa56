"""The use cases of commands: give them to devices, and see what came of them."""

from collections.abc import Sequence
from typing import Any

from model_deployment.core.devices import Device, DeviceProject, device_name
from model_deployment.core.errors import Conflict, InvalidRequest
from model_deployment.devices.reader import DeviceReader
from model_deployment.devices.views import NamedCommand


class CommandCases(DeviceReader):
    """Writes commands; connections carry them."""

    async def order(
        self,
        project: str,
        name: str,
        value: Any,
        by: str,
        *,
        devices: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> list[NamedCommand]:
        """Give a command to devices by name and to those of groups, or (both None) to all but revoked ones.

        Args:
            value: JSON.

        Raises:
            InvalidName: there can be no such command.
            UnknownDevice: there is no device of a name.
            Conflict: a device that is named is revoked.
            InvalidRequest: no device belongs to the groups.
        """
        device_name(name, "command")
        found = await self._project(project)
        targets = await self._targets(found, devices, groups)
        ordered = await self._parts.commands.order([*targets], name, value, by)
        self._parts.connections.tell([one.device_id for one in ordered])
        return [NamedCommand(targets[one.device_id].name, one) for one in ordered]

    async def _targets(
        self, project: DeviceProject, names: Sequence[str] | None, groups: Sequence[str] | None
    ) -> dict[int, Device]:
        """Devices by id."""
        present = [one for one in await self._parts.devices.all(project) if one.revoked_at is None]
        if names is None and groups is None:
            return {one.id: one for one in present}
        targets = {}
        for name in names or ():
            device = await self._device(project, name)
            if device.revoked_at is not None:
                raise Conflict(
                    f"cannot give the device {device.name} a command: it is revoked; name others"
                )
            targets[device.id] = device
        for group in groups or ():
            members = {one.id: one for one in present if group in one.groups}
            if not members:
                raise InvalidRequest(
                    f"cannot give the group {group[:64]!a} a command: no device of {project.name} belongs "
                    f"to it; GET /{project.name}/devices shows the groups"
                )
            targets |= members
        return targets

    async def commands(
        self, project: str, limit: int, device: str | None = None
    ) -> list[NamedCommand]:
        """Commands and their answers, newest first. Raises UnknownProject, UnknownDevice."""
        found = await self._project(project)
        if device is not None:
            row = await self._device(found, device)
            return [
                NamedCommand(row.name, one) for one in await self._parts.commands.of(row, limit)
            ]
        names = {one.id: one.name for one in await self._parts.devices.all(found)}
        ordered = await self._parts.commands.of_project(found, limit)
        return [
            NamedCommand(names[one.device_id], one) for one in ordered if one.device_id in names
        ]
