"""All connections of devices: which is the newest of each, who is there, and what they are to know.

A device is there when something has come of it. So no connection that ends marks a device as gone: the
times of what came are written, every few seconds for all devices at once, and presence follows from them.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from model_deployment.core.devices import Device
from model_deployment.core.errors import Forbidden, UnknownDevice
from model_deployment.devices.frames import Hello
from model_deployment.devices.inbox import Inbox
from model_deployment.devices.limits import CloseCode, DeviceLimits, DeviceRate
from model_deployment.devices.rows import DeviceRows
from model_deployment.devices.session import DeviceSocket, Health, Session
from model_deployment.devices.tell import NO_TOKEN, tell
from model_deployment.state.database import DatabaseError

_log = logging.getLogger(__name__)

#: Devices that are asked in one second to send their messages again.
_AGAIN = 50
#: Seconds before what could not be told or written is tried again.
_PAUSE = 1.0

_NO_ROOM = "too many devices are connected (MODEL_DEPLOYMENT_DEVICES)"
_ENDS = "the controller ends"


class DeviceConnections:
    """The sessions, one of each device."""

    def __init__(self, rows: DeviceRows, inbox: Inbox, limits: DeviceLimits) -> None:
        self._rows = rows
        self.inbox = inbox
        self.limits = limits
        #: By id of the device: those that have said hello, and those that have not.
        self._current: dict[int, Session] = {}
        self._opening: dict[int, Session] = {}
        #: Of devices that are connected, or were a moment ago.
        self._rates: dict[int, DeviceRate] = {}
        #: What came of devices and is not written yet.
        self._signs: dict[int, tuple[datetime, Health | None]] = {}
        self._delivered: set[int] = set()
        self._untold: set[int] = set()
        self._telling = asyncio.Event()
        #: Each until it is over: also those whose place another has taken.
        self._sessions: dict[Session, asyncio.Task[object]] = {}
        self._written = 0.0
        self._stopping = False

    async def serve(self, socket: DeviceSocket, device: Device) -> None:
        """Work for an accepted connection of a device, until it is over."""
        if self._stopping or not self._has_room(device.id):
            code = CloseCode.RESTART if self._stopping else CloseCode.TOO_MANY
            await socket.close(code, _ENDS if self._stopping else _NO_ROOM)
            return
        now = time.monotonic()
        rate = self._rates.setdefault(device.id, DeviceRate(self.limits, now))
        session = Session(socket, device, self, rate)
        if before := self._opening.get(device.id):
            before.end(CloseCode.REPLACED, "a newer connection took the place")
        self._opening[device.id] = session
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is a coroutine
        self._sessions[session] = task
        try:
            await session.run()
        finally:
            del self._sessions[session]
            for sessions in (self._opening, self._current):
                if sessions.get(device.id) is session:
                    del sessions[device.id]

    def tell(self, device_ids: Collection[int] | None) -> None:
        """What devices should run, or their commands, may have changed; None: of all."""
        self._untold.update(self._current if device_ids is None else device_ids)
        self._telling.set()

    def drop(self, device_id: int, code: int = CloseCode.TOKEN, reason: str = NO_TOKEN) -> None:
        """End the connection of a device; by default since its token is no longer good."""
        for sessions in (self._opening, self._current):
            if session := sessions.get(device_id):
                session.end(code, reason)

    def online(self) -> set[int]:
        """Ids of devices that are connected, and of which something has come in time."""
        since = time.monotonic() - self.limits.silence
        return {id for id, one in self._current.items() if one.heard >= since and not one.ended}

    async def run(self) -> None:
        """Tell devices what changes, and look at connections once a second, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell())
            tasks.create_task(self._sweep())

    def stop(self) -> None:
        """Say goodbye to all devices, and let no more in: the controller ends."""
        self._stopping = True
        for session in self._sessions:
            session.end(CloseCode.RESTART, _ENDS)

    async def close(self) -> None:
        """End all connections, and write what came of them. :meth:`run` has ended, or will be cancelled."""
        self.stop()
        if self._sessions:
            await asyncio.wait(self._sessions.values(), timeout=self.limits.farewell)
        await self._write()

    # What sessions call.

    async def greet(self, session: Session, hello: Hello) -> None:
        """Let a session be the newest of its device."""
        try:
            device = await self._rows.devices.connect(
                session.device, stream=hello.stream, agent=hello.agent, running=hello.running
            )
            projects = await self._rows.projects.all()
        except (UnknownDevice, Forbidden):
            session.end(CloseCode.TOKEN, NO_TOKEN)
            return
        except DatabaseError as error:
            _log.error("cannot connect the device %s: %s", session.device.name, error)
            session.end(CloseCode.RESTART, "the controller cannot write its state now")
            return
        if self._opening.get(device.id) is session:
            del self._opening[device.id]
        before = self._current.get(device.id)
        if session.ended:
            return
        if before is not None and before.generation > device.generation:
            session.end(CloseCode.REPLACED, "a newer connection took the place")
            return
        self._current[device.id] = session
        if before is not None:
            before.end(CloseCode.REPLACED, "a newer connection took the place")
            self.inbox.forget(before.origin)
        project = next((one.name for one in projects if one.id == device.project_id), "")
        session.begin(device, project)
        self.tell([device.id])

    def heard(self, session: Session, health: Health | None) -> None:
        """Something has come over a connection."""
        id = session.device.id
        if self._current.get(id) is session and not session.ended:
            before = self._signs.get(id)
            self._signs[id] = datetime.now(UTC), health or (before[1] if before else None)

    def delivered(self, command_id: int) -> None:
        self._delivered.add(command_id)

    # The two loops.

    async def _tell(self) -> None:
        while True:
            await self._telling.wait()
            self._telling.clear()
            ids, self._untold = self._untold, set()
            sessions = [self._current[id] for id in ids if id in self._current]
            try:
                await tell(self._rows, [one for one in sessions if not one.ended])
            except Exception as error:
                if isinstance(error, DatabaseError):
                    _log.error("cannot tell devices what they should run: %s", error)
                else:
                    _log.exception("cannot tell devices what they should run")
                self._untold |= ids
                self._telling.set()
                await asyncio.sleep(_PAUSE)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self.limits.sweep)
            try:
                await self.look()
            except Exception:
                _log.exception("cannot look at the connections of devices")

    async def look(self) -> None:
        """End connections that have taken too long, and write what came of the others."""
        now = time.monotonic()
        again = _AGAIN if self.inbox.has_room() else 0
        for session in self._sessions:
            session.look(now)
            if session.behind and again and not session.ended:
                again -= 1
                session.end(CloseCode.RESTART, "send the messages again")
        if now - self._written >= self.limits.seen:
            self._written = now
            self._forget_rates(now)
            await self._write()

    def _forget_rates(self, now: float) -> None:
        there = {session.device.id for session in self._sessions}
        for id in [id for id, rate in self._rates.items() if rate.is_idle(now)]:
            if id not in there:
                del self._rates[id]

    async def _write(self) -> None:
        """Write what came of devices; what cannot be written is written later."""
        signs, self._signs = self._signs, {}
        delivered, self._delivered = self._delivered, set()
        try:
            if signs:
                await self._rows.devices.seen(signs)
            if delivered:
                await self._rows.commands.deliver(delivered)
        except DatabaseError as error:
            _log.error("cannot write which devices are there: %s", error)
            self._signs = _merged(signs, self._signs)
            self._delivered |= delivered

    def _has_room(self, device_id: int) -> bool:
        if device_id in self._current or device_id in self._opening:
            return True  # its connection gives up its place
        return len(self._sessions) < self.limits.devices


def _merged(
    before: Mapping[int, tuple[datetime, Health | None]],
    after: Mapping[int, tuple[datetime, Health | None]],
) -> dict[int, tuple[datetime, Health | None]]:
    merged = {**before}
    for id, (at, health) in after.items():
        known = merged.get(id)
        merged[id] = at, health or (known[1] if known else None)
    return merged
