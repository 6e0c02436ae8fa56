"""Carries out what was decided of launches: the row first, then the process.

The order matters. A controller killed between the two finds in the row what it was about to do, and
does it again; every effect may be repeated.
"""

import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from model_deployment.control.adoption import log_fields
from model_deployment.control.background import BackgroundWork
from model_deployment.control.collaborators import Collaborators
from model_deployment.control.places import Places
from model_deployment.control.publisher import Publisher
from model_deployment.control.tick import Tick
from model_deployment.core.actions import (
    CheckBatching,
    Forget,
    GiveUp,
    LaunchAction,
    Nothing,
    Policy,
    Prepare,
    Promote,
    Start,
    Stop,
    Switch,
    Vacate,
)
from model_deployment.core.domain import (
    Deployment,
    Handle,
    Launch,
    LaunchRole,
    LaunchSpec,
    LaunchState,
    State,
    Step,
)
from model_deployment.core.launch_lifecycle import after_failure, time_to_begin
from model_deployment.core.merging import Merging
from model_deployment.core.option_changes import measured_alike
from model_deployment.core.options import AUTO, Options
from model_deployment.core.threads import threads_of, worker_processes
from model_deployment.runtime.base import StartFailed
from model_deployment.state.deployments import Deployments
from model_deployment.state.launches import Launches
from model_deployment.state.replacements import Replacements

_log = logging.getLogger(__name__)


def new_launch_id() -> str:
    return secrets.token_hex(8)


