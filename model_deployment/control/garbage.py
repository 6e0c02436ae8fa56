"""Removes what no deployment needs: processes, port leases, old logs and events."""

import asyncio
import logging

from model_deployment.control.collaborators import Collaborators
from model_deployment.control.effects import HOST
from model_deployment.core.domain import Address
from model_deployment.state.deployments import Deployments, live_launches
from model_deployment.state.ports import Ports

_log = logging.getLogger(__name__)

EVENTS_KEPT = 500
LOGS_KEPT = 5


async def sweep(deployments: Deployments, ports: Ports, world: Collaborators) -> None:
    """Sweep once.

    Processes go first: a launch that begins meanwhile has a row, and is not in this list. Logs go before
    anything is written: on a full disk that makes the room which writing needs.
    """
    handles = await world.runtime.list()
    rows = await deployments.all()
    known = live_launches(rows)
    for handle in handles:
        if handle.launch_id not in known:
            _log.warning("stopping a launch that belongs to no deployment: %s", handle.launch_id)
            await world.runtime.stop(handle, force=True)
    logs = {id for row in rows for id in await deployments.launches(row.key, LOGS_KEPT)}
    try:
        await asyncio.to_thread(world.tidy, known | logs)
    except OSError as error:
        # Leases of launches that are gone are pruned all the same.
        _log.error("cannot remove old logs: %s", error)
    ports_of_rows = {row.port for row in rows if row.port is not None}
    for port in await ports.prune(known, kept=ports_of_rows):
        _log.warning("released port %s: its launch belongs to no deployment", port)
    for port in {*range(ports.first, ports.last + 1)} - ports_of_rows:
        if world.runtime.holds(Address(HOST, port)):
            _log.warning("released port %s: no deployment uses it", port)
            await world.runtime.release(Address(HOST, port))
    await deployments.prune_events(EVENTS_KEPT)
