"""The dashboard with endpoints and without a controller, at an address of its own."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from model_deployment.core.device_figures import DeviceFigures
from model_deployment.core.endpoints import EndpointName, Order
from model_deployment.core.events import Event
from model_deployment.core.names import ModelKey
from model_deployment.core.users import Role, User
from model_deployment.dashboard.dashboard import Dashboard
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.devices.service import Devices
from model_deployment.flow_project import Project
from model_deployment.flows.runs import FlowRuns
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.telemetry.prometheus import Snapshot
from tests.support.crowd import Crowd
from tests.support.endpoint_views import MemoryEndpoints
from tests.support.memory_devices import MemoryDevices, traffic
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


async def _no_errors(window: timedelta) -> dict[ModelKey, Any]:
    return {}


async def _no_events(key: ModelKey, limit: int) -> list[Event]:
    return []


def dependencies(
    endpoints: MemoryEndpoints,
    role: Role = Role.OPERATOR,
    crowd: Crowd | None = None,
    project: Project | None = None,
    flow_runs: FlowRuns | None = None,
    devices: Devices | None = None,
    figures: DeviceFigures | None = None,
) -> Dependencies:
    async def collect() -> Snapshot:
        captures = CaptureStatus(0, 0, 0, 0, "")
        endpoint_views = await endpoints.all()
        return Snapshot(
            [],
            None,
            captures,
            0.0,
            True,
            {},
            endpoints=endpoint_views,
            devices=figures or DeviceFigures(),
        )

    found = SimpleNamespace(
        monitoring=SimpleNamespace(errors=SimpleNamespace(newest=_no_errors)),
        controller=_Controller(),
        endpoints=endpoints,
        collect=crowd.collect if crowd else collect,
        events=crowd.events if crowd else _no_events,
        totals=crowd.totals if crowd else dict,
        ping_documents=_nothing,
        ping_registry=_nothing,
        identify=lambda scope: User("ann", role),
        project=project or Project(None),
        flow_runs=flow_runs or SimpleNamespace(known=list),
        uploads=None,
        trained_on=None,
        devices=devices or MemoryDevices().use_cases(),
        device_traffic=traffic,
    )
    return cast(Dependencies, found)


def dashboard(
    endpoints: MemoryEndpoints, role: Role = Role.OPERATOR, crowd: Crowd | None = None
) -> Dashboard:
    return Dashboard(dependencies(endpoints, role, crowd))


def application(
    endpoints: MemoryEndpoints, role: Role = Role.OPERATOR, crowd: Crowd | None = None
) -> FastAPI:
    """The pages, which are live, and the calls that they steer rollouts with."""
    pages = dashboard(endpoints, role, crowd)

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
def served(endpoints: MemoryEndpoints, crowd: Crowd | None = None) -> Iterator[str]:
    """The address of the pages."""
    with serving(application(endpoints, crowd=crowd)) as address:
        yield address


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The address of an application, which runs on a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        until_sync(lambda: server.started, what="the pages")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
