"""Runs predictions in threads: a few at once, and others beside those that take long.

More threads than cores only take the interpreter from each other, so calls that compute wait for their
turn. A call that has not returned after a moment waits for something else, or hangs, and does not count
any more: a few hung calls cannot keep all others from being answered.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

#: Seconds after which a call does not keep others waiting.
PATIENCE = 0.05
#: Threads at most.
MOST = 512

T = TypeVar("T")


class _Slot:
    """The place of one call among those that count."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._mine = True

    def leave(self, *_: object) -> None:
        if self._mine:
            self._mine = False
            self._give_back()


class Calls:
    """The predictions of one process."""

    def __init__(self, at_once: int | None = None, most: int = MOST) -> None:
        """Of which so many count at a time; the default is MLflow's own number of threads."""
        self._free = at_once or min(32, (os.cpu_count() or 1) + 4)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._threads = ThreadPoolExecutor(max_workers=most, thread_name_prefix="predict")

    async def run(self, call: Callable[[], T]) -> T:
        """The result of a call, made in a thread. The call goes on if the caller is cancelled."""
        loop = asyncio.get_running_loop()
        await self._turn(loop)
        slot = _Slot(self._give_back)
        timer = loop.call_later(PATIENCE, slot.leave)
        try:
            return await loop.run_in_executor(self._threads, call)
        finally:
            timer.cancel()
            slot.leave()

    async def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._free > 0:
            self._free -= 1
            return
        place: asyncio.Future[None] = loop.create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
