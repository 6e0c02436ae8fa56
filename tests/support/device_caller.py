"""A caller of an application that has only the calls of devices."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.device_calls import DeviceWorld, device_world

#: Path of the project that there is.
P = "/projects/warehouse"


@dataclass
class DeviceCaller:
    """The caller, and the world behind the application."""

    world: DeviceWorld
    http: httpx.AsyncClient

    async def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = await self.http.request(method, path, **more)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def refusal(self, method: str, path: str, status: int, **more: Any) -> str:
        answer = await self.ask(method, path, status, **more)
        assert answer["detail"].startswith("cannot ")
        return str(answer["detail"])

    async def code(self, **body: Any) -> str:
        """An enrolment code of the project."""
        return str((await self.ask("POST", f"{P}/enrolments", 201, json=body))["code"])


@asynccontextmanager
async def device_caller(folder: Path) -> AsyncIterator[DeviceCaller]:
    """A controller with the project ``warehouse`` of the model ``diabetes``."""
    async with device_world(folder) as world:
        transport = httpx.ASGITransport(world.application())
        async with httpx.AsyncClient(transport=transport, base_url="http://test/") as http:
            await world.devices.create_project("warehouse", ["diabetes"], "ann")
            yield DeviceCaller(world, http)
