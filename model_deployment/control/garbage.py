"""Clears away what no deployment needs: processes, leases of ports, old logs and events."""

import asyncio
import logging

from model_deployment.control.collaborators import Collaborators
from model_deployment.control.effects import HOST
from model_deployment.core.domain import Endpoint
from model_deployment.state.deployments import Deployments, live_launches
from model_deployment.state.ports import Ports

_log = logging.getLogger(__name__)

EVENTS_KEPT = 500
LOGS_KEPT = 5


async def sweep(deployments: Deployments, ports: Ports, world: Collaborators) -> None:
    """Look for all of it once.

    Processes go first: a launch that begins in between has a row, and is not in this list. Logs go
    before anything is written: that makes the room which writing needs where the disk is full.
    """
    handles = await world.runtime.list()
    rows = await deployments.all()
    known = live_launches(rows)
    for handle in handles:
        if handle.launch_id not in known:
            _log.warning("ending a launch that no deployment knows: %s", handle.launch_id)
            await world.runtime.stop(handle, force=True)
    logs = {id for row in rows for id in await deployments.launches(row.key, LOGS_KEPT)}
    try:
        await asyncio.to_thread(world.tidy, known | logs)
    except OSError as error:
        # Not a reason to keep the leases of launches that are gone.
        _log.error("cannot clear away old logs: %s", error)
    ports_of_rows = {row.port for row in rows if row.port is not None}
    for port in await ports.prune(known, kept=ports_of_rows):
        _log.warning("released port %s: no deployment knows its launch", port)
    for port in {*range(ports.first, ports.last + 1)} - ports_of_rows:
        if world.runtime.holds(Endpoint(HOST, port)):
            _log.warning("let go of port %s: no deployment has it", port)
            await world.runtime.release(Endpoint(HOST, port))
    await deployments.prune_events(EVENTS_KEPT)
