"""One connection of a device: reads its frames, and writes what it is to know.

The state is one of: no ``hello`` yet (generation 0), current, ended. ``run`` reads. A task that lives only
while there is something to write writes it.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from model_deployment.core.devices import Device, DeviceCommand
from model_deployment.devices.frames import (
    Frame,
    Hello,
    Message,
    NotProtocol,
    Ping,
    read_frame,
)
from model_deployment.devices.inbox import Inbox, Origin
from model_deployment.devices.limits import CloseCode, DeviceLimits, DeviceRate
from model_deployment.devices.outbox import SessionOutbox, bye_frame, command_frame, welcome_frame

_log = logging.getLogger(__name__)

#: Characters of a frame that is read on a thread, since it takes milliseconds.
_LARGE = 32 * 1024
#: Bytes of the reason in a closing frame: RFC 6455, section 5.5, has 125 with the code.
_CLOSE_REASON = 123

Health = Mapping[str, float | str]


class DeviceSocket(Protocol):
    """A WebSocket that was accepted."""

    async def receive(self) -> str | None:
        """The next text frame; None: the connection is over.

        Raises:
            NotProtocol: it is no text.
        """
        ...

    async def send(self, text: str) -> None:
        """Send a frame, and wait until the device has taken most of those before.

        Raises:
            ConnectionError: the connection is over.
        """
        ...

    async def close(self, code: int, reason: str) -> None: ...


class SessionHost(Protocol):
    """What sessions have in common; ``connections.py`` is it."""

    inbox: Inbox
    limits: DeviceLimits

    async def greet(self, session: "Session", hello: Hello) -> None: ...
    def heard(self, session: "Session", health: Health | None) -> None: ...
    def delivered(self, command_id: int) -> None: ...


class Session:
    def __init__(
        self, socket: DeviceSocket, device: Device, host: SessionHost, rate: DeviceRate
    ) -> None:
        self._socket = socket
        self.device = device
        self._host = host
        self._limits = host.limits
        self._rate = rate
        #: 0 until the device has said hello.
        self.generation = 0
        self.opened = self.heard = time.monotonic()
        #: What it was told to run last: number and signature. None: not told yet; a tuple of None: nothing.
        self.told: tuple[int | None, str] | None = None
        #: Commands that it was sent.
        self._commanded: set[int] = set()
        #: It has sent messages that could not be taken, and has to send them again.
        self.behind = False
        self._stored = 0
        #: Bytes of the messages that are on their way into the store.
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self._moved = asyncio.Event()
        self._outbox = SessionOutbox()
        self._writer: asyncio.Task[None] | None = None
        self._writing_since: float | None = None
        self._end: tuple[int, str] | None = None
        self._ended_at = 0.0
        self._task: asyncio.Task[object] | None = None
        self._cut = False

    @property
    def origin(self) -> Origin:
        return Origin(self.device.id, self.generation, self.device.stream)

    @property
    def ended(self) -> bool:
        return self._end is not None

    async def run(self) -> None:
        """Read until the connection is over."""
        self._task = asyncio.current_task()
        try:
            try:
                await self._read()
            except NotProtocol as error:
                self.end(CloseCode.NOT_PROTOCOL, str(error))
            except ConnectionError:
                pass  # the device is gone
            if self._writer is not None and self.ended:
                await asyncio.wait({self._writer}, timeout=self._limits.farewell)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._cut or task is None or task.uncancel():
                raise
        finally:
            self._end = self._end or (CloseCode.RESTART, "")
            if self._writer is not None:
                self._writer.cancel()

    def begin(self, device: Device, project: str) -> None:
        """Take the device's ``hello``: this is its newest connection."""
        self.device = device
        self.generation = device.generation
        self._stored = device.received
        self._outbox.welcome(welcome_frame(device, project))
        self._write_soon()

    def desire(self, told: tuple[int | None, str], frame: str) -> None:
        """Tell the device what it should run."""
        self.told = told
        self._outbox.desire(frame)
        self._write_soon()

    def command(self, commands: Sequence[DeviceCommand]) -> None:
        """Give the device its open commands, those that it has not."""
        self._outbox.keep_commands({one.id for one in commands})
        for one in commands:
            if one.id not in self._commanded:
                self._commanded.add(one.id)
                self._outbox.command(one.id, command_frame(one))
        self._commanded &= {one.id for one in commands}
        self._write_soon()

    def end(self, code: int, reason: str) -> None:
        """Say why the connection ends, and end it. What comes of it now counts no more."""
        if self._end is None:
            self._end = code, reason
            self._ended_at = time.monotonic()
            self._moved.set()
            self._write_soon()

    def look(self, now: float) -> None:
        """End what has taken too long; called once a second."""
        limits = self._limits
        if self.ended:
            if now - self._ended_at > limits.farewell:
                self._cut_off()
        elif not self.generation and now - self.opened > limits.hello:
            self.end(CloseCode.NOT_PROTOCOL, f"no hello came within {limits.hello:g} s")
        elif now - self.heard > limits.silence:
            self.end(CloseCode.RESTART, f"nothing came for {limits.silence:g} s")
        elif self._writing_since is not None and now - self._writing_since > limits.slow:
            self._end = CloseCode.RESTART, "too slow"
            self._cut_off()

    def _cut_off(self) -> None:
        """End the tasks: the other side does not react."""
        if not self._cut and self._task is not None:
            self._cut = True
            self._task.cancel()

    async def _read(self) -> None:
        while not self.ended and (text := await self._socket.receive()) is not None:
            if self.ended:
                return
            self.heard = now = time.monotonic()
            await self._take(await _read_frame(text), len(text))
            if pause := self._rate.took(len(text), now):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._over(), pause)

    async def _over(self) -> None:
        while not self.ended:
            self._moved.clear()
            await self._moved.wait()

    async def _take(self, frame: Frame, size: int) -> None:
        if isinstance(frame, Hello):
            if self.generation:
                raise NotProtocol("hello is sent once")
            await self._host.greet(self, frame)
            return
        if not self.generation:
            raise NotProtocol("the first frame is hello")
        self._host.heard(self, frame.health if isinstance(frame, Ping) else None)
        if isinstance(frame, Ping):
            self._outbox.pong()
            self._write_soon()
        else:
            await self._take_message(frame, size)

    async def _take_message(self, message: Message, size: int) -> None:
        wanted = self._stored + len(self._sizes) + 1
        if message.seq != wanted or self.behind:
            if message.seq <= self._stored or message.seq > wanted:
                self._acknowledge()
            return  # else it is on its way into the store
        if not self._host.inbox.accepts(message) or not await self._may_add(size):
            # The device keeps it, and sends it again over another connection.
            self.behind = True
            return
        self._sizes.append(size)
        self._bytes += size
        self._host.inbox.add(self.origin, message, size, self._on_stored)

    async def _may_add(self, size: int) -> bool:
        """Wait for a place; False if there is none, or the connection has ended."""
        limits = self._limits
        try:
            async with asyncio.timeout(limits.patience):
                while not self.ended and (
                    len(self._sizes) >= limits.unacknowledged
                    or (self._sizes and self._bytes + size > limits.unacknowledged_bytes)
                ):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return False
        return not self.ended and await self._host.inbox.room(limits.patience)

    def _on_stored(self, number: int | None) -> None:
        """The inbox has stored messages."""
        if number is None:
            self.end(CloseCode.RESTART, "the messages were not stored; send them again")
            return
        for _ in range(min(number - self._stored, len(self._sizes))):
            self._bytes -= self._sizes.popleft()
        self._stored = max(self._stored, number)
        self._moved.set()
        self._acknowledge()

    def _acknowledge(self) -> None:
        self._outbox.acknowledge(self._stored)
        self._write_soon()

    def _write_soon(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """Write what there is, then end."""
        try:
            while not self.ended and (frame := self._outbox.next()) is not None:
                await self._send(frame.text)
                if frame.command is not None:
                    self._host.delivered(frame.command)
            if self._end is not None:
                code, reason = self._end
                await self._send(bye_frame(reason))
                await self._socket.close(code, _short(reason))
        except ConnectionError:
            self._end = self._end or (CloseCode.RESTART, "")  # the device is gone
        except Exception:
            _log.exception("cannot write to the device %s", self.device.name)
            self._end = self._end or (CloseCode.RESTART, "")
            self._cut_off()
        finally:
            self._writing_since = None
            if not self.ended:
                self._writer = None

    async def _send(self, text: str) -> None:
        self._writing_since = time.monotonic()
        await self._socket.send(text)
        self._writing_since = None


async def _read_frame(text: str) -> Frame:
    now = datetime.now(UTC)
    if len(text) > _LARGE:
        return await asyncio.to_thread(read_frame, text, now)
    return read_frame(text, now)


def _short(reason: str) -> str:
    return reason.encode()[:_CLOSE_REASON].decode(errors="ignore")
