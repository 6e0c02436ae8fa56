"""Health checks in the background: the reconciler reads results and never waits for one.

A launch is healthy when the launch itself listens on its address and answers ``GET /ping`` with 200.
The first half keeps a foreign process on the port from being mistaken for the model.
"""

import asyncio
import errno
import logging
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from model_deployment.control.ping import ping
from model_deployment.core.domain import Handle
from model_deployment.core.measures import Health

_log = logging.getLogger(__name__)

#: No descriptor is left in this process, or on the machine. That says nothing about the model.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})

#: Parts of an interval at whose beginnings checks are made.
_SLOTS = 10

Listening = Callable[[Handle], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Target:
    """A launch to check, each ``interval`` seconds."""

    handle: Handle
    interval: float


class Prober:
    """One task per launch."""

    def __init__(
        self, *, timeout: float, listening: Listening, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._timeout = timeout
        self._listening = listening
        self._changed = changed
        self._tasks: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._health: dict[str, Health] = {}

    def watch(self, targets: Iterable[Target]) -> None:
        """Check exactly these from now on."""
        wanted = {target.handle.launch_id: target for target in targets}
        for launch_id in self._tasks.keys() - wanted.keys():
            self._tasks.pop(launch_id)[1].cancel()
            self._health.pop(launch_id, None)
        for launch_id, target in wanted.items():
            interval, task = self._tasks.get(launch_id, (0.0, None))
            if task is not None and not task.done() and interval == target.interval:
                continue
            if task is not None:
                task.cancel()
            self._tasks[launch_id] = (target.interval, asyncio.create_task(self._check_on(target)))

    def health(self, launch_id: str) -> Health:
        """Results so far."""
        return self._health.get(launch_id, Health())

    async def close(self) -> None:
        """Stop checking."""
        tasks = [task for _, task in self._tasks.values()]
        self.watch([])
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _check_on(self, target: Target) -> None:
        launch_id = target.handle.launch_id
        pause = target.interval * (1 + _phase(launch_id)) / 2
        # A cancellation in the moment of a time-out can get lost.
        while self._is_asked(launch_id):
            try:
                healthy = await self._ping(target.handle)
                if self._is_asked(launch_id):
                    self._note(launch_id, healthy=healthy)
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                _log.error("cannot check launch %s in this tick: %s", launch_id, error.strerror)
            await asyncio.sleep(_aligned(pause, target.interval / _SLOTS))
            pause = target.interval

    def _is_asked(self, launch_id: str) -> bool:
        """Whether the current task is still the one that checks this launch."""
        known = self._tasks.get(launch_id)
        return known is not None and known[1] is asyncio.current_task()

    def _note(self, launch_id: str, *, healthy: bool) -> None:
        before = self.health(launch_id)
        self._health[launch_id] = Health(healthy, 0 if healthy else before.failures + 1)
        if healthy != before.healthy:
            self._changed()

    async def _ping(self, handle: Handle) -> bool:
        # The owner of the socket is asked for once, and last: finding it costs far more than a refused
        # connection.
        return await ping(handle.address, self._timeout) and (
            self.health(handle.launch_id).healthy or await self._listening(handle)
        )


def _aligned(pause: float, slot: float) -> float:
    """A pause that is shortened so that it ends when others do: one wake-up serves several checks."""
    return pause - (asyncio.get_running_loop().time() + pause) % slot


def _phase(launch_id: str) -> float:
    """A share (0-1) for each launch: launches that are adopted together are not all checked together."""
    return zlib.crc32(launch_id.encode()) / 2**32
