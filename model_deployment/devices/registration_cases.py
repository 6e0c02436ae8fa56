"""The use cases of devices: enrol, register, change, revoke, give another token, forget."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from model_deployment.core.devices import (
    MAX_ATTRIBUTES,
    MAX_GROUPS,
    TOKEN_PREFIX,
    Device,
    DeviceProject,
    device_name,
)
from model_deployment.core.errors import InvalidRequest, UnknownProject
from model_deployment.core.events import by_user
from model_deployment.devices.reader import DeviceReader
from model_deployment.devices.views import DeviceView, EnrolmentCode, RegisteredDevice

#: How long a code is good.
CODE_LIFETIME = timedelta(minutes=15)
#: Begins each code.
CODE_PREFIX = "mdc_"
#: Random bytes of a code and of a token; in base64 they have 43 characters.
_BYTES = 32


class RegistrationCases(DeviceReader):
    """Writes what operators want of devices, and who a device is."""

    async def enrol(
        self, project: str, groups: Sequence[str], device: str | None, by: str
    ) -> EnrolmentCode:
        """Make a code for one device, which is good once, for 15 minutes.

        Args:
            device: the only name that it may take; None: any new one.

        Raises:
            InvalidName, InvalidRequest: the groups or the name cannot be used.
            Unavailable: the key that signs releases cannot be used.
        """
        found = await self._project(project)
        _check_groups(groups)
        if device is not None:
            device_name(device, "device")
        key = await self._parts.key()
        code = f"{CODE_PREFIX}{secrets.token_urlsafe(_BYTES)}.{key.id}"
        enrolment = await self._parts.devices.enrol(
            found, hash_of(code), [*dict.fromkeys(groups)], device, CODE_LIFETIME
        )
        text = f"code for {device or 'a new device'} made"
        await self._parts.releases.note(found, None, by_user(text, by), device=device)
        return EnrolmentCode(enrolment, code)

    async def register(
        self, project: str, code: str, device: str, attributes: Mapping[str, Any]
    ) -> RegisteredDevice:
        """Use a code up, and give the device that sent it a token.

        Raises:
            UnknownProject: there is no such project.
            Forbidden: the code is unknown, used or expired; no word tells which.
            Conflict: another device has the name.
            InvalidName, InvalidRequest: the name or the attributes cannot be used.
        """
        device_name(device, "device")
        _check_attributes(attributes)
        found = await self._parts.projects.find(project)
        if found is None:  # anybody may ask, so this names no project
            raise UnknownProject(
                f"cannot register the device {device}: there is no project {project[:64]!a}; ask an "
                "operator for its name and a new code"
            )
        # Before the code is used up: without the key the device could trust nobody.
        await self._parts.key()
        token = _token()
        made = await self._parts.devices.register(
            found, hash_of(code), device, hash_of(token), attributes
        )
        await self._parts.releases.note(found, None, "registered with a code", device=made.name)
        return await self._with_token(found, made, token)

    async def rotate(self, project: str, device: str, by: str) -> RegisteredDevice:
        """Give a device another token; the one before is no longer good, and its connection ends.

        Raises:
            UnknownDevice: there is none.
            Conflict: it is revoked.
        """
        found = await self._project(project)
        row = await self._device(found, device)
        # Before the token is changed: who asked would not get the new one.
        await self._parts.key()
        token = _token()
        changed = await self._parts.devices.rotate(row, hash_of(token))
        await self._noted(found, changed, "given another token", by)
        return await self._with_token(found, changed, token)

    async def _with_token(
        self, project: DeviceProject, device: Device, token: str
    ) -> RegisteredDevice:
        self._shut_out(device)
        key = await self._parts.key()
        return RegisteredDevice(device, project.name, token, key.id, key.public)

    async def change_device(
        self,
        project: str,
        device: str,
        by: str,
        *,
        groups: Sequence[str] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> DeviceView:
        """Change the groups or the attributes of a device; None leaves as it is.

        Raises:
            UnknownDevice: there is none.
            InvalidName, InvalidRequest: the groups or the attributes cannot be used.
        """
        found = await self._project(project)
        row = await self._device(found, device)
        if groups is not None:
            _check_groups(groups)
        if attributes is not None:
            _check_attributes(attributes)
        changed = await self._parts.devices.change(row, groups=groups, attributes=attributes)
        if changed.groups != row.groups:
            named = ", ".join(changed.groups) or "none"
            await self._noted(found, changed, f"its groups are {named}: changed", by)
            # It may belong to an open stage now.
            self._parts.connections.tell([changed.id])
            self._parts.wake()
        return await self._device_view(found, changed)

    async def revoke(self, project: str, device: str, by: str) -> DeviceView:
        """Shut a device out: its token is no longer good, and its connection ends. Raises UnknownDevice."""
        found = await self._project(project)
        row = await self._device(found, device)
        changed = await self._parts.devices.revoke(row)
        if row.revoked_at is None:
            await self._noted(found, changed, "revoked", by)
        self._shut_out(changed)
        self._parts.wake()
        return await self._device_view(found, changed)

    async def delete_device(self, project: str, device: str, by: str) -> None:
        """Forget a device. Raises UnknownDevice."""
        found = await self._project(project)
        row = await self._device(found, device)
        await self._parts.devices.remove(row)
        await self._noted(found, row, "deleted", by)
        self._shut_out(row)
        self._parts.wake()

    def _shut_out(self, device: Device) -> None:
        """Let no token and no connection of before be good any more."""
        self._parts.forget_tokens()
        self._parts.connections.drop(device.id)

    async def _noted(self, project: DeviceProject, device: Device, what: str, by: str) -> None:
        await self._parts.releases.note(project, None, by_user(what, by), device=device.name)


def hash_of(secret: str) -> str:
    """What is stored of a code or a token: its SHA-256, in hexadecimal digits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(_BYTES)


def _check_groups(groups: Sequence[str]) -> None:
    if len(groups) > MAX_GROUPS:
        raise InvalidRequest(
            f"cannot use {len(groups)} groups: a device has {MAX_GROUPS} at most; name fewer"
        )
    for group in groups:
        device_name(group, "group")


def _check_attributes(attributes: Mapping[str, Any]) -> None:
    if len(attributes) > MAX_ATTRIBUTES:
        raise InvalidRequest(
            f"cannot use {len(attributes)} attributes: a device has {MAX_ATTRIBUTES} at most; name fewer"
        )
