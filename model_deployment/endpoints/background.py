"""Work for rollouts that takes longer than a tick: deploying, checking, replaying."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from model_deployment.endpoints.decide import Work

_log = logging.getLogger(__name__)


class RolloutWork:
    """One task for each rollout at most."""

    def __init__(self, done: Callable[[], None]) -> None:
        """``done`` is called when a task has ended."""
        self._done = done
        self._tasks: dict[int, tuple[Work, asyncio.Task[None]]] = {}

    def of(self, rollout: int) -> Work | None:
        """What is being done for a rollout."""
        found = self._tasks.get(rollout)
        return found[0] if found else None

    @property
    def rollouts(self) -> set[int]:
        """For which something is being done."""
        return {*self._tasks}

    def start(self, rollout: int, work: Work, what: Callable[[], Awaitable[None]]) -> None:
        """Begin; what was under way for the rollout ends."""
        self.cancel(rollout)

        async def run() -> None:
            try:
                await what()
            except Exception:
                _log.exception("the %s of rollout %s broke off", work, rollout)
            finally:
                if self._tasks.get(rollout, (None, None))[1] is asyncio.current_task():
                    del self._tasks[rollout]
                self._done()

        self._tasks[rollout] = (
            work,
            asyncio.create_task(run(), name=f"{work} of rollout {rollout}"),
        )

    def cancel(self, rollout: int) -> None:
        if found := self._tasks.pop(rollout, None):
            found[1].cancel()

    async def close(self) -> None:
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
