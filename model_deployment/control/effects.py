"""Carries out what ``lifecycle.decide`` decided: the row first, then the world.

The order matters. A controller killed between the two finds in the row what it was about to do, and
does it again; every effect may be repeated.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, assert_never

from model_deployment.control.collaborators import Collaborators
from model_deployment.core.actions import (
    Action,
    Artifact,
    CheckBatching,
    Launch,
    Nothing,
    Policy,
    Prepare,
    Promote,
    RefuseWake,
    Release,
    RowIndependence,
    Stop,
)
from model_deployment.core.domain import (
    Deployment,
    Endpoint,
    LaunchSpec,
    State,
    Step,
)
from model_deployment.core.errors import NotEnoughMemory
from model_deployment.core.lifecycle import after_failure
from model_deployment.core.names import ModelKey
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: Models listen here and nowhere else.
HOST = "127.0.0.1"
#: A port that a stranger holds is looked at again after this long, in seconds.
BLOCKED_FOR = 60.0


class Effects:
    """One method per action, each returning the row as it is afterwards."""

    def __init__(
        self,
        *,
        deployments: Deployments,
        ports: Ports,
        world: Collaborators,
        policy: Policy,
        quarantine: float,
        unpublish: Callable[[Deployment], None],
        wake: Callable[[], None],
    ) -> None:
        self._deployments = deployments
        self._ports = ports
        self._world = world
        self._policy = policy
        self._quarantine = quarantine
        self._unpublish = unpublish
        self._wake = wake
        #: By deployment and artifacts: a model that was registered anew has others.
        self._preparing: dict[tuple[ModelKey, str], asyncio.Task[Path]] = {}
        #: By launch.
        self._trying: dict[str, asyncio.Task[str]] = {}
        #: Launches that found no free port, or no memory, since the last look.
        self.held_up = 0

    async def apply(self, row: Deployment, action: Action) -> Deployment:
        """Carry out one action.

        Raises:
            IllegalTransition: the row is not what it was; nothing was done.
        """
        match action:
            case Nothing():
                return row
            case Prepare():
                return await self._prepare(row)
            case Launch(deadline):
                return await self._launch(row, deadline)
            case CheckBatching():
                return self._try(row)
            case Promote():
                return await self._promote(row)
            case Stop():
                return await self._stop(row, action)
            case Release():
                return await self._rest(row, action)
            case RefuseWake(reason):
                error = NotEnoughMemory.of(f"predict with {row.key}, which is parked", reason)
                self._world.refuse(row.key, error)
                return row
            case never:
                assert_never(never)

    def take_held_up(self) -> int:
        """How many launches found no place since this was last asked."""
        held_up, self.held_up = self.held_up, 0
        return held_up

    def prepared(self, row: Deployment) -> tuple[Artifact, str]:
        """Where the preparation of a deployment stands, and why it failed."""
        task = self._preparing.get((row.key, row.artifact))
        if task is None or (task.done() and task.cancelled()):
            return Artifact.MISSING, ""
        if not task.done():
            return Artifact.WORKING, ""
        error = task.exception()
        if error is not None:
            return Artifact.FAILED, str(error) or type(error).__name__
        return Artifact.READY, ""

    def promised(self, launch_id: str) -> tuple[RowIndependence, str]:
        """Whether a launch's predictions of rows together and apart are the same."""
        task = self._trying.get(launch_id)
        if task is None:
            return RowIndependence.UNTRIED, ""
        if not task.done():
            return RowIndependence.WORKING, ""
        if task.cancelled() or (error := task.exception()):
            why = "cancelled" if task.cancelled() else str(error) or type(error).__name__
            return RowIndependence.FAILED, f"cannot find out whether requests may be merged: {why}"
        difference = task.result()
        return (RowIndependence.BROKEN, difference) if difference else (RowIndependence.KEPT, "")

    def cancel_preparations(self, but: Iterable[Deployment] = ()) -> None:
        """Stop fetching artifacts for all other deployments."""
        for known in self._preparing.keys() - {(row.key, row.artifact) for row in but}:
            self._preparing.pop(known).cancel()

    def cancel_trials(self, but: Iterable[Deployment] = ()) -> None:
        """Stop comparing predictions of all other launches."""
        for known in self._trying.keys() - {row.launch_id for row in but}:
            self._trying.pop(known).cancel()

    def _in_background(self, work: Callable[[], Awaitable[T]], name: str) -> asyncio.Task[T]:
        """A task whose end wakes the loop."""

        async def run() -> T:
            try:
                return await work()
            finally:
                self._wake()

        task = asyncio.create_task(run(), name=name)
        # Retrieved here, so that a failure nobody asks for any more is not reported at exit.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def _try(self, row: Deployment) -> Deployment:
        task = self._in_background(lambda: self._world.compare(row), f"compare {row.key}")
        self._trying[str(row.launch_id)] = task
        return row

    async def _prepare(self, row: Deployment) -> Deployment:
        task = self._in_background(lambda: self._world.prepare(row), f"prepare {row.key}")
        self._preparing[row.key, row.artifact] = task
        return await self._held_up(row, "making sure of the local artifacts")

    async def _held_up(self, row: Deployment, reason: str) -> Deployment:
        """Say why a row is pending, unless it says something worse already."""
        if row.tries or row.kills or row.reason == reason:
            return row
        return await self._deployments.move(row, State.PENDING, reason)

    async def _launch(self, row: Deployment, deadline: float) -> Deployment:
        if self._world.runtime.warming(row.options):
            return await self._held_up(row, "waiting for the warm parent, which is importing")
        port = await self._port_for(row)
        if port is None:
            self.held_up += 1
            return await self._held_up(row, f"waiting for a free port in {self._ports.name}")
        model_path = self._preparing.pop((row.key, row.artifact)).result()
        launch_id = secrets.token_hex(8)
        clock, kept = self._world.clock, row.port
        row = await self._deployments.launch(row, launch_id, port, deadline, clock())
        if kept is not None and kept != port:
            await self._let_go(kept)
        spec = LaunchSpec(launch_id, row.key, str(model_path), Endpoint(HOST, port), row.options)
        try:
            handle = await self._world.runtime.start(spec)
        except OSError as error:
            why = f"cannot start a process: {error.strerror or error}"
            return await self._rest(row, after_failure(row, why, clock(), self._policy))
        await self._deployments.record_handle(handle)
        return replace(row, handle=handle)

    async def _port_for(self, row: Deployment) -> int | None:
        """Its own port, if it still has one that can be listened on; else a free one."""
        port = row.port
        in_range = port is not None and self._ports.first <= port <= self._ports.last
        # What held it may be gone, and a stranger there.
        if port is not None and in_range and not await self._blocked(port):
            return port
        return await self._free_port()

    async def _free_port(self) -> int | None:
        """The lowest port that can be listened on; those that strangers hold are blocked on the way."""
        while True:
            port = await self._ports.next_free(self._world.clock())
            if port is None or not await self._blocked(port):
                return port

    async def _blocked(self, port: int) -> bool:
        if self._holds(port):
            return False
        holder = await asyncio.to_thread(self._world.holder, HOST, port)
        if holder is None:
            return False
        _log.warning("port %s is held by %s", port, holder)
        await self._ports.block(port, holder, self._world.clock() + BLOCKED_FOR)
        return True

    def _holds(self, port: int) -> bool:
        return self._world.runtime.holds(Endpoint(HOST, port))

    async def _let_go(self, port: int) -> None:
        # What cannot be released now is found by the sweep.
        with contextlib.suppress(OSError):
            await self._world.runtime.release(Endpoint(HOST, port))

    async def _promote(self, row: Deployment) -> Deployment:
        return await self._deployments.move(
            row,
            State.READY,
            "healthy",
            deadline=None,
            ready_since=self._world.clock(),
            ready_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            session=row.session or row.launch_id,
            proven=True,
        )

    async def _stop(self, row: Deployment, stop: Stop) -> Deployment:
        row = await self._deployments.move(
            row,
            State.STOPPING,
            stop.reason,
            step=stop.step,
            deadline=stop.deadline,
            tries=stop.tries,
            kills=stop.kills,
            parking=stop.parking,
        )
        self._unpublish(row)
        if stop.step is not Step.DRAIN and row.handle is not None:
            # What cannot be signalled now is found by poll, and killed at the deadline.
            with contextlib.suppress(OSError):
                await self._world.runtime.stop(row.handle, force=stop.step is Step.KILL)
        self._wake()
        return row

    async def _rest(self, row: Deployment, action: Release) -> Deployment:
        if task := self._preparing.pop((row.key, row.artifact), None):
            task.cancel()
        if row.port is not None and row.state is State.STARTING:
            # It may have died of losing its port to somebody between our look and its own.
            await self._blocked(row.port)
        # A port given up by parking does not rest: others may be waiting for it.
        quarantine = 0.0 if action.state is State.PARKED else self._quarantine
        keeps = action.again and row.port is not None and self._holds(row.port)
        rested = await self._deployments.rest(
            row,
            action.state,
            action.reason,
            tries=action.tries,
            not_before=action.not_before,
            kills=action.kills,
            quarantined_until=self._world.clock() + quarantine,
            keeps_port=keeps,
        )
        if row.port is not None and not keeps:
            # A place for one of those that found none; nobody else need give up his for it.
            self.held_up = max(0, self.held_up - 1)
            await self._let_go(row.port)
        return rested
