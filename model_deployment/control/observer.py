"""Finds out what is the case of a deployment, for ``lifecycle.decide``."""

from collections.abc import Callable, Sequence

from model_deployment.control.collaborators import Collaborators
from model_deployment.control.effects import Effects
from model_deployment.core.actions import Artifact, Observation
from model_deployment.core.admission import longest_idle
from model_deployment.core.domain import LOST, Deployment, Exit, Handle, State
from model_deployment.core.names import ModelKey
from model_deployment.runtime.exit_reasons import explained
from model_deployment.state.deployments import Deployments


class Observer:
    """Looks at the deployments of one tick, one after the other."""

    def __init__(
        self,
        *,
        deployments: Deployments,
        world: Collaborators,
        effects: Effects,
        start_concurrency: int,
        wake: Callable[[], None],
    ) -> None:
        self._deployments = deployments
        self._world = world
        self._effects = effects
        self._start_concurrency = start_concurrency
        self._wake = wake
        #: As far as this tick has come with them.
        self._rows: list[Deployment] = []
        self._yielding: frozenset[ModelKey] = frozenset()
        #: Parked ones that somebody waits for.
        self.called: set[ModelKey] = set()
        #: The controller is going down and takes its models with it.
        self.closing = False

    def begin(self, rows: Sequence[Deployment]) -> None:
        """A tick begins with these."""
        self._rows = [*rows]
        self._yielding = self._choose_yielding(rows)

    def changed(self, place: int, row: Deployment) -> None:
        """One of them, by its place, is this now."""
        self._rows[place] = row

    async def observe(self, row: Deployment, may_start: bool) -> Observation:
        """What is seen of one of them; ``may_start``: fewer are starting than may at a time."""
        if row.launch_id is None:
            artifact, error = self._effects.prepared(row)
            called = row.key in self.called
            comes = (
                artifact is Artifact.READY and may_start and row.not_before <= self._world.clock()
            )
            return Observation(
                artifact=artifact,
                artifact_error=error,
                may_start=may_start,
                closing=self.closing,
                wake_requested=called,
                memory_shortage=self._shortage(row) if called else "",
                memory_pressure=comes and self._is_tight(row),
            )
        handle = row.handle or await self._find(row.launch_id)
        gone = LOST if handle is None else await self._world.runtime.poll(handle)
        stopped = False
        if handle is not None and gone is None:
            stopped = self._world.runtime.stopped(handle, row.options)
        promise, difference = self._effects.promised(row.launch_id)
        return Observation(
            exit=self._explained(row, gone) if gone else None,
            row_independence=promise,
            row_independence_error=difference,
            health=self._world.prober.health(row.launch_id),
            traffic=self._world.traffic(row.launch_id),
            suspended=stopped,
            closing=self.closing,
            evict=row.key in self._yielding,
        )

    def _choose_yielding(self, rows: Sequence[Deployment]) -> frozenset[ModelKey]:
        """Deployments to park since others found no place: those that nobody has used for longest."""
        waiting = min(self._effects.take_held_up(), self._start_concurrency)
        needed = waiting - sum(row.state is State.STOPPING for row in rows)
        if needed <= 0:
            return frozenset()
        return frozenset(longest_idle(rows, self._world.traffic)[:needed])

    def _is_tight(self, row: Deployment) -> bool:
        """Whether its launch waits for memory: there is too little, and others will give up theirs."""
        rows = self._rows
        relief = any(other.state is State.STOPPING for other in rows)
        if not (relief or longest_idle(rows, self._world.traffic)):
            return False
        if not self._world.admission.tight(row, rows):
            return False
        self._effects.held_up += 1
        return True

    def _shortage(self, row: Deployment) -> str:
        return self._world.admission.shortage(row.key, row.options, row.memory, self._rows)

    async def _find(self, launch_id: str) -> Handle | None:
        """A launch whose handle could not be noted down when it was started, if it lives."""
        for handle in await self._world.runtime.list():
            if handle.launch_id == launch_id:
                await self._deployments.record_handle(handle)
                self._wake()
                return handle
        return None

    def _explained(self, row: Deployment, gone: Exit) -> Exit:
        """With what the end of its log tells."""
        log = self._world.ending(row.launch_id or "")
        return explained(gone, log, loading=row.state is State.STARTING, model=row.artifact)
