"""Observes launches and deployments for the pure decisions about them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from model_deployment.control.adoption import log_fields
from model_deployment.control.background import BackgroundWork
from model_deployment.control.collaborators import Collaborators
from model_deployment.control.tick import Tick
from model_deployment.core.actions import Artifact, DeploymentObservation, Observation
from model_deployment.core.admission import longest_idle
from model_deployment.core.domain import LOST, Deployment, Exit, Handle, Launch, LaunchState
from model_deployment.core.options import Options
from model_deployment.runtime.exit_reasons import explain
from model_deployment.state.launches import Launches

_log = logging.getLogger(__name__)

#: Lines of the end of a log that explain why a launch has ended: a long traceback or two.
_ENDING = 600


@dataclass(frozen=True, kw_only=True)
class Observer:
    """Reads processes, probes and the proxies' counts; the one row it writes is a handle found again."""

    launches: Launches
    world: Collaborators
    background: BackgroundWork
    start_concurrency: int
    wake: Callable[[], None]

    async def observe(self, row: Deployment, launch: Launch, tick: Tick) -> Observation:
        """What is the case of a launch now."""
        if launch.launch_id is None:
            return self._pending(row, launch, tick)
        try:
            handle = launch.handle or await self._find(launch.launch_id, launch.options)
            gone = LOST if handle is None else await self.world.runtime.poll(handle)
        except OSError as error:  # whoever knows cannot be asked: nothing follows from that
            _log.warning("%s", error, extra=log_fields(row, launch))
            handle = gone = None
        suspended = False
        if handle is not None and gone is None:
            suspended = self.world.runtime.suspended(handle, launch.options)
        independence, found = self.background.row_independence(launch.launch_id)
        return Observation(
            exit=await self._explained(launch, launch.launch_id, gone) if gone else None,
            row_independence=independence,
            row_independence_reason=found,
            health=self.world.prober.health(launch.launch_id),
            traffic=self.world.traffic(launch.launch_id),
            suspended=suspended,
            closing=tick.closing,
        )

    def observe_deployment(self, row: Deployment, tick: Tick) -> DeploymentObservation:
        """What is the case of a deployment now."""
        # What is never idle has no other use for it.
        launches = row.launches if row.options.idle_timeout else ()
        live = [one.launch_id for one in launches if one.launch_id is not None]
        return DeploymentObservation(
            traffic={launch_id: self.world.traffic(launch_id) for launch_id in live},
            closing=tick.closing,
            wake_requested=row.key in tick.wake_requests,
            park_requested=tick.park_requests.get(row.key, ""),
            evict=row.key in tick.evicted,
        )

    def memory_shortage(self, row: Deployment, tick: Tick) -> str:
        """Why memory has no room for one more launch of a deployment; empty if it has."""
        return self.world.admission.shortage(row.key, row.options, row.memory, tick.rows)

    def _pending(self, row: Deployment, launch: Launch, tick: Tick) -> Observation:
        artifact, error = self.background.artifact(row, launch)
        may_start = tick.starting < self.start_concurrency
        due = artifact is Artifact.READY and may_start and launch.not_before <= self.world.clock()
        return Observation(
            artifact=artifact,
            artifact_error=error,
            may_start=may_start,
            closing=tick.closing,
            memory_pressure=due and self._memory_pressure(row, launch, tick),
        )

    def _memory_pressure(self, row: Deployment, launch: Launch, tick: Tick) -> bool:
        """Whether a launch waits for memory: there is too little, and others will give up theirs."""
        relief = any(
            one.state is LaunchState.STOPPING for other in tick.rows for one in other.launches
        )
        if not (relief or longest_idle(tick.rows, self.world.traffic)):
            return False
        return self.world.admission.is_full_for(row, launch, tick.rows)

    async def _find(self, launch_id: str, options: Options) -> Handle | None:
        """A living launch whose handle could not be written when it was started."""
        handle = await self.world.runtime.find(launch_id, options)
        if handle is not None:
            await self.launches.record_handle(handle)
            self.wake()
        return handle

    async def _explained(self, launch: Launch, launch_id: str, gone: Exit) -> Exit:
        log = await self.world.runtime.tail(launch_id, _ENDING)
        loading = launch.state is LaunchState.STARTING
        return explain(gone, log, loading=loading, model=launch.artifact)
