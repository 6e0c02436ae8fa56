"""The control loop: observes launches and deployments, decides, and applies what was decided.

It alone writes the states. It never waits for a process, a probe or a download: waiting is a state
with a deadline, which a later tick looks at. ``Observer`` observes; ``Steps`` has
what follows: ``decide_launch`` and ``decide_deployment``, then the effects.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from model_deployment.control.adoption import adopt, log_fields
from model_deployment.control.background import BackgroundWork
from model_deployment.control.collaborators import Collaborators
from model_deployment.control.garbage import sweep
from model_deployment.control.memory import MemorySampler
from model_deployment.control.missing_workers import MissingWorkers
from model_deployment.control.notes import Notes
from model_deployment.control.pause import TICK, pause
from model_deployment.control.probes import Target
from model_deployment.control.publisher import Publisher
from model_deployment.control.steps import build_steps
from model_deployment.control.tick import Tick, Ticks
from model_deployment.control.transitions import log_changes
from model_deployment.core.actions import Policy
from model_deployment.core.admission import choose_evicted
from model_deployment.core.domain import Deployment, LaunchState, State
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.names import ModelKey
from model_deployment.core.scaling import SCALING, Scaling
from model_deployment.state.database import DatabaseError
from model_deployment.state.deployments import Deployments
from model_deployment.state.launches import Launches
from model_deployment.state.ports import Ports
from model_deployment.state.replacements import Replacements

_log = logging.getLogger(__name__)

#: Seconds between health checks of a launch that is starting.
STARTING_INTERVAL = 0.1
#: Seconds between sweeps for processes, leases, logs and events that no deployment needs.
SWEEP = 30.0

_Work = Callable[[Deployment], Awaitable[Deployment]]


class Reconciler:
    """Runs the control loop."""

    def __init__(
        self,
        *,
        deployments: Deployments,
        launches: Launches,
        replacements: Replacements,
        ports: Ports,
        world: Collaborators,
        policy: Policy,
        probe_interval: float = 5.0,
        quarantine: float = 5.0,
        start_concurrency: int = 2,
        scaling: Scaling = SCALING,
    ) -> None:
        self._deployments = deployments
        self._launches = launches
        self._ports = ports
        self._world = world
        self._probe_intervals: Mapping[LaunchState, float] = {
            LaunchState.STARTING: STARTING_INTERVAL,
            LaunchState.READY: probe_interval,
        }
        self._start_concurrency = start_concurrency
        self._publisher = Publisher(world.publish)
        self._background = BackgroundWork(world, self.wake)
        self._wake_requests: set[ModelKey] = set()
        self._steps = build_steps(
            deployments=deployments,
            launches=launches,
            replacements=replacements,
            ports=ports,
            world=world,
            background=self._background,
            publisher=self._publisher,
            policy=policy,
            quarantine=quarantine,
            start_concurrency=start_concurrency,
            scaling=scaling,
            wake=self.wake,
            refused=self._wake_requests.discard,
            note=self.note,
        )
        self._memory = MemorySampler(launches, world.runtime.memory)
        self._missing_workers = MissingWorkers(world.runtime.workers, self.note)
        #: The reasons, for the events.
        self._park_requests: dict[ModelKey, str] = {}
        self._unplaced = 0
        self._closing = False
        self._notes = Notes(deployments)
        self._wake = asyncio.Event()
        #: Set, and replaced by a new event, with the next change of any row.
        self.changed = asyncio.Event()
        self._ticked = float("-inf")
        self._ticks = Ticks()
        self._swept = float("-inf")

    def wake(self) -> None:
        """Have a tick now: a desired state was written, or a process has ended."""
        self._wake.set()

    def request_wake(self, key: ModelKey) -> None:
        """Have a parked deployment started: a request waits for it."""
        self._wake_requests.add(key)
        self.wake()

    def request_park(self, key: ModelKey, reason: str) -> None:
        """Have a ready deployment parked, once its requests are answered."""
        self._park_requests[key] = reason
        self.wake()

    def note(self, key: ModelKey, text: str, level: int = logging.WARNING) -> None:
        """Write a text among the events of a deployment."""
        self._notes.add(key, text, level)
        self.wake()

    def held_up(self, key: ModelKey) -> str:
        """Why a deployment gets no further replica now; empty if nothing is in the way."""
        return self._steps.held_up.get(key, "")

    @property
    def idle(self) -> float:
        """Seconds since the last tick that wrote all it had to."""
        return self._world.clock() - self._ticked

    def announce(self) -> None:
        """Wake everything that waits for a change of a row."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    async def run(self) -> None:
        """Tick until cancelled. An error of one tick is logged, and the next one tries again."""
        while True:
            await self._wait(await self._uninterrupted_tick())

    async def ticked(self, limit: float) -> None:
        """Have a tick now, and wait for its end for at most ``limit`` seconds."""
        self.wake()
        await self._ticks.next(limit)

    async def tick(self) -> float:
        """Handle every deployment once. Returns the seconds until the next tick is due."""
        self._ticks.begin()
        rows = await self._deployments.all()
        tick = self._begin(rows)
        complete = True
        for place, row in enumerate(rows):
            try:
                await self._handle(place, tick)
            except DatabaseError as error:
                _log.error("cannot write the state: %s", error, extra=log_fields(row))
                complete = False
        complete = await self._finish(tick) and complete
        now = self._world.clock()
        if complete:
            self._ticked = now
        self._ticks.end()
        return pause(tick, before=rows, now=now, wake=bool(self._wake_requests))

    async def recover(self) -> None:
        """Take over what an earlier controller left: adopt launches, repeat signals, end strays."""
        await adopt(self._deployments, self._launches, self._world.runtime)
        await self._sweep_if_possible()
        rows = await self._deployments.all()
        self._probe(rows)
        self._publisher.publish(rows, closing=False)

    async def close(self, *, keep: bool, limit: float) -> None:
        """Stop the models within ``limit`` seconds, or ``keep`` them for the next controller."""
        self._background.cancel()
        if not keep:
            await self._stop_all(limit)
        await self._memory.close()

    async def _stop_all(self, limit: float) -> None:
        self._closing = True
        end = self._world.clock() + limit
        while self._world.clock() < end:
            pause = await self._uninterrupted_tick()
            with contextlib.suppress(Exception):  # the next tick logs it
                rows = await self._deployments.all()
                if not any(one.is_live or one.port for row in rows for one in row.launches):
                    return
            await self._wait(pause)
        _log.error("some models did not stop in time and are still running")

    async def _uninterrupted_tick(self) -> float:
        """A tick that cancellation does not cut off, and whose errors are logged. Returns the pause.

        A tick cancelled between starting a process and writing its handle would lose the process.
        """
        self._wake.clear()
        tick = asyncio.ensure_future(self.tick())
        try:
            return await asyncio.shield(tick)
        except asyncio.CancelledError:
            await asyncio.wait({tick})
            if not tick.cancelled() and (error := tick.exception()):
                _log.error("tick failed: %s", error)
            raise
        except Exception:
            _log.exception("tick failed")
            return TICK

    def _begin(self, rows: Sequence[Deployment]) -> Tick:
        unplaced = min(self._unplaced, self._start_concurrency)
        self._unplaced = 0
        return Tick(
            rows=[*rows],
            wake_requests=frozenset(self._wake_requests),
            park_requests={**self._park_requests},
            evicted=choose_evicted(rows, unplaced, self._world.traffic),
            closing=self._closing,
        )

    async def _handle(self, place: int, tick: Tick) -> None:
        """One step for each launch of a deployment, one for the deployment, and what follows at once.

        Raises:
            DatabaseError: the state could not be written.
        """
        await self._handle_launches(place, tick)
        row = tick.rows[place]
        for work in (self._steps.scale, self._steps.of_deployment):
            tick.update(place, await self._step(tick.rows[place], tick, partial(work, tick)))
        # So that no other deployment is evicted as well.
        if tick.rows[place].parking and not row.parking:
            await self._handle_launches(place, tick)

    async def _handle_launches(self, place: int, tick: Tick) -> None:
        for launch in tick.rows[place].launches:
            go_on = partial(self._steps.of_launch, launch.id, tick)
            tick.update(place, await self._step(tick.rows[place], tick, go_on))

    async def _step(self, row: Deployment, tick: Tick, work: _Work) -> Deployment:
        """Do one piece of work. Returns the row as it is afterwards.

        Raises:
            DatabaseError: the state could not be written.
        """
        try:
            changed = await work(row)
        except IllegalTransition as error:
            _log.info("%s", error.detail, extra=log_fields(row))
            # Mostly a desired state was written meanwhile. What is still as it was has time.
            if await self._deployments.get(row.key) != row:
                self.wake()
            return row
        except DatabaseError:
            raise
        except Exception:
            # One deployment that cannot be handled does not hold up the others. Some of the action may
            # have been done, so what is written counts.
            _log.exception("cannot process this deployment", extra=log_fields(row))
            return await self._deployments.get(row.key) or row
        if changed is not row:
            # Before the change is announced: a caller that waits for a ready model predicts at once.
            self._publisher.publish_one(changed, closing=tick.closing)
            self._announce(row, changed)
        return changed

    async def _finish(self, tick: Tick) -> bool:
        """Do what concerns all deployments. Returns whether everything could be written."""
        # A waiting request asks again if its deployment is not parked now and is parked later.
        self._wake_requests &= {row.key for row in tick.rows if row.state is State.PARKED}
        for key in {*self._park_requests} - {row.key for row in tick.rows if _may_be_parked(row)}:
            del self._park_requests[key]
        self._unplaced = tick.unplaced
        self._steps.forget(except_for=tick.rows)
        self._background.cancel(except_for=tick.rows)
        self._probe(tick.rows)
        self._memory.maybe_sample(tick.rows, self._world.clock())
        self._missing_workers.maybe_count(tick.rows, self._world.clock())
        self._publisher.publish(tick.rows, closing=tick.closing)
        complete = True
        try:
            await self._notes.write(tick.rows)
        except DatabaseError as error:
            # The notes are kept. The sweep may make the room that a full disk needs.
            _log.error("cannot record an event: %s", error)
            complete = False
        if self._world.clock() - self._swept >= SWEEP:
            await self._sweep_if_possible()
        return complete

    async def _sweep_if_possible(self) -> None:
        try:
            await sweep(self._deployments, self._ports, self._world)
        except DatabaseError as error:
            _log.error("cannot sweep: %s; trying again in %g s", error, SWEEP)
        except Exception:
            _log.exception("cannot sweep; trying again in %g s", SWEEP)
        self._swept = self._world.clock()

    async def _wait(self, pause: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), pause)

    def _announce(self, before: Deployment, after: Deployment) -> None:
        log_changes(before, after)
        if (before.state, before.launch_id) != (after.state, after.launch_id):
            self._world.changed(before, after)
        self.announce()

    def _probe(self, rows: Sequence[Deployment]) -> None:
        self._world.prober.watch(
            Target(one.handle, self._probe_intervals[one.state])
            for row in rows
            for one in row.launches
            if one.state in self._probe_intervals and one.handle is not None
        )


def _may_be_parked(row: Deployment) -> bool:
    coming = row.replacement is not None and row.replacement.under_way
    return row.state is State.READY and not row.parking and not coming
