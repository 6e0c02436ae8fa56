"""Adopts the launches that an earlier controller left."""

import logging

from model_deployment.core.domain import Deployment, Handle, State, Step
from model_deployment.runtime.base import Runtime
from model_deployment.state.database import DatabaseError
from model_deployment.state.deployments import Deployments

_log = logging.getLogger(__name__)


async def adopt(deployments: Deployments, runtime: Runtime) -> None:
    """Adopt each launch that lives, and repeat the signal of one that was stopping.

    What cannot be written is left to the next tick: a full disk must not keep the models that run
    from being served.
    """
    live = {handle.launch_id: handle for handle in await runtime.list()}
    for row in await deployments.all():
        if row.launch_id in live:
            try:
                await _adopt(row, live[row.launch_id], deployments, runtime)
            except (DatabaseError, OSError) as error:
                _log.error("cannot record the adoption: %s", error, extra=log_fields(row))
        elif row.launch_id is not None:
            _log.warning("its process is gone", extra=log_fields(row))


async def _adopt(
    row: Deployment, handle: Handle, deployments: Deployments, runtime: Runtime
) -> None:
    if row.state is State.STOPPING and row.step is not Step.DRAIN:
        # The signal may have been written down and never sent.
        await runtime.stop(handle, force=row.step is Step.KILL)
    if row.handle is None:  # the controller was killed after the start, before it wrote the handle
        await deployments.record_handle(handle)
    await deployments.note(row, "adopted by a new controller")
    _log.info("adopted", extra=log_fields(row))


def log_fields(row: Deployment) -> dict[str, object]:
    """What a log line about a deployment has beside its text."""
    return {
        "model": row.key.model,
        "version": row.key.version,
        "launch_id": row.launch_id or "-",
    }
