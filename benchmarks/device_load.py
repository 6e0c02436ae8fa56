"""Simulated devices for ``devices.py``: many in one process, told what to do over standard input.

    python benchmarks/device_load.py PORT DEVICES

DEVICES is a JSON file with a name and a token for each. They speak docs/reference/device-protocol.md over
real sockets, and do with a release what an agent does, but for its model. Commands are words, each
answered by a line of JSON: ``connect``, ``leave`` (with a close), ``state``.
"""

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop
from load import HOST
from report import ROOT
from websockets.exceptions import WebSocketException

sys.path.insert(0, str(ROOT))

from tests.support.device_client import DeviceClient

#: Seconds between two signs of life, and between two messages of a device; as agents have them.
PING, MESSAGE = 20.0, 60.0
#: Every so many devices loads a file of each release, and checks its size.
SAMPLE = 50
#: Connections that are opened at the same time.
AT_ONCE = 100
#: Seconds of the shortest and the longest pause before a device connects again.
_FIRST, _LONGEST = 1.0, 60.0
#: Other processes are measured beside this one, which stands for machines elsewhere.
_NICE = 10


class SimulatedDevice(DeviceClient):
    """Pings, counts, logs, and takes what it is told to run."""

    def __init__(self, port: int, name: str, token: str, *, loads: bool, turn: asyncio.Semaphore):
        super().__init__(f"http://{HOST}:{port}", name, token)
        self.downloaded = 0
        self._port = port
        self._loads = loads
        self._turn = turn
        self._update: asyncio.Task[None] | None = None

    async def live(self) -> None:
        """Be connected, until cancelled."""
        beat = asyncio.create_task(self._beat())
        pause = _FIRST
        try:
            while True:
                begun = time.monotonic()
                with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                    await self.connect_once()
                self.connected.clear()
                pause = _FIRST if time.monotonic() - begun > 5 else min(_LONGEST, 2 * pause)
                await asyncio.sleep(pause * (0.5 + random.random() / 2))
        finally:
            beat.cancel()

    async def open(self) -> asyncio.Task[None]:
        """Connect when there is room for it; what keeps it connected."""
        async with self._turn:
            task = asyncio.create_task(self.live())
            await self.connected.wait()
        return task

    async def _beat(self) -> None:
        """Devices were not all switched on at the same moment."""
        next_message = time.monotonic() + MESSAGE * random.random()
        await asyncio.sleep(PING * random.random())
        while True:
            self.ping(memory=48e6, disk_free=9e9, load=random.random(), uptime=time.monotonic())
            if time.monotonic() >= next_message:
                next_message += MESSAGE
                self._message()
            await asyncio.sleep(PING)

    def _message(self) -> None:
        """What was predicted in the minute before, or lines of the log."""
        if random.random() < 0.5:
            line = {"at": int(time.time() * 1000), "level": "info", "text": "12 pieces in 60 s"}
            self.keep("log", {"lines": [line] * 3})
            return
        latencies = Counter(int(random.gauss(20, 4)) for _ in range(60))
        self.keep("metrics", {
            "release": self.running or 0, "model": "diabetes", "version": 1,
            "minute": int(time.time()) // 60 - 1, "requests": 60, "rows": 60, "errors": {},
            "latencies": sorted(latencies.items()),
        })  # fmt: skip

    def _take(self, frame: dict[str, Any]) -> None:
        super()._take(frame)
        if frame["type"] == "desired" and (release := frame["release"]) is not None:
            manifest = json.loads(release["manifest"])
            if manifest["number"] != self.running:
                if self._update is not None:
                    self._update.cancel()
                self._update = asyncio.create_task(self._run(manifest))

    async def _run(self, manifest: dict[str, Any]) -> None:
        number, size = manifest["number"], sum(one["size"] for one in manifest["files"])
        for state in ("downloading", "verifying", "trying", "running"):
            self.keep("progress", {
                "release": number, "state": state, "reason": "", "bytes": size, "of": size,
            })  # fmt: skip
            if state == "downloading" and self._loads:
                await self._load(max(manifest["files"], key=lambda one: one["size"]))
            await asyncio.sleep(random.random())
        self.running = number

    async def _load(self, file: dict[str, Any]) -> None:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        head = (
            f"GET /{PROJECT}/blobs/{file['sha256']} HTTP/1.1\r\nHost: {HOST}:{self._port}\r\n"
            f"Authorization: Bearer {self.token}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode())
        answer = await reader.read()
        writer.close()
        body = answer.partition(b"\r\n\r\n")[2]
        if len(body) != file["size"]:
            raise RuntimeError(
                f"a file has {len(body)} bytes, not {file['size']}: {answer[:200]!a}"
            )
        self.downloaded += len(body)


PROJECT = "bench"


class Devices:
    """All devices of this process."""

    def __init__(self, port: int, known: list[tuple[str, str]]) -> None:
        turn = asyncio.Semaphore(AT_ONCE)
        self._all = [
            SimulatedDevice(port, name, token, loads=place % SAMPLE == 0, turn=turn)
            for place, (name, token) in enumerate(known)
        ]
        self._alive: list[asyncio.Task[None]] = []

    async def connect(self) -> dict[str, Any]:
        begun = time.monotonic()
        self._alive = await asyncio.gather(*(one.open() for one in self._all))
        return {"seconds": time.monotonic() - begun}

    async def leave(self) -> dict[str, Any]:
        for task in self._alive:
            task.cancel()
        await asyncio.gather(*self._alive, return_exceptions=True)
        self._alive = []
        return {}

    async def state(self) -> dict[str, Any]:
        return {
            "connected": sum(one.connected.is_set() for one in self._all),
            "running": Counter(one.running or 0 for one in self._all),
            "sent": sum(one.last for one in self._all),
            "kept": sum(len(one.kept) for one in self._all),
            "downloaded": sum(one.downloaded for one in self._all),
            "generations": max(
                (one.generations[-1] for one in self._all if one.generations), default=0
            ),
            "refused": dict(Counter(status for one in self._all for status in one.refused)),
        }


async def main(port: int, known: list[tuple[str, str]]) -> None:
    """Do what is asked until standard input ends."""
    devices = Devices(port, known)
    commands = {"connect": devices.connect, "leave": devices.leave, "state": devices.state}
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := (await reader.readline()).decode().strip():
        sys.stdout.write(json.dumps(await commands[line]()) + "\n")
        sys.stdout.flush()
    await devices.leave()


if __name__ == "__main__":
    os.nice(_NICE)
    uvloop.run(main(int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())))
