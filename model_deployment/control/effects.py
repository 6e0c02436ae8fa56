"""Carries out what ``lifecycle.decide`` decided: the row first, then the process.

The order matters. A controller killed between the two finds in the row what it was about to do, and
does it again; every effect may be repeated.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import assert_never

from model_deployment.control.background import BackgroundWork
from model_deployment.control.collaborators import Collaborators
from model_deployment.control.publisher import Publisher
from model_deployment.control.tick import Tick
from model_deployment.core.actions import (
    Action,
    CheckBatching,
    Launch,
    Nothing,
    Policy,
    Prepare,
    Promote,
    RefuseWake,
    Release,
    Stop,
)
from model_deployment.core.domain import Address, Deployment, LaunchSpec, State, Step
from model_deployment.core.errors import NotEnoughMemory
from model_deployment.core.lifecycle import after_failure
from model_deployment.core.merging import Merging
from model_deployment.core.options import AUTO
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports

_log = logging.getLogger(__name__)

#: Model servers listen here and nowhere else.
HOST = "127.0.0.1"
#: Seconds after which a port that a foreign process holds is tried again.
BLOCKED_FOR = 60.0


@dataclass(frozen=True, kw_only=True)
class Effects:
    """One method for each action; each returns the row as it is afterwards."""

    deployments: Deployments
    ports: Ports
    world: Collaborators
    background: BackgroundWork
    publisher: Publisher
    policy: Policy
    #: Seconds.
    quarantine: float
    wake: Callable[[], None]

    async def apply(self, row: Deployment, action: Action, tick: Tick) -> Deployment:
        """Carry out one action.

        Raises:
            IllegalTransition: the row has changed since it was read; nothing was done.
        """
        match action:
            case Nothing():
                return row
            case Prepare():
                self.background.prepare(row)
                return await self._keep_pending(row, "verifying the local artifacts")
            case Launch(deadline):
                return await self._launch(row, deadline, tick)
            case CheckBatching():
                self.background.check_row_independence(row)
                return row
            case Promote(merging):
                return await self._promote(row, merging)
            case Stop():
                return await self._stop(row, action, tick)
            case Release():
                return await self._release(row, action, tick)
            case RefuseWake(reason):
                error = NotEnoughMemory.of(f"predict with {row.key}, which is parked", reason)
                self.world.refuse(row.key, error)
                return row
            case never:
                assert_never(never)

    async def _keep_pending(self, row: Deployment, reason: str) -> Deployment:
        """Say why a row is pending, unless it says why its last launch ended."""
        if row.tries or row.kills or row.reason == reason:
            return row
        return await self.deployments.move(row, State.PENDING, reason)

    async def _launch(self, row: Deployment, deadline: float, tick: Tick) -> Deployment:
        if self.world.runtime.warming(row.options):
            return await self._keep_pending(row, "waiting for the warm parent, which is importing")
        port = await self._port_for(row)
        if port is None:
            tick.unplaced += 1
            return await self._keep_pending(row, f"waiting for a free port in {self.ports.name}")
        model_path = self.background.take_artifact(row)
        launch_id = secrets.token_hex(8)
        clock, kept = self.world.clock, row.port
        row = await self.deployments.launch(row, launch_id, port, deadline, clock())
        if kept is not None and kept != port:
            await self._release_port(kept)
        spec = LaunchSpec(launch_id, row.key, str(model_path), Address(HOST, port), row.options)
        try:
            handle = await self.world.runtime.start(spec)
        except OSError as error:
            why = f"cannot start a process: {error.strerror or error}"
            return await self._release(row, after_failure(row, why, clock(), self.policy), tick)
        await self.deployments.record_handle(handle)
        return replace(row, handle=handle)

    async def _port_for(self, row: Deployment) -> int | None:
        """Its own port, if it still has one that can be listened on; else a free one."""
        port = row.port
        in_range = port is not None and self.ports.first <= port <= self.ports.last
        # A foreign process may have taken it since.
        if port is not None and in_range and not await self._blocked(port):
            return port
        return await self._free_port()

    async def _free_port(self) -> int | None:
        """The lowest port that can be listened on. Ports that foreign processes hold are blocked."""
        while True:
            port = await self.ports.next_free(self.world.clock())
            if port is None or not await self._blocked(port):
                return port

    async def _blocked(self, port: int) -> bool:
        if self._holds(port):
            return False
        holder = await asyncio.to_thread(self.world.holder, HOST, port)
        if holder is None:
            return False
        _log.warning("port %s is held by %s", port, holder)
        await self.ports.block(port, holder, self.world.clock() + BLOCKED_FOR)
        return True

    def _holds(self, port: int) -> bool:
        return self.world.runtime.holds(Address(HOST, port))

    async def _release_port(self, port: int) -> None:
        # The sweep finds what cannot be released now.
        with contextlib.suppress(OSError):
            await self.world.runtime.release(Address(HOST, port))

    async def _promote(self, row: Deployment, merging: Merging) -> Deployment:
        # Said once, and not again each time that the model is restarted. Before the move: whoever waits for
        # the deployment reads that it is ready, and the route has to follow at once.
        if row.options.batch_max_rows == AUTO and not merging.max_rows and merging != row.merging:
            await self.deployments.note(row, f"requests are not merged: {merging.reason}")
        return await self.deployments.move(
            row,
            State.READY,
            "healthy",
            deadline=None,
            ready_since=self.world.clock(),
            ready_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            session=row.session or row.launch_id,
            proven=True,
            merging=merging,
        )

    async def _stop(self, row: Deployment, stop: Stop, tick: Tick) -> Deployment:
        row = await self.deployments.move(
            row,
            State.STOPPING,
            stop.reason,
            step=stop.step,
            deadline=stop.deadline,
            tries=stop.tries,
            kills=stop.kills,
            parking=stop.parking,
        )
        self.publisher.publish_one(row, closing=tick.closing)
        if stop.step is not Step.DRAIN and row.handle is not None:
            # Poll finds a process that cannot be signalled now, and the deadline kills it.
            with contextlib.suppress(OSError):
                await self.world.runtime.stop(row.handle, force=stop.step is Step.KILL)
        self.wake()
        return row

    async def _release(self, row: Deployment, action: Release, tick: Tick) -> Deployment:
        self.background.drop_artifact(row)
        if row.port is not None and row.state is State.STARTING:
            # It may have died because a foreign process took its port between our check and its own.
            await self._blocked(row.port)
        # The port of a parked deployment needs no quarantine: other launches may wait for it.
        quarantine = 0.0 if action.state is State.PARKED else self.quarantine
        keeps_port = action.keeps_port and row.port is not None and self._holds(row.port)
        released = await self.deployments.release(
            row,
            action.state,
            action.reason,
            tries=action.tries,
            not_before=action.not_before,
            kills=action.kills,
            quarantined_until=self.world.clock() + quarantine,
            keeps_port=keeps_port,
        )
        if row.port is not None and not keeps_port:
            tick.freed_a_place()
            await self._release_port(row.port)
        return released
