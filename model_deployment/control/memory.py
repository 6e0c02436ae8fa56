"""Notes what the processes of each deployment take, for the next time that one is started.

A launch that was to be a fork and could not is not noted: the next one is a fork again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from model_deployment.core.domain import Deployment, Handle, Memory, State
from model_deployment.state.database import DatabaseError
from model_deployment.state.deployments import Deployments

_log = logging.getLogger(__name__)

#: Seconds between two looks, and those to the next one where something was never looked at.
INTERVAL, SOON = 15.0, 1.0
#: Less of a difference is not worth a write to the disk.
_WORTH = 0.05

#: The memory of launches, by their ids.
Measure = Callable[[Sequence[Handle]], Awaitable[Mapping[str, Memory]]]


class Scales:
    """Looks in the background, one look at a time."""

    def __init__(self, deployments: Deployments, measure: Measure) -> None:
        self._deployments = deployments
        self._measure = measure
        self._looked = float("-inf")
        self._look: asyncio.Task[None] | None = None
        #: Launches whose figures tell nothing of the next ones.
        self._odd: set[str | None] = set()

    def consider(self, rows: Sequence[Deployment], now: float) -> None:
        """Look at those that are ready, if it is time to."""
        ready = [row for row in rows if row.state is State.READY and row.handle is not None]
        self._odd &= {row.launch_id for row in ready}
        unknown = any(row.memory is None and row.launch_id not in self._odd for row in ready)
        interval = SOON if unknown else INTERVAL
        if not ready or now - self._looked < interval or self._look is not None:
            return
        self._looked = now
        self._look = asyncio.create_task(self._weigh(ready), name="weigh")

    async def close(self) -> None:
        """Wait for the look that is under way."""
        if self._look is not None:
            await asyncio.wait({self._look})

    async def _weigh(self, rows: Sequence[Deployment]) -> None:
        try:
            found = await self._measure([row.handle for row in rows if row.handle is not None])
            for row in rows:
                memory = found.get(row.launch_id or "")
                if memory is None:
                    continue
                if row.options.forks and memory.forked is False:
                    self._odd.add(row.launch_id)
                else:
                    await self._note(row, taken(memory, forks=row.options.forks))
        except (DatabaseError, OSError) as error:
            _log.error("cannot note what models take: %s", error)
        finally:
            self._look = None

    async def _note(self, row: Deployment, size: int) -> None:
        if row.memory is None or abs(size - row.memory) > _WORTH * row.memory:
            await self._deployments.record_memory(row.launch_id or "", size)


def taken(memory: Memory, *, forks: bool) -> int:
    """What a launch takes from the machine, and gives back when it ends.

    Of a fork that is what it has for itself: its parent has the rest, with one fork or with fifty.
    """
    share = memory.uss if forks else memory.pss
    return memory.rss if share is None else share
