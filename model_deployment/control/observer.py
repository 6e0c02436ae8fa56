"""Observes one deployment for ``lifecycle.decide``."""

from collections.abc import Callable
from dataclasses import dataclass

from model_deployment.control.background import BackgroundWork
from model_deployment.control.collaborators import Collaborators
from model_deployment.control.tick import Tick
from model_deployment.core.actions import Artifact, Observation
from model_deployment.core.admission import longest_idle
from model_deployment.core.domain import LOST, Deployment, Exit, Handle, State
from model_deployment.runtime.exit_reasons import explain
from model_deployment.state.deployments import Deployments


@dataclass(frozen=True, kw_only=True)
class Observer:
    """Reads processes, probes and the proxies' counts; the one row it writes is a handle found again."""

    deployments: Deployments
    world: Collaborators
    background: BackgroundWork
    start_concurrency: int
    wake: Callable[[], None]

    async def observe(self, row: Deployment, tick: Tick) -> Observation:
        """What is the case of a deployment now."""
        if row.launch_id is None:
            return self._without_launch(row, tick)
        handle = row.handle or await self._find(row.launch_id)
        gone = LOST if handle is None else await self.world.runtime.poll(handle)
        suspended = False
        if handle is not None and gone is None:
            suspended = self.world.runtime.stopped(handle, row.options)
        independence, found = self.background.row_independence(row.launch_id)
        return Observation(
            exit=self._explained(row, gone) if gone else None,
            row_independence=independence,
            row_independence_reason=found,
            health=self.world.prober.health(row.launch_id),
            traffic=self.world.traffic(row.launch_id),
            suspended=suspended,
            closing=tick.closing,
            evict=row.key in tick.evicted,
        )

    def _without_launch(self, row: Deployment, tick: Tick) -> Observation:
        artifact, error = self.background.artifact(row)
        requested = row.key in tick.wake_requests
        may_start = tick.starting < self.start_concurrency
        due = artifact is Artifact.READY and may_start and row.not_before <= self.world.clock()
        shortage = ""
        if requested:
            admission = self.world.admission
            shortage = admission.shortage(row.key, row.options, row.memory, tick.rows)
        return Observation(
            artifact=artifact,
            artifact_error=error,
            may_start=may_start,
            closing=tick.closing,
            wake_requested=requested,
            memory_shortage=shortage,
            memory_pressure=due and self._memory_pressure(row, tick),
        )

    def _memory_pressure(self, row: Deployment, tick: Tick) -> bool:
        """Whether a launch waits for memory: there is too little, and others will give up theirs."""
        relief = any(other.state is State.STOPPING for other in tick.rows)
        if not (relief or longest_idle(tick.rows, self.world.traffic)):
            return False
        return self.world.admission.is_full_for(row, tick.rows)

    async def _find(self, launch_id: str) -> Handle | None:
        """A living launch whose handle could not be written when it was started."""
        for handle in await self.world.runtime.list():
            if handle.launch_id == launch_id:
                await self.deployments.record_handle(handle)
                self.wake()
                return handle
        return None

    def _explained(self, row: Deployment, gone: Exit) -> Exit:
        log = self.world.ending(row.launch_id or "")
        return explain(gone, log, loading=row.state is State.STARTING, model=row.artifact)
