"""Measures the memory of each deployment's processes, for admission when it is started next.

A launch that should have been a fork and was not is left out: the next launch is a fork again. With an
environment of its own it counts: what cannot be forked there once cannot be forked there the next time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from model_deployment.core.domain import Deployment, Handle, Launch
from model_deployment.core.measures import Memory
from model_deployment.core.options import EnvManager
from model_deployment.state.database import DatabaseError
from model_deployment.state.launches import Launches

_log = logging.getLogger(__name__)

#: Seconds between two samples, and between samples of launches that were never measured.
INTERVAL, SOON = 15.0, 1.0
#: Relative differences below this are not written.
_MIN_CHANGE = 0.05

#: The memory of launches, by their ids.
Measure = Callable[[Sequence[Handle]], Awaitable[Mapping[str, Memory]]]


class MemorySampler:
    """Takes one sample at a time, in the background."""

    def __init__(self, launches: Launches, measure: Measure) -> None:
        self._launches = launches
        self._measure = measure
        #: When some of the deployments, and when all of them, were measured.
        self._sampled = self._sampled_all = float("-inf")
        self._sample: asyncio.Task[None] | None = None
        #: Launches whose size does not predict the next launch's.
        self._unrepresentative: set[str | None] = set()

    def maybe_sample(self, rows: Sequence[Deployment], now: float) -> None:
        """Start a sample of the ready launches, if one is due."""
        ready = [row for row in rows if any(one.handle for one in row.ready)]
        if self._unrepresentative:
            self._unrepresentative &= {one.launch_id for row in ready for one in row.ready}
        if now - self._sampled < SOON or self._sample is not None:
            return
        if now - self._sampled_all >= INTERVAL:
            self._sampled_all = now
        else:
            ready = [row for row in ready if self._is_unknown(row)]
        if ready:
            self._sampled = now
            self._sample = asyncio.create_task(self._measure_all(ready), name="memory")

    def _is_unknown(self, row: Deployment) -> bool:
        return row.memory is None and any(
            one.launch_id not in self._unrepresentative for one in row.ready
        )

    async def close(self) -> None:
        """Wait for the sample that is being taken."""
        if self._sample is not None:
            await asyncio.wait({self._sample})

    async def _measure_all(self, rows: Sequence[Deployment]) -> None:
        try:
            handles = [one.handle for row in rows for one in row.ready if one.handle is not None]
            found = await self._measure(handles)
            for row in rows:
                sizes = [
                    (size, launch_id)
                    for one in row.ready
                    if (launch_id := one.launch_id) is not None
                    and (size := self._size(one, found.get(launch_id))) is not None
                ]
                if sizes:  # the next launch may become as large as any of them
                    await self._record(row, *max(sizes))
        except (DatabaseError, OSError) as error:
            _log.error("cannot store the measured memory of models: %s", error)
        finally:
            self._sample = None

    def _size(self, launch: Launch, memory: Memory | None) -> int | None:
        """Bytes that predict those of the next launch; None if that is not known."""
        if memory is None:
            return None
        forks = launch.options.forks and memory.forked is not False
        if launch.options.forks and not forks and launch.options.env_manager is EnvManager.LOCAL:
            self._unrepresentative.add(launch.launch_id)
            return None
        return reclaimable_bytes(memory, forks=forks)

    async def _record(self, row: Deployment, size: int, launch_id: str) -> None:
        if row.memory is None or abs(size - row.memory) > _MIN_CHANGE * row.memory:
            await self._launches.record_memory(launch_id, size)


def reclaimable_bytes(memory: Memory, *, forks: bool) -> int:
    """Memory that the machine gets back when a launch ends.

    For a fork that is its private memory: the parent keeps the rest, with one fork or with fifty.
    """
    share = memory.uss if forks else memory.pss
    return memory.rss if share is None else share
