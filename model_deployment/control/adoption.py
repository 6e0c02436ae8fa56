"""Adopts the launches that an earlier controller left."""

import logging
from collections.abc import Sequence

from model_deployment.core.domain import Deployment, Handle, Launch, LaunchRole, LaunchState, Step
from model_deployment.runtime.base import PartlySeen, Runtime
from model_deployment.state.database import DatabaseError
from model_deployment.state.deployments import Deployments
from model_deployment.state.launches import Launches

_log = logging.getLogger(__name__)


async def adopt(deployments: Deployments, launches: Launches, runtime: Runtime) -> None:
    """Adopt each launch that lives, and repeat the signal of one that was stopping.

    What cannot be written is left to the next tick: a full disk must not keep the models that run
    from being served.
    """
    handles, unseen = await living(runtime)
    live = {handle.launch_id: handle for handle in handles}
    for row in await deployments.all():
        for launch in row.launches:
            if launch.launch_id in live:
                try:
                    await _adopt(row, launch, live[launch.launch_id], launches, runtime)
                    if launch.role is LaunchRole.SERVING:
                        await deployments.note(row, "adopted by a new controller", launch)
                except (DatabaseError, OSError) as error:
                    fields = log_fields(row, launch)
                    _log.error("cannot record the adoption: %s", error, extra=fields)
            elif launch.launch_id is not None and not unseen:
                _log.warning("its process is gone", extra=log_fields(row, launch))


async def living(runtime: Runtime) -> tuple[Sequence[Handle], str]:
    """The launches that live, and why there may be more of them; empty if there are not."""
    try:
        return await runtime.list(), ""
    except PartlySeen as error:
        _log.warning("cannot see all launches: %s", error)
        return error.seen, str(error)


async def _adopt(
    row: Deployment, launch: Launch, handle: Handle, launches: Launches, runtime: Runtime
) -> None:
    if launch.state is LaunchState.STOPPING and launch.step is not Step.DRAIN:
        # The signal may have been written down and never sent.
        await runtime.stop(handle, force=launch.step is Step.KILL)
    if (
        launch.handle is None
    ):  # the controller was killed after the start, before it wrote the handle
        await launches.record_handle(handle)
    _log.info("adopted", extra=log_fields(row, launch))


def log_fields(row: Deployment, launch: Launch | None = None) -> dict[str, object]:
    """What a log line about a deployment, or one of its launches, has beside its text."""
    launch_id = row.launch_id if launch is None else launch.launch_id
    return {
        "model": row.key.model,
        "version": row.key.version,
        "launch_id": launch_id or "-",
    }
