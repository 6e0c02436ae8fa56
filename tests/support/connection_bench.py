"""Connections of devices at work on a real state database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from model_deployment.core.devices import Device
from model_deployment.devices.connections import DeviceConnections
from model_deployment.devices.document_backlog import DocumentBacklog
from model_deployment.devices.inbox import Inbox
from model_deployment.devices.limits import DeviceLimits
from tests.support.device_rows import DeviceBase, device_base
from tests.support.device_sockets import ServedDevice

QUICK = DeviceLimits(sweep=0.02, seen=0.02)


class ConnectionBench:
    """Connections, what they work with, and the devices at their other ends."""

    def __init__(self, base: DeviceBase, limits: DeviceLimits, most_waiting: int) -> None:
        self.base = base
        self.backlog = DocumentBacklog(most_waiting)
        self.inbox = Inbox(base.rows.devices, self.backlog)
        self.connections = DeviceConnections(base.rows, self.inbox, limits)
        self._devices: list[ServedDevice] = []

    def connect(self, device: Device) -> ServedDevice:
        made = ServedDevice(self.connections, device)
        self._devices.append(made)
        return made

    async def greeted(self, device: Device, **hello: Any) -> ServedDevice:
        """A connection that was welcomed."""
        socket = self.connect(device)
        socket.hello(**hello)
        await socket.got("desired")
        return socket

    async def close(self) -> None:
        for one in self._devices:
            one.hang_up()
        await self.connections.close()
        await asyncio.gather(*(one.task for one in self._devices))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class MakeBench(Protocol):
    """Makes a bench; limits of devices are named."""

    async def __call__(self, most_waiting: int = ..., **limits: Any) -> ConnectionBench: ...


@asynccontextmanager
async def connection_benches(folder: Path) -> AsyncIterator[MakeBench]:
    """Benches whose work ends with the context.

    ``most_waiting``: bytes of captures that may wait for the document store.
    """
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(device_base(folder))

        async def made(most_waiting: int = 10**9, **limits: Any) -> ConnectionBench:
            bench = ConnectionBench(base, replace(QUICK, **limits), most_waiting)
            for work in (bench.connections.run(), bench.inbox.run()):
                task = asyncio.create_task(work)
                stack.push_async_callback(_ended, task)
            stack.push_async_callback(bench.close)
            return bench

        yield made
