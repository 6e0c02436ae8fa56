"""The calls about devices: how one becomes one, how it does, and what it is told."""

from collections.abc import Mapping, Sequence
from typing import Any

from model_deployment.client.answers import (
    Device,
    DeviceCommand,
    DeviceLogLine,
    DeviceUpdate,
    Enrolment,
    Ordered,
    Presence,
    RegisteredDevice,
)
from model_deployment.client.exchange import path
from model_deployment.client.sync.connection import Connection


class Devices(Connection):
    """Devices. ``project`` and ``device`` are names."""

    def enrol_device(
        self, project: str, *, groups: Sequence[str] = (), device: str | None = None
    ) -> Enrolment:
        """Make a code with which one device registers, within 15 minutes.

        ``device``: the only name that it may take.
        """
        body = {"groups": [*groups]} | ({} if device is None else {"device": device})
        found: Enrolment = self.data("POST", path("/projects/{}/enrolments", project), json=body)
        return found

    def register_device(
        self,
        project: str,
        code: str,
        device: str,
        *,
        attributes: Mapping[str, Any] | None = None,
    ) -> RegisteredDevice:
        """Register a device; its token is shown in this answer only. No user is needed.

        Raises:
            ApiError: 403 the code is not good; 409 the name is taken; 429 too many codes were not good.
        """
        body = {"code": code, "device": device, "attributes": dict(attributes or {})}
        found: RegisteredDevice = self.data(
            "POST", path("/projects/{}/registerDevice", project), json=body
        )
        return found

    def devices(
        self,
        project: str,
        *,
        group: str | None = None,
        state: Presence | None = None,
        release: int | None = None,
        text: str | None = None,
        limit: int | None = None,
    ) -> list[Device]:
        """Devices of a project, by name.

        ``release``: those that run it; ``text``: those that have it in their name or an attribute.
        """
        params = {"group": group, "state": state, "release": release, "text": text}
        found: list[Device] = self.items(path("/projects/{}/devices", project), params, limit)
        return found

    def device(self, project: str, device: str) -> Device:
        """A device: whether it is there, and what it runs."""
        found: Device = self.data("GET", _of(project, device))
        return found

    def change_device(
        self,
        project: str,
        device: str,
        *,
        groups: Sequence[str] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Device:
        """Replace the groups or the attributes of a device; None leaves them."""
        given = {
            "groups": None if groups is None else [*groups],
            "attributes": None if attributes is None else dict(attributes),
        }
        body = {name: value for name, value in given.items() if value is not None}
        found: Device = self.data("PATCH", _of(project, device), json=body)
        return found

    def delete_device(self, project: str, device: str) -> None:
        """Forget a device, with its log, updates and commands."""
        self.request("DELETE", _of(project, device))

    def revoke_device(self, project: str, device: str) -> Device:
        """Shut a device out: its token is no longer good."""
        found: Device = self.data("POST", _of(project, device) + "/revoke")
        return found

    def rotate_device(self, project: str, device: str) -> RegisteredDevice:
        """Give a device another token, which is shown in this answer only.

        Raises:
            ApiError: 409 it is revoked.
        """
        found: RegisteredDevice = self.data("POST", _of(project, device) + "/rotate")
        return found

    def device_logs(
        self, project: str, device: str, *, lines: int = 100, before: int | None = None
    ) -> list[DeviceLogLine]:
        """The last lines of a device's log, oldest first; ``before``: those before the line of this id."""
        found: list[DeviceLogLine] = self.data(
            "GET", _of(project, device) + "/logs", params={"lines": lines, "before": before}
        )
        return found

    def device_updates(self, project: str, device: str) -> list[DeviceUpdate]:
        """What a device has made of each release, newest first."""
        found: list[DeviceUpdate] = self.data("GET", _of(project, device) + "/updates")
        return found

    def set_dark(
        self,
        project: str,
        value: bool,
        *,
        devices: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> Ordered:
        """Tell devices to be dark, or not; all of them, if none are named."""
        body = {"value": value, **_targets(devices, groups)}
        found: Ordered = self.data("POST", path("/projects/{}/setDark", project), json=body)
        return found

    def send_command(
        self,
        project: str,
        name: str,
        value: Any,
        *,
        devices: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> Ordered:
        """Give devices a command; all of them, if none are named."""
        body = {"name": name, "value": value, **_targets(devices, groups)}
        found: Ordered = self.data("POST", path("/projects/{}/commands", project), json=body)
        return found

    def device_commands(
        self, project: str, *, device: str | None = None, limit: int = 100
    ) -> list[DeviceCommand]:
        """Commands and their answers, newest first."""
        found: list[DeviceCommand] = self.data(
            "GET",
            path("/projects/{}/commands", project),
            params={"device": device, "limit": limit},
        )
        return found


def _of(project: str, device: str) -> str:
    return path("/projects/{}/devices/{}", project, device)


def _targets(devices: Sequence[str] | None, groups: Sequence[str] | None) -> dict[str, list[str]]:
    found = {"devices": devices, "groups": groups}
    return {name: [*names] for name, names in found.items() if names is not None}