@dataclass(frozen=True, kw_only=True)
class LaunchEffects:
    """One method for each action; each returns the deployment as it is afterwards."""

    deployments: Deployments
    launches: Launches
    replacements: Replacements
    places: Places
    world: Collaborators
    background: BackgroundWork
    publisher: Publisher
    policy: Policy
    #: Seconds.
    quarantine: float
    wake: Callable[[], None]

    async def apply(
        self, row: Deployment, launch: Launch, action: LaunchAction, tick: Tick
    ) -> Deployment:
        """Carry out one action.

        Raises:
            IllegalTransition: the row has changed since it was read; nothing was done.
        """
        changed = await self._apply(row, launch, action, tick)
        await self.release_ports(row, changed, tick)
        return changed

    async def _apply(
        self, row: Deployment, launch: Launch, action: LaunchAction, tick: Tick
    ) -> Deployment:
        match action:
            case Nothing():
                return row
            case Prepare():
                self.background.prepare(row, launch)
                return await self._keep_pending(row, launch, "verifying the local artifacts")
            case Start(deadline):
                return await self._start(row, launch, deadline, tick)
            case CheckBatching():
                self.background.check_row_independence(row, launch)
                return row
            case Promote() | Switch():
                return await self._serve(row, launch, action)
            case Stop():
                return await self._stop(row, launch, action, tick)
            case Vacate():
                return await self._release(row, launch, action)
            case GiveUp() | Forget():
                return await self._end(row, launch, action)
            case never:
                assert_never(never)

    async def release_ports(self, before: Deployment, after: Deployment, tick: Tick) -> None:
        """Give up the ports that no launch of a deployment has any more."""
        if before is after:
            return
        had, has = _ports(before), _ports(after)
        for _ in range(len(had) - len(has)):
            tick.freed_a_place()
        for port in had - has:
            await self.places.release(port)

    async def signal(self, launch: Launch | None) -> None:
        """Send what the step of a stopping launch asks for. A launch that drains gets no signal."""
        if launch is None or launch.handle is None or launch.step in (None, Step.DRAIN):
            return
        # Poll finds a process that cannot be signalled now, and the deadline kills it.
        with contextlib.suppress(OSError):
            await self.world.runtime.stop(launch.handle, force=launch.step is Step.KILL)

    async def _keep_pending(self, row: Deployment, launch: Launch, reason: str) -> Deployment:
        """Say why a launch is pending, unless it says why the one before it ended."""
        it = row.replacement
        if it is not None and launch.role is LaunchRole.COMING:
            if it.reason == reason and it.deadline is not None:
                return row
            # None: the clock that it was counted by ended with a reboot.
            late = self.world.clock() + time_to_begin(it.options, self.policy)
            return await self.replacements.hold(row, reason, it.deadline or late)
        if launch.tries or launch.kills or launch.reason == reason:
            return row
        return await self.launches.move(row, launch, LaunchState.PENDING, reason)

    async def _start(
        self, row: Deployment, launch: Launch, deadline: float, tick: Tick
    ) -> Deployment:
        runtime, clock = self.world.runtime, self.world.clock
        folder = str(self.background.artifact_path(row, launch))
        if runtime.warming(launch.options, folder):
            reason = f"waiting for {runtime.warming_reason(launch.options, folder)}"
            return await self._keep_pending(row, launch, reason)
        place = await self.places.place_for(launch)
        if place is None:
            tick.unplaced += 1
            reason = f"waiting for a free port in {self.places.ports.name}"
            return await self._keep_pending(row, launch, reason)
        self.background.take_artifact(row, launch)
        launch_id = new_launch_id()
        address = runtime.address(launch_id, place.port)
        row = await self.launches.start(row, launch, launch_id, place.port, deadline, clock())
        processes = worker_processes(one if one.key != row.key else row for one in tick.rows)
        threads = threads_of(launch.options, self.world.cores(), processes)
        spec = LaunchSpec(launch_id, row.key, folder, address, launch.options, threads)
        try:
            handle = await runtime.start(spec)
        except OSError as error:
            known = isinstance(error, StartFailed)
            why = str(error) if known else f"cannot start a process: {error.strerror or error}"
            permanent = isinstance(error, StartFailed) and error.permanent
            started = find(row, launch.id)
            assert started is not None  # noqa: S101 - it was just written
            action = after_failure(row, started, why, clock(), self.policy, permanent=permanent)
            return await self._apply(row, started, action, tick)
        await self.launches.record_handle(handle)
        return _with_handle(row, launch.id, handle)

    async def _note_merging(self, row: Deployment, merging: Merging, options: Options) -> None:
        """Note why requests are not merged with these options.

        Once, and not again each time that the model is restarted. Before the move: whoever waits for the
        deployment reads that it is ready, and the route has to follow at once.
        """
        if options.batch_max_rows == AUTO and not merging.max_rows and merging != row.merging:
            await self.deployments.note(row, f"requests are not merged: {merging.reason}")

    async def _serve(self, row: Deployment, launch: Launch, action: Promote | Switch) -> Deployment:
        """Have a launch answer requests."""
        merging, now = action.merging, self.world.clock()
        await self._note_merging(row, merging, launch.options)
        if isinstance(action, Promote):
            return await self.launches.promote(row, launch, merging, now)
        alike = measured_alike(row, launch.options, launch.artifact)
        changed = await self.replacements.switch(
            row, merging, row.memory if alike else None, now, now + self.policy.drain_timeout
        )
        for one in row.launches:
            if find(changed, one.id) is None:
                self.background.drop_artifact(changed, one)
        self.wake()
        return changed

    async def _stop(self, row: Deployment, launch: Launch, stop: Stop, tick: Tick) -> Deployment:
        row = await self.launches.stop(row, launch, stop)
        self.publisher.publish_one(row, closing=tick.closing)
        await self.signal(find(row, launch.id))
        self.wake()
        return row

    async def _release(self, row: Deployment, launch: Launch, action: Vacate) -> Deployment:
        self.background.drop_artifact(row, launch)
        port = launch.port
        if port is not None and launch.state is LaunchState.STARTING:
            # It may have died because a foreign process took its port between our check and its own.
            await self.places.is_blocked(port)
        # The port of a parked deployment needs no quarantine: other launches may wait for it.
        quarantine = 0.0 if action.state is State.PARKED else self.quarantine
        return await self.launches.release(
            row,
            launch,
            action,
            keeps_port=action.keeps_port and port is not None and self.world.runtime.holds(port),
            quarantined_until=self.world.clock() + quarantine,
        )

    async def _end(self, row: Deployment, launch: Launch, action: GiveUp | Forget) -> Deployment:
        self.background.drop_artifact(row, launch)
        until = self.world.clock() + self.quarantine
        if isinstance(action, Forget):
            return await self.launches.forget(row, launch, until)
        purpose = row.replacement.purpose if row.replacement else "change"
        fields = log_fields(row, launch)
        _log.warning("%s failed: %s", purpose, action.reason, extra=fields)
        return await self.replacements.give_up(row, action.reason, until)


def find(row: Deployment, id: int) -> Launch | None:
    """The launch of a deployment with this id, if it is still there."""
    return next((one for one in row.launches if one.id == id), None)


def _with_handle(row: Deployment, id: int, handle: Handle) -> Deployment:
    return replace(
        row,
        launches=tuple(
            replace(one, handle=handle) if one.id == id else one for one in row.launches
        ),
    )


def _ports(row: Deployment) -> set[int]:
    return {one.port for one in row.launches if one.port is not None}
