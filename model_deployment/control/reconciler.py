"""The control loop: observes each deployment, decides what to do, and applies it, tick by tick.

It alone writes ``state``. It never waits for a process, a probe or a download: waiting is a state
with a deadline, which a later tick looks at. ``lifecycle.decide`` decides, ``Observer`` observes and
``Effects`` applies.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence

from model_deployment.control.adoption import adopt, log_fields
from model_deployment.control.background import BackgroundWork
from model_deployment.control.collaborators import Collaborators
from model_deployment.control.effects import Effects
from model_deployment.control.garbage import sweep
from model_deployment.control.memory import MemorySampler
from model_deployment.control.missing_workers import MissingWorkers
from model_deployment.control.observer import Observer
from model_deployment.control.probes import Target
from model_deployment.control.publisher import Publisher
from model_deployment.control.tick import Tick
from model_deployment.core.actions import Policy, RefuseWake
from model_deployment.core.admission import choose_evicted
from model_deployment.core.domain import Deployment, State
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.lifecycle import LIVE, decide
from model_deployment.core.names import ModelKey
from model_deployment.state.database import DatabaseError
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports

_log = logging.getLogger(__name__)

#: Seconds between ticks when nothing wakes the loop.
TICK = 1.0
#: The same while a launch is stopping, whose end may come without a message.
STOPPING_TICK = 0.1
#: The shortest pause between two ticks, in seconds.
SOON = 0.01
#: Seconds between health checks of a launch that is starting.
STARTING_INTERVAL = 0.1
#: Seconds between sweeps for processes, leases, logs and events that no deployment needs.
SWEEP = 30.0


class Reconciler:
    """Runs the control loop."""

    def __init__(
        self,
        *,
        deployments: Deployments,
        ports: Ports,
        world: Collaborators,
        policy: Policy,
        probe_interval: float = 5.0,
        quarantine: float = 5.0,
        start_concurrency: int = 2,
    ) -> None:
        self._deployments = deployments
        self._ports = ports
        self._world = world
        self._probe_intervals: Mapping[State, float] = {
            State.STARTING: STARTING_INTERVAL,
            State.READY: probe_interval,
        }
        self._start_concurrency = start_concurrency
        self._policy = policy
        self._publisher = Publisher(world.publish)
        self._background = BackgroundWork(world, self.wake)
        self._effects = Effects(
            deployments=deployments,
            ports=ports,
            world=world,
            background=self._background,
            publisher=self._publisher,
            policy=policy,
            quarantine=quarantine,
            wake=self.wake,
        )
        self._observer = Observer(
            deployments=deployments,
            world=world,
            background=self._background,
            start_concurrency=start_concurrency,
            wake=self.wake,
        )
        self._memory = MemorySampler(deployments, world.measure)
        self._missing_workers = MissingWorkers(world.worker_counts, self.note)
        self._wake_requests: set[ModelKey] = set()
        self._unplaced = 0
        self._closing = False
        self._notes: deque[tuple[ModelKey, str]] = deque()
        self._wake = asyncio.Event()
        #: Set, and replaced by a new event, with the next change of any row.
        self.changed = asyncio.Event()
        self._ticked = float("-inf")
        self._swept = float("-inf")

    def wake(self) -> None:
        """Have a tick now: a desired state was written, or a process has ended."""
        self._wake.set()

    def request_wake(self, key: ModelKey) -> None:
        """Have a parked deployment started: a request waits for it."""
        self._wake_requests.add(key)
        self.wake()

    def note(self, key: ModelKey, text: str) -> None:
        """Have a text written among the events of a deployment."""
        self._notes.append((key, text))
        self.wake()

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

    async def tick(self) -> float:
        """Handle every deployment once. Returns the seconds until the next tick is due."""
        rows = await self._deployments.all()
        tick = self._begin(rows)
        complete = True
        for place, row in enumerate(rows):
            try:
                tick.update(place, await self._step(row, tick))
            except DatabaseError as error:
                _log.error("cannot write the state: %s", error, extra=log_fields(row))
                complete = False
        complete = await self._finish(tick) and complete
        if complete:
            self._ticked = self._world.clock()
        return self._pause(tick, before=rows)

    async def recover(self) -> None:
        """Take over what an earlier controller left: adopt launches, repeat signals, end strays."""
        await adopt(self._deployments, self._world.runtime)
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
                if not any(row.state in LIVE or row.port is not None for row in rows):
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
            evicted=choose_evicted(rows, unplaced, self._world.traffic),
            closing=self._closing,
        )

    async def _step(self, row: Deployment, tick: Tick) -> Deployment:
        """Observe, decide, apply. Returns the row as it is afterwards.

        Raises:
            DatabaseError: the state could not be written.
        """
        try:
            seen = await self._observer.observe(row, tick)
            tick.unplaced += seen.memory_pressure
            action = decide(row, seen, self._world.clock(), self._policy)
            changed = await self._effects.apply(row, action, tick)
            if isinstance(action, RefuseWake):
                self._wake_requests.discard(row.key)
        except IllegalTransition as error:
            # A desired state was written meanwhile: the next tick sees it.
            _log.info("%s", error.detail, extra=log_fields(row))
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
        self._unplaced = tick.unplaced
        self._background.cancel(except_for=tick.rows)
        self._probe(tick.rows)
        self._memory.maybe_sample(tick.rows, self._world.clock())
        self._missing_workers.maybe_count(tick.rows, self._world.clock())
        self._publisher.publish(tick.rows, closing=tick.closing)
        complete = True
        try:
            await self._write_notes(tick.rows)
        except DatabaseError as error:
            # The notes are kept. The sweep may make the room that a full disk needs.
            _log.error("cannot record an event: %s", error)
            complete = False
        if self._world.clock() - self._swept >= SWEEP:
            await self._sweep_if_possible()
        return complete

    async def _write_notes(self, rows: Sequence[Deployment]) -> None:
        known = {row.key: row for row in rows} if self._notes else {}
        while self._notes:
            key, text = self._notes[0]
            if key in known:
                await self._deployments.note(known[key], text)
                _log.warning("%s", text, extra=log_fields(known[key]))
            self._notes.popleft()

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
        level = logging.WARNING if after.state is State.FAILED else logging.INFO
        fields = log_fields(after if after.launch_id else before)
        _log.log(level, "%s -> %s: %s", before.state, after.state, after.reason, extra=fields)
        self.announce()

    def _probe(self, rows: Sequence[Deployment]) -> None:
        self._world.prober.watch(
            Target(row.handle, self._probe_intervals[row.state])
            for row in rows
            if row.state in self._probe_intervals and row.handle is not None
        )

    def _pause(self, tick: Tick, *, before: Sequence[Deployment]) -> float:
        """Seconds until the next tick is due."""
        now = self._world.clock()
        launchable = any(
            old.state is not new.state is State.PENDING and new.not_before <= now
            for old, new in zip(before, tick.rows, strict=True)
        )
        if launchable or (tick.unplaced and tick.rows != [*before]):
            return SOON  # a port may be free now, or be given up
        due = [row.deadline - now for row in tick.rows if row.deadline is not None]
        due += [
            row.not_before - now
            for row in tick.rows
            if row.state is State.PENDING and row.not_before > now
        ]
        due += [SOON] * bool(self._wake_requests)
        hurry = tick.unplaced or any(row.state is State.STOPPING for row in tick.rows)
        return max(SOON, min([STOPPING_TICK if hurry else TICK, *due]))
