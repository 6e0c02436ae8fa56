"""Health checks in the background: the reconciler reads results and never waits for one.

A launch is healthy when the launch itself listens on its endpoint and answers ``GET /ping`` with 200.
The first half keeps a foreign process on the port from being mistaken for the model.
"""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import aiohttp

from model_deployment.core.domain import Handle, Health

_log = logging.getLogger(__name__)

#: No descriptor is left in this process, or on the machine. That says nothing about the model.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})

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
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._listening = listening
        self._changed = changed
        self._tasks: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._health: dict[str, Health] = {}
        self._session: aiohttp.ClientSession | None = None

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
        if self._session is not None:
            await self._session.close()

    async def _check_on(self, target: Target) -> None:
        launch_id = target.handle.launch_id
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
            await asyncio.sleep(target.interval)

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
        if self._session is None:
            # A connection of its own for each check: a pooled one may be the last that still works.
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        try:
            async with self._session.get(
                f"{handle.endpoint.url}/ping", allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    return False
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, OSError) and error.errno in _EXHAUSTED:
                raise
            return False
        # Asked once, and last: finding the owner of a socket costs far more than a refused connection.
        return self.health(handle.launch_id).healthy or await self._listening(handle)
