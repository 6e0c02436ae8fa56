"""One stream of a model: its thread yields values, the event loop sends them.

The generator runs in one thread from its first value to its end: what it keeps by thread or context, as
MLflow's tracing does, stays valid. It is a few values ahead of its caller at most. A caller who leaves ends
it at its next value; nothing can end a generator that never yields again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from model_deployment.worker.time_limit import time_limit

#: Values that a generator may be ahead of its caller.
AHEAD = 16

T = TypeVar("T")


class ModelStream(Generic[T]):
    """Made in the event loop that takes the values."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = threading.Semaphore(AHEAD)
        self._values: deque[T] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False
        self._closed = False

    # ---- In the thread of the generator

    def run(self, begin: Callable[[], Iterator[T]]) -> None:
        """Yield until the end, or until nobody takes the values any more.

        Args:
            begin: makes the iterator, which raises nothing.
        """
        values: Iterator[T] | None = None
        try:
            if not self._closed:
                values = begin()
                for value in values:
                    if not self._put(value):
                        break
        finally:
            if values is not None and hasattr(values, "close"):
                values.close()
            self._tell(self._end)

    def _put(self, value: T) -> bool:
        self._room.acquire()
        return not self._closed and self._tell(self._arrive, value)

    def _tell(self, what: Callable[..., None], *values: T) -> bool:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is about to end
            self._loop.call_soon_threadsafe(what, *values)
            return True
        return False

    # ---- In the event loop

    async def take(self, timeout: float) -> list[T]:
        """All values that have come; empty at the end.

        Args:
            timeout: seconds to wait for the next one.

        Raises:
            TimeoutError: none came.
        """
        if not (self._values or self._ended):
            self._waiter = self._loop.create_future()
            try:
                async with time_limit(timeout):
                    await self._waiter
            finally:
                self._waiter = None
        taken = [*self._values]
        self._values.clear()
        if taken:
            self._room.release(len(taken))
        return taken

    def close(self) -> None:
        """Nobody takes values any more."""
        self._closed = True
        self._room.release()
        self._end()

    def _arrive(self, value: T) -> None:
        self._values.append(value)
        self._wake()

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
