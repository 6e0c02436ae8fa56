"""Devices without a socket: what one should run, and what it sends. The same inbox stores it."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from model_deployment.core.devices import Device, DeviceCommand
from model_deployment.core.errors import InvalidRequest, Unavailable, UnknownDevice, UnknownProject
from model_deployment.core.releases import Release
from model_deployment.devices.decide import wish
from model_deployment.devices.frames import NotProtocol, read_posted
from model_deployment.devices.inbox import Inbox, Origin
from model_deployment.devices.limits import DeviceLimits, DeviceRate
from model_deployment.devices.rows import DeviceRows


@dataclass(frozen=True, slots=True)
class ActiveModel:
    """What a device should run, and which commands it has not answered."""

    device: Device
    release: Release | None
    #: The id of the key that signed it.
    key: str
    commands: Sequence[DeviceCommand]

    @property
    def etag(self) -> str:
        """Strong, and quoted (RFC 9110, section 8.8.3). It changes with anything but the time."""
        release = self.release
        told = (
            release and (release.number, release.signature, self.key),
            [(one.id, one.name) for one in self.commands],
        )
        return f'"{hashlib.sha256(repr(told).encode()).hexdigest()[:32]}"'


#: Seconds that an answer is held back at most, so that a device sends no faster than over a socket.
_HELD_BACK = 10.0
#: Devices whose rate is remembered, before those that have sent nothing for a while are forgotten.
_REMEMBERED = 10_000


class DevicePolling:
    def __init__(self, rows: DeviceRows, inbox: Inbox, limits: DeviceLimits) -> None:
        self._rows = rows
        self._inbox = inbox
        self._limits = limits
        #: Ids of devices with a call of :meth:`receive` under way, and how fast devices send.
        self._sending: set[int] = set()
        self._rates: dict[int, DeviceRate] = {}

    async def device(self, id: int) -> Device:
        """The device of a token.

        Raises:
            UnknownDevice: it was removed meanwhile.
        """
        found = await self._rows.devices.get(id)
        if found is None:
            raise UnknownDevice("cannot find the device: it was removed meanwhile")
        return found

    async def named(self, project: str, device: str) -> Device:
        """A device by the names of its project and its own.

        Raises:
            UnknownProject, UnknownDevice: there is none.
        """
        found = await self._rows.projects.find(project)
        if found is None:
            raise UnknownProject(f"cannot find the project {project[:64]!a}")
        named = await self._rows.devices.find(found, device)
        if named is None:
            raise UnknownDevice(f"cannot find the device {device[:64]!a} in project {found.name}")
        return named

    async def active(self, device: Device, *, told: bool) -> ActiveModel:
        """What a device should run now.

        Args:
            told: the device itself asks: it is there, and it is told of the release and the commands.
        """
        rows = self._rows
        projects = [one for one in await rows.projects.all() if one.id == device.project_id]
        release = wish(device, await rows.releases.offerable(projects[0])) if projects else None
        commands = await rows.commands.open(device)
        if told:
            await rows.devices.seen({device.id: (datetime.now(UTC), None)})
            if release is not None:
                await rows.offer({device.id: release})
            if fresh := [one.id for one in commands if one.delivered_at is None]:
                await rows.commands.deliver(fresh)
        return ActiveModel(device, release, rows.key_id() if release else "", commands)

    async def receive(self, device: Device, body: bytes) -> int:
        """Store what a device sends, and return the number of the last message that is stored.

        Raises:
            InvalidRequest: the body is not that of ``POST messages``; nothing is stored.
            Unavailable: nothing can be stored now, or another call of the device is under way; the device
                keeps its messages.
            UnknownDevice: it was removed meanwhile.
        """
        if device.id in self._sending:
            raise Unavailable(
                "cannot take the messages: another call of this device is under way; send them after it",
                retry_after=1,
            )
        self._sending.add(device.id)
        try:
            received = await self._store(device, body)
            await asyncio.sleep(min(_HELD_BACK, self._pause(device.id, len(body))))
            return received
        finally:
            self._sending.discard(device.id)

    def _pause(self, id: int, size: int) -> float:
        """Seconds that a device has to wait after so many bytes."""
        now = time.monotonic()
        if len(self._rates) >= _REMEMBERED:
            self._rates = {id: one for id, one in self._rates.items() if not one.is_idle(now)}
        return self._rates.setdefault(id, DeviceRate(self._limits, now)).took(size, now)

    async def _store(self, device: Device, body: bytes) -> int:
        try:
            # Of 1 MiB, it takes tens of milliseconds.
            posted = await asyncio.to_thread(read_posted, body, datetime.now(UTC))
        except NotProtocol as error:
            raise InvalidRequest(f"cannot take the messages: {error}") from error
        hello = posted.hello
        row = await self._rows.devices.poll(
            device, agent=hello.agent, running=hello.running, health=posted.health
        )
        if not posted.messages:
            return row.received if row.stream == hello.stream else 0
        origin = Origin(device.id, None, hello.stream)
        return await self._inbox.put(origin, posted.messages, len(body))
