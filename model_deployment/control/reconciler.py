"""The loop that makes what is equal to what was asked for: observe, decide, apply.

It alone writes ``state``. It never waits for a process, a probe or a download: waiting is a state
with a deadline, looked at again in a later tick. What to do is decided by ``lifecycle.decide``, and
done by ``effects``; what is the case is found out by ``observer``.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence

from model_deployment.control.collaborators import Collaborators
from model_deployment.control.effects import Effects
from model_deployment.control.garbage import sweep
from model_deployment.control.memory import Scales
from model_deployment.control.missing_workers import RollCall
from model_deployment.control.observer import Observer
from model_deployment.control.probes import Target
from model_deployment.control.publisher import Publisher
from model_deployment.core.actions import Policy, RefuseWake
from model_deployment.core.domain import (
    Deployment,
    Handle,
    State,
    Step,
)
from model_deployment.core.errors import IllegalTransition
from model_deployment.core.lifecycle import LIVE, decide
from model_deployment.core.names import ModelKey
from model_deployment.state.database import DatabaseError
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports

_log = logging.getLogger(__name__)

#: Between ticks when nothing wakes the loop, in seconds.
TICK = 1.0
#: The same while something is on its way out, whose end nobody may announce.
STOPPING_TICK = 0.1
#: The shortest one.
SOON = 0.01
#: Between health checks of a launch that is starting.
STARTING_INTERVAL = 0.1
#: Between sweeps for processes, leases, logs and events that nothing needs.
SWEEP = 30.0


class Reconciler:
    """One writer of states."""

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
        self._policy = policy
        self._probe_intervals: Mapping[State, float] = {
            State.STARTING: STARTING_INTERVAL,
            State.READY: probe_interval,
        }
        self._start_concurrency = start_concurrency
        self._publisher = Publisher(world.publish)
        self._effects = Effects(
            deployments=deployments,
            ports=ports,
            world=world,
            policy=policy,
            quarantine=quarantine,
            unpublish=self._publisher.publish_anew,
            wake=self.wake,
        )
        self._observer = Observer(
            deployments=deployments,
            world=world,
            effects=self._effects,
            start_concurrency=start_concurrency,
            wake=self.wake,
        )
        self._scales = Scales(deployments, world.measure)
        self._roll_call = RollCall(world.crew_of, self.note)
        self._notes: deque[tuple[ModelKey, str]] = deque()
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._ticked = float("-inf")
        self._swept = float("-inf")

    def wake(self) -> None:
        """Have a tick now: a wish was written, or a process has ended."""
        self._wake.set()

    def call(self, key: ModelKey) -> None:
        """Have a parked deployment started: somebody waits for it."""
        self._observer.called.add(key)
        self.wake()

    def note(self, key: ModelKey, text: str) -> None:
        """Have something written among the events of a deployment."""
        self._notes.append((key, text))
        self.wake()

    @property
    def changed(self) -> asyncio.Event:
        """Set, and replaced by a new one, with the next change of any row."""
        return self._changed

    @property
    def idle(self) -> float:
        """Seconds since the last tick that ended well."""
        return self._world.clock() - self._ticked

    def announce(self) -> None:
        """Tell those who wait that something has changed."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def run(self) -> None:
        """Tick until cancelled. An error of one tick is logged, and the next one tries again."""
        while True:
            await self._wait(await self._whole_tick())

    async def tick(self) -> float:
        """Look at every deployment once. Returns the seconds until the next look is due."""
        rows = await self._deployments.all()
        starting = sum(row.state is State.STARTING for row in rows)
        self._observer.begin(rows)
        after: list[Deployment] = []
        broken: DatabaseError | None = None
        for place, row in enumerate(rows):
            try:
                changed = await self._step(row, may_start=starting < self._start_concurrency)
            except DatabaseError as error:
                _log.error("cannot write the state: %s", error, extra=_fields(row))
                broken, changed = error, row
            starting += (changed.state is State.STARTING) - (row.state is State.STARTING)
            after.append(changed)
            self._observer.changed(place, changed)
        # Who was dropped for being no longer, or not yet, parked is called again if need be.
        self._observer.called &= {row.key for row in after if row.state is State.PARKED}
        self._effects.cancel_preparations(but=[r for r in after if r.state is State.PENDING])
        self._effects.cancel_trials(but=[r for r in after if r.state is State.STARTING])
        self._watch(after)
        self._scales.consider(after, self._world.clock())
        self._roll_call.consider(after, self._world.clock())
        self._publisher.publish(after)
        try:
            await self._write_notes(after)
        except DatabaseError as error:
            # They are kept. What follows may be what makes room on a full disk.
            _log.error("cannot write a note: %s", error)
            broken = error
        if self._world.clock() - self._swept >= SWEEP:
            await self._sweep_if_possible()
        if broken is None:
            self._ticked = self._world.clock()
        again = any(
            before.state is not row.state is State.PENDING and row.not_before <= self._world.clock()
            for before, row in zip(rows, after, strict=True)
        )
        if again or (self._effects.held_up and after != rows):
            return SOON  # it can be launched now; a port may be free now, or be given up
        return self._pause(after)

    async def recover(self) -> None:
        """Take over what an earlier controller left: adopt launches, repeat signals, end strays.

        What cannot be written is left to the next tick: a full disk must not keep the models that run
        from being served.
        """
        live = {handle.launch_id: handle for handle in await self._world.runtime.list()}
        for row in await self._deployments.all():
            if row.launch_id in live:
                try:
                    await self._adopt(row, live[row.launch_id])
                except (DatabaseError, OSError) as error:
                    _log.error("cannot note that it is adopted: %s", error, extra=_fields(row))
            elif row.launch_id is not None:
                _log.warning("its process is gone", extra=_fields(row))
        await self._sweep_if_possible()
        rows = await self._deployments.all()
        self._watch(rows)
        self._publisher.publish(rows)

    async def close(self, *, keep: bool, limit: float) -> None:
        """Take the models down within ``limit`` seconds, or leave them to the next controller."""
        self._effects.cancel_preparations()
        self._effects.cancel_trials()
        if not keep:
            await self._take_down(limit)
        await self._scales.close()

    async def _take_down(self, limit: float) -> None:
        self._observer.closing = self._publisher.closing = True
        end = self._world.clock() + limit
        while self._world.clock() < end:
            pause = await self._whole_tick()
            with contextlib.suppress(Exception):  # the next tick tells what it is
                rows = await self._deployments.all()
                if not any(row.state in LIVE or row.port is not None for row in rows):
                    return
            await self._wait(pause)
        _log.error("some models did not end in time and were left behind")

    async def _whole_tick(self) -> float:
        """A tick that is not cut off in the middle, and whose errors are logged. Returns the pause.

        A tick cancelled between starting a process and noting its handle would lose the process.
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

    async def _write_notes(self, rows: Sequence[Deployment]) -> None:
        known = {row.key: row for row in rows}
        while self._notes:
            key, text = self._notes[0]
            if key in known:
                await self._deployments.note(known[key], text)
                _log.warning("%s", text, extra=_fields(known[key]))
            self._notes.popleft()

    async def _sweep_if_possible(self) -> None:
        try:
            await sweep(self._deployments, self._ports, self._world)
        except DatabaseError as error:
            _log.error("cannot clear away what nobody needs: %s; again in %g s", error, SWEEP)
        except Exception:
            _log.exception("cannot clear away what nobody needs; trying again in %g s", SWEEP)
        self._swept = self._world.clock()

    async def _wait(self, pause: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), pause)

    async def _step(self, row: Deployment, *, may_start: bool) -> Deployment:
        """Observe, decide, apply. Returns the row as it is afterwards."""
        try:
            seen = await self._observer.observe(row, may_start)
            action = decide(row, seen, self._world.clock(), self._policy)
            changed = await self._effects.apply(row, action)
            if isinstance(action, RefuseWake):
                self._observer.called.discard(row.key)
        except IllegalTransition as error:
            # A wish was written meanwhile: the next tick sees what is the case now.
            _log.info("%s", error.detail, extra=_fields(row))
            self.wake()
            return row
        except DatabaseError:
            raise
        except Exception:
            # One deployment that cannot be looked at does not hold up the others. Some of it may
            # have been done, so what counts is what is written.
            _log.exception("cannot look after this deployment", extra=_fields(row))
            return await self._deployments.get(row.key) or row
        if changed is not row:
            # Before anybody is told: who hears of a ready model predicts with it at once.
            self._publisher.publish_anew(changed)
            self._tell(row, changed)
        return changed

    async def _adopt(self, row: Deployment, handle: Handle) -> None:
        if row.state is State.STOPPING and row.step is not Step.DRAIN:
            # The signal may have been written down and never sent.
            await self._world.runtime.stop(handle, force=row.step is Step.KILL)
        if row.handle is None:  # killed between the start and the note of it
            await self._deployments.record_handle(handle)
        await self._deployments.note(row, "adopted by a new controller")
        _log.info("adopted", extra=_fields(row))

    def _tell(self, before: Deployment, after: Deployment) -> None:
        level = logging.WARNING if after.state is State.FAILED else logging.INFO
        fields = _fields(after if after.launch_id else before)
        _log.log(level, "%s -> %s: %s", before.state, after.state, after.reason, extra=fields)
        self.announce()

    def _watch(self, rows: Sequence[Deployment]) -> None:
        self._world.prober.watch(
            Target(row.handle, self._probe_intervals[row.state])
            for row in rows
            if row.state in self._probe_intervals and row.handle is not None
        )

    def _pause(self, rows: Sequence[Deployment]) -> float:
        now = self._world.clock()
        due = [row.deadline - now for row in rows if row.deadline is not None]
        due += [
            row.not_before - now
            for row in rows
            if row.state is State.PENDING and row.not_before > now
        ]
        due += [SOON] * bool(self._observer.called)
        hurry = self._effects.held_up or any(row.state is State.STOPPING for row in rows)
        return max(SOON, min([STOPPING_TICK if hurry else TICK, *due]))


def _fields(row: Deployment) -> dict[str, object]:
    return {
        "model": row.key.model,
        "version": row.key.version,
        "launch_id": row.launch_id or "-",
    }
