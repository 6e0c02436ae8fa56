"""Measures the memory of each deployment's processes, for admission when it is started next.

A launch that should have been a fork and was not is left out: the next launch is a fork again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from model_deployment.core.domain import Deployment, Handle, Memory, State
from model_deployment.state.database import DatabaseError
from model_deployment.state.deployments import Deployments

_log = logging.getLogger(__name__)

#: Seconds between two samples, and between samples of launches that were never measured.
INTERVAL, SOON = 15.0, 1.0
#: Relative differences below this are not written.
_MIN_CHANGE = 0.05

#: The memory of launches, by their ids.
Measure = Callable[[Sequence[Handle]], Awaitable[Mapping[str, Memory]]]


class MemorySampler:
    """Takes one sample at a time, in the background."""

    def __init__(self, deployments: Deployments, measure: Measure) -> None:
        self._deployments = deployments
        self._measure = measure
        #: When some of the deployments, and when all of them, were measured.
        self._sampled = self._sampled_all = float("-inf")
        self._sample: asyncio.Task[None] | None = None
        #: Launches whose size does not predict the next launch's.
        self._unrepresentative: set[str | None] = set()

    def maybe_sample(self, rows: Sequence[Deployment], now: float) -> None:
        """Start a sample of the ready deployments, if one is due."""
        ready = [row for row in rows if row.state is State.READY and row.handle is not None]
        self._unrepresentative &= {row.launch_id for row in ready}
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
        return row.memory is None and row.launch_id not in self._unrepresentative

    async def close(self) -> None:
        """Wait for the sample that is being taken."""
        if self._sample is not None:
            await asyncio.wait({self._sample})

    async def _measure_all(self, rows: Sequence[Deployment]) -> None:
        try:
            found = await self._measure([row.handle for row in rows if row.handle is not None])
            for row in rows:
                memory = found.get(row.launch_id or "")
                if memory is None:
                    continue
                if row.options.forks and memory.forked is False:
                    self._unrepresentative.add(row.launch_id)
                else:
                    await self._record(row, reclaimable_bytes(memory, forks=row.options.forks))
        except (DatabaseError, OSError) as error:
            _log.error("cannot store the measured memory of models: %s", error)
        finally:
            self._sample = None

    async def _record(self, row: Deployment, size: int) -> None:
        if row.memory is None or abs(size - row.memory) > _MIN_CHANGE * row.memory:
            await self._deployments.record_memory(row.launch_id or "", size)


def reclaimable_bytes(memory: Memory, *, forks: bool) -> int:
    """Memory that the machine gets back when a launch ends.

    For a fork that is its private memory: the parent keeps the rest, with one fork or with fifty.
    """
    share = memory.uss if forks else memory.pss
    return memory.rss if share is None else share
