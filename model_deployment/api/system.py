"""The controller's own health and version."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response

from model_deployment import __version__
from model_deployment.api.schemas import (
    CapturesOut,
    HealthOut,
    MemoryOut,
    PortsOut,
    ReadyOut,
    VersionOut,
)
from model_deployment.api.unknown_parameters import StrictRoute
from model_deployment.control.controller import Controller
from model_deployment.core.measures import MachineMemory
from model_deployment.recording.upkeep import CaptureStatus

#: Seconds without a tick of the control loop after which the controller is not ready.
STUCK_AFTER = 10.0


def router(
    controller: Controller,
    *,
    idle: Callable[[], float],
    monitoring: Callable[[], CaptureStatus],
    mlflow_version: str,
    refresh: Callable[[], Awaitable[None]],
    memory: Callable[[], Awaitable[MachineMemory | None]],
) -> APIRouter:
    """The routes.

    Args:
        idle: seconds since the last good tick of the control loop.
        monitoring: the state of captures.
        refresh: has the newest counts of the proxies come in.
        memory: that of the machine.
    """
    routes = APIRouter(tags=["system"], route_class=StrictRoute)

    @routes.get("/health", summary="Predictions are answered", response_model=HealthOut)
    async def health() -> dict[str, str]:
        """Answered by a proxy, with or without a controller: without one, `controller` is `away`."""
        return {"status": "ok"}

    @routes.get(
        "/ready",
        summary="The controller is ready",
        response_model=ReadyOut,
        responses={503: {"model": ReadyOut, "description": "The control loop does not tick"}},
    )
    async def ready(response: Response) -> Any:
        """Ready while the state database is open and the control loop ticks."""
        await refresh()
        usage = await controller.ports()
        rows = await controller.all()
        machine = await memory()
        stuck = idle() > STUCK_AFTER
        if stuck:
            response.status_code = 503
        return ReadyOut(
            status="stuck" if stuck else "ready",
            last_tick_seconds=round(idle(), 3),
            deployments=Counter(row.state for row in rows),
            ports=PortsOut(
                range=f"{usage.first}-{usage.last}",
                free=usage.free,
                leased=usage.leased,
                quarantined=usage.quarantined,
                blocked=[{"port": held.port, "holder": held.holder} for held in usage.blocked],
            ),
            memory=MemoryOut(**asdict(machine)) if machine else None,
            # No reason to be unready: predictions go on without the document store.
            captures=CapturesOut(**asdict(monitoring())),
        )

    @routes.get("/version", summary="Versions", response_model=VersionOut)
    async def version() -> dict[str, str]:
        return {"model_deployment": __version__, "mlflow": mlflow_version}

    return routes
