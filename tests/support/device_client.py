"""A device that keeps its messages until they are acknowledged, over real sockets that may be cut."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

#: Messages that may be unacknowledged.
_WINDOW = 64
#: Seconds between two tries to connect.
_PAUSE = 0.1


class DeviceClient:
    """Speaks docs/reference/device-protocol.md, and shares no code with the product."""

    def __init__(self, url: str, name: str, token: str) -> None:
        self.name, self.token = name, token
        self.url = f"{url.replace('http', 'ws', 1)}/ws/{name}"
        self.stream = "stream-1"
        self.running: int | None = None
        #: Messages that are not acknowledged yet, by number.
        self.kept: dict[int, dict[str, Any]] = {}
        self.last = 0
        self.acknowledged = 0
        #: What came, of the types that a test looks at.
        self.desired: list[dict[str, Any] | None] = []
        self.commands: list[dict[str, Any]] = []
        self.byes: list[str] = []
        self.closed: list[int | None] = []
        self.generations: list[int] = []
        self.refused: list[int] = []
        self.connected = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._added = asyncio.Event()

    def keep(self, kind: str, data: dict[str, Any], at: int | None = None) -> int:
        """Put a message into the device's store; its number."""
        self.last += 1
        moment = int(time.time() * 1000) if at is None else at
        self.kept[self.last] = {
            "type": "message", "seq": self.last, "kind": kind, "at": moment, "data": data,
        }  # fmt: skip
        self._added.set()
        return self.last

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                await self.connect_once()
            self.connected.clear()
            await asyncio.sleep(_PAUSE * (0.5 + random.random()))

    async def connect_once(self) -> None:
        """One connection, until its end."""
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            socket = await connect(
                self.url, additional_headers=headers, compression=None, ping_interval=None,
                open_timeout=10, close_timeout=1,
            )  # fmt: skip
        except InvalidHandshake as error:
            self.refused.append(getattr(getattr(error, "response", None), "status_code", 0))
            raise
        self._socket = socket
        sending: asyncio.Task[None] | None = None
        try:
            await self._say(
                type="hello", protocol=1, agent="1.0.0", stream=self.stream, running=self.running
            )
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] == "welcome":
                    self._acknowledge(frame["received"])
                    self.generations.append(frame["generation"])
                    self.connected.set()
                    sending = asyncio.create_task(self._send(frame["received"]))
                else:
                    self._take(frame)
        finally:
            self._socket = None
            self.closed.append(socket.close_code)
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            socket.transport.abort()

    def cut(self) -> None:
        """The line is cut: nobody says goodbye."""
        if self._socket is not None:
            self._socket.transport.abort()

    def ping(self, **health: Any) -> None:
        asyncio.get_running_loop().create_task(self._say(type="ping", health=health))

    async def _say(self, **frame: Any) -> None:
        if self._socket is not None:
            await self._socket.send(json.dumps(frame))

    async def _send(self, received: int) -> None:
        """Send all that is kept from ``received`` + 1 on, in order."""
        following = received + 1
        while True:
            self._added.clear()
            while following in self.kept and following - self.acknowledged <= _WINDOW:
                await self._say(**self.kept[following])
                following += 1
            await self._added.wait()

    def _take(self, frame: dict[str, Any]) -> None:
        takes: dict[str, Callable[[], object]] = {
            "ack": lambda: self._acknowledge(frame["seq"]),
            "desired": lambda: self.desired.append(frame["release"]),
            "command": lambda: self.commands.append(frame),
            "bye": lambda: self.byes.append(frame["reason"]),
            "pong": lambda: None,
        }
        takes[frame["type"]]()

    def _acknowledge(self, seq: int) -> None:
        """What is acknowledged is kept no longer. It must have been sent, and never be taken back."""
        assert seq >= self.acknowledged, (seq, self.acknowledged)
        assert seq <= self.last
        for one in range(self.acknowledged + 1, seq + 1):
            del self.kept[one]
        self.acknowledged = seq
        self._added.set()
