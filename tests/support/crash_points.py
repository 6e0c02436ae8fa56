"""Points between any two effects of a controller, at each of which it may be killed.

One lies before every write to the state database and one after its commit; a fake runtime adds those
around its own effects.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from model_deployment.core.errors import ModelDeploymentError
from model_deployment.state.database import Database

T = TypeVar("T")


class Crash(BaseException):
    """The controller was killed; no handler of its own may see this."""


class CrashPoints:
    """Counts the points between two effects, and has something happen at one of them."""

    def __init__(self) -> None:
        self.passed = 0
        #: What the last one was.
        self.name = ""
        #: None once it was reached.
        self._at: int | str | None = 0
        self._then: Callable[[], Awaitable[object]] | None = None

    def arm(self, at: int | str, then: Callable[[], Awaitable[object]] | None = None) -> None:
        """Kill the controller at the next point of this number or name, or do something else there."""
        self.passed, self._at, self._then = 0, at, then

    def disarm(self) -> bool:
        """Whether the point was reached; from now on nothing happens at one."""
        reached, self._at = self._at is None, 0
        return reached

    async def step(self, name: str) -> None:
        """One point."""
        self.passed, self.name = self.passed + 1, name
        if self._at not in (self.passed, name):
            return
        self._at = None
        if self._then is None:
            raise Crash(name)
        await self._then()


class FatalPoints(CrashPoints):
    """After a crash nothing else of the controller has an effect, on whichever task it is."""

    dead = False

    async def kill(self, work: Callable[[], Awaitable[object]], at: int) -> bool:
        """Kill the controller at this point of the work. False if the work has no such point."""
        self.arm(at)
        with contextlib.suppress(Crash, ModelDeploymentError):
            await work()
        self.disarm()
        return self.dead

    async def step(self, name: str) -> None:
        if self.dead:
            raise Crash(name)
        try:
            await super().step(name)
        except Crash:
            self.dead = True
            raise


class CrashingDatabase(Database):
    """The real state database, with a point before each write and one after its commit."""

    def __init__(self, path: Path, steps: CrashPoints) -> None:
        super().__init__(path)
        self._steps = steps

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """See :class:`~model_deployment.state.database.Database`."""
        # Named for the method of the state that asked for it, as far as a function tells.
        name = work.__qualname__.split(".<locals>")[0]
        await self._steps.step(f"before {name}")
        result = await super().write(work)
        await self._steps.step(f"after {name}")
        return result

    def discard(self) -> None:
        """Close the connection, if nothing else did."""
        if self._connection is not None:
            self._connection.close()

    async def _on_thread(self, work: Callable[[], T]) -> T:
        # Most of the time of many small examples would go into hops between two threads.
        await asyncio.sleep(0)
        return work()
