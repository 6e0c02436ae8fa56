"""Notes what the processes of each deployment take, for the next time that one is started."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from model_deployment.domain import Deployment, Handle, Memory, State
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

    def consider(self, rows: Sequence[Deployment], now: float) -> None:
        """Look at those that are ready, if it is time to."""
        ready = [row for row in rows if row.state is State.READY and row.handle is not None]
        interval = SOON if any(row.memory is None for row in ready) else INTERVAL
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
                if memory is not None:
                    await self._note(row, memory.rss if memory.pss is None else memory.pss)
        except (DatabaseError, OSError) as error:
            _log.error("cannot note what models take: %s", error)
        finally:
            self._look = None

    async def _note(self, row: Deployment, size: int) -> None:
        if row.memory is None or abs(size - row.memory) > _WORTH * row.memory:
            await self._deployments.record_memory(row.launch_id or "", size)
