"""The preparation of releases, which takes longer than a tick, and goes on beside the ticks."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from model_deployment.core.errors import DiskFull, ModelDeploymentError, Unavailable
from model_deployment.devices.collaborators import Signed

_log = logging.getLogger(__name__)

#: Seconds before the second try; each further one waits twice as long, up to the limit.
_FIRST, _LONGEST = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class PreparationDone:
    """The release is prepared."""

    signed: Signed


@dataclass(frozen=True, slots=True)
class PreparationFailed:
    """It could not be prepared."""

    reason: str
    #: Another try may succeed.
    temporary: bool


PreparationOutcome = PreparationDone | PreparationFailed


class Preparations:
    """One task for each release at most. What was found is kept until it is taken."""

    def __init__(self, done: Callable[[], None]) -> None:
        """``done`` is called when a task has ended."""
        self._done = done
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._outcomes: dict[int, PreparationOutcome] = {}
        #: By release: tries that failed, and when the next one may begin, by the monotonic clock.
        self._tries: dict[int, tuple[int, float]] = {}

    @property
    def idle(self) -> bool:
        """Nothing is being prepared, and no prepared release waits for its row."""
        return not self._tasks and not self._outcomes

    def take(self, release: int) -> PreparationOutcome | None:
        """What came of the last try; it is forgotten here."""
        return self._outcomes.pop(release, None)

    def start(self, release: int, work: Callable[[], Awaitable[Signed]]) -> None:
        """Begin, unless it is under way or has failed a moment ago."""
        _, due = self._tries.get(release, (0, 0.0))
        if release in self._tasks or time.monotonic() < due:
            return
        task = asyncio.create_task(self._run(release, work), name=f"preparation of {release}")
        self._tasks[release] = task

    def keep(self, releases: Iterable[int]) -> None:
        """Give up all other releases."""
        kept = {*releases}
        for release in self._tasks.keys() - kept:
            self._tasks.pop(release).cancel()
        for known in (self._outcomes, self._tries):
            for release in known.keys() - kept:
                del known[release]

    async def close(self) -> None:
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, release: int, work: Callable[[], Awaitable[Signed]]) -> None:
        try:
            outcome = await _outcome(release, work)
        finally:
            mine = self._tasks.get(release) is asyncio.current_task()
            if mine:
                del self._tasks[release]
        if not mine:
            return
        self._outcomes[release] = outcome
        tries, _ = self._tries.get(release, (0, 0.0))
        pause = min(_LONGEST, _FIRST * 2.0 ** min(tries, 10))
        self._tries[release] = (tries + 1, time.monotonic() + pause)
        self._done()


async def _outcome(release: int, work: Callable[[], Awaitable[Signed]]) -> PreparationOutcome:
    try:
        return PreparationDone(await work())
    except ModelDeploymentError as error:
        return PreparationFailed(error.detail, isinstance(error, (DiskFull, Unavailable)))
    except Exception as error:
        _log.exception("the preparation of release %s broke off", release)
        return PreparationFailed(
            f"its preparation broke off: {type(error).__name__}", temporary=False
        )
