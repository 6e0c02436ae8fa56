"""The dashboard with endpoints and without a controller, at an address of its own."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from model_deployment.core.domain import Role, User
from model_deployment.core.endpoints import EndpointName, Order
from model_deployment.dashboard.dashboard import Dashboard
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.telemetry.prometheus import Snapshot
from tests.support.endpoint_views import MemoryEndpoints
from tests.support.waiting import until_sync

_ORDERS = {
    "promote": Order.PROMOTE,
    "pause": Order.PAUSE,
    "resume": Order.ADVANCE,
    "rollback": Order.ROLL_BACK,
}


class _Controller:
    """One without deployments."""

    closing = False
    get = None

    async def all(self) -> list[Any]:
        return []

    async def change(self, limit: float) -> None:
        await asyncio.sleep(min(limit, 0.2))


async def _nothing() -> None:
    return None


def dashboard(endpoints: MemoryEndpoints, role: Role = Role.OPERATOR) -> Dashboard:
    async def collect() -> Snapshot:
        captures = CaptureStatus(0, 0, 0, 0, "")
        return Snapshot([], None, captures, 0.0, True, {}, endpoints=await endpoints.all())

    dependencies = SimpleNamespace(
        monitoring=None,
        controller=_Controller(),
        endpoints=endpoints,
        collect=collect,
        totals=dict,
        ping_documents=_nothing,
        ping_registry=_nothing,
        identify=lambda scope: User("ann", role),
    )
    return Dashboard(cast(Dependencies, dependencies))


def application(endpoints: MemoryEndpoints, role: Role = Role.OPERATOR) -> FastAPI:
    """The pages, which are live, and the calls that they steer rollouts with."""
    pages = dashboard(endpoints, role)

    @asynccontextmanager
    async def live(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(pages.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    app = FastAPI(lifespan=live)
    app.include_router(pages.router())

    @app.post("/endpoints/{name}/{what}")
    async def steer(name: str, what: str) -> dict[str, str]:
        endpoints.order(EndpointName.parse(name), _ORDERS[what])
        return {}

    return app


@contextmanager
def served(endpoints: MemoryEndpoints) -> Iterator[str]:
    """The address of the pages."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            application(endpoints), log_level="warning", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        until_sync(lambda: server.started, what="the pages")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
