"""A device at the other end of a socket in memory."""

import asyncio
import json
from typing import Any

from model_deployment.core.devices import Device
from model_deployment.devices.connections import DeviceConnections
from tests.support.waiting import until


class MemorySocket:
    """Both ends of a WebSocket. Frames wait without limit, unless the device is made slow."""

    def __init__(self) -> None:
        self._to_controller: asyncio.Queue[str | None] = asyncio.Queue()
        self.received: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        #: The device reads only while this is set.
        self.reads = asyncio.Event()
        self.reads.set()

    # As the controller sees it.

    async def receive(self) -> str | None:
        return await self._to_controller.get()

    async def send(self, text: str) -> None:
        await self.reads.wait()
        if self.closed is not None:
            raise ConnectionError("closed")
        self.received.append(json.loads(text))

    async def close(self, code: int, reason: str) -> None:
        await self.reads.wait()
        self.closed = int(code), reason
        self._to_controller.put_nowait(None)

    # As the device sees it.

    def say(self, what: str, /, **members: Any) -> None:
        self.say_text(json.dumps({"type": what, **members}))

    def say_text(self, text: str) -> None:
        self._to_controller.put_nowait(text)

    def hang_up(self) -> None:
        """The connection is lost."""
        self.closed = self.closed or (1006, "")
        self._to_controller.put_nowait(None)

    def hello(self, stream: str = "s1", running: int | None = None) -> None:
        self.say("hello", protocol=1, agent="1.0.0", stream=stream, running=running)

    def log(self, seq: int, text: str = "") -> None:
        lines = [{"at": 0, "level": "info", "text": text or f"line {seq}"}]
        self.say("message", seq=seq, kind="log", at=0, data={"lines": lines})

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What it got of one type."""
        return [one for one in self.received if one["type"] == kind]

    async def got(self, kind: str, number: int = 1, /, **members: Any) -> dict[str, Any]:
        """Wait for the frame of a type, or the first with these members."""

        def found() -> dict[str, Any] | None:
            fitting = [one for one in self.of(kind) if members.items() <= one.items()]
            return fitting[number - 1] if len(fitting) >= number else None

        return await until(found, what=f"{number} {kind} {members}")

    async def end(self) -> tuple[int, str]:
        """Wait until the controller has closed it."""
        return await until(lambda: self.closed, what="the end of the connection")


class ServedDevice(MemorySocket):
    """A socket that connections serve."""

    def __init__(self, connections: DeviceConnections, device: Device) -> None:
        super().__init__()
        self.task = asyncio.create_task(connections.serve(self, device))
