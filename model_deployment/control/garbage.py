"""Removes what no deployment needs: processes, environments, port leases, old logs and events."""

import contextlib
import logging

from model_deployment.control.adoption import living
from model_deployment.control.collaborators import Collaborators
from model_deployment.state.deployments import Deployments, live_launches
from model_deployment.state.ports import Ports

_log = logging.getLogger(__name__)

EVENTS_KEPT = 500
#: Of ended launches, for each replica.
LOGS_KEPT = 5


async def sweep(deployments: Deployments, ports: Ports, world: Collaborators) -> None:
    """Sweep once.

    Processes go first: a launch that begins meanwhile has a row, and is not in this list. Logs go before
    anything is written: on a full disk that makes the room which writing needs.
    """
    runtime = world.runtime
    handles, _ = await living(runtime)
    rows = await deployments.all()
    known = live_launches(rows)
    for handle in handles:
        if handle.launch_id not in known:
            _log.warning("stopping a launch that belongs to no deployment: %s", handle.launch_id)
            with contextlib.suppress(OSError):  # the next sweep finds it again
                await runtime.stop(handle, force=True)
    logs = {
        id for row in rows for id in await deployments.launch_ids(row.key, LOGS_KEPT * row.replicas)
    }
    try:
        await runtime.tidy(known | logs)
    except OSError as error:
        # Leases of launches that are gone are pruned all the same.
        _log.error("cannot remove what ended launches left: %s", error)
    try:
        await world.tidy_environments(rows)
    except OSError as error:
        _log.error("cannot remove environments that no deployment needs: %s", error)
    ports_of_rows = {one.port for row in rows for one in row.launches if one.port is not None}
    for port in await ports.prune(known, kept=ports_of_rows):
        _log.warning("released port %s: its launch belongs to no deployment", port)
    for port in {*range(ports.first, ports.last + 1)} - ports_of_rows:
        if runtime.holds(port):
            _log.warning("released port %s: no deployment uses it", port)
            await runtime.release(port)
    await deployments.prune_events(EVENTS_KEPT)
