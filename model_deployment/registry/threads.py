"""Runs blocking calls on daemon threads, so that a hung call does not keep the program from ending.

A thread cannot be stopped. When its caller gives up the thread goes on, and keeps its slot until it ends:
otherwise each caller that gives up would make room for one more hung thread.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


class DaemonThreads:
    """A limited number of concurrent calls, hung ones included."""

    def __init__(self, name: str, slots: int) -> None:
        self._name = name
        self._slots = asyncio.Semaphore(slots)

    async def run(self, work: Callable[[], T], late: Callable[[], None] = lambda: None) -> T:
        """Like ``asyncio.to_thread``, once a slot is free.

        Args:
            late: called on the thread when ``work`` ends after its caller gave up.
        """
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        abandoned = threading.Event()

        def finish(result: T | None, error: BaseException | None) -> None:
            self._slots.release()
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]

        def run() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as caught:
                error = caught
            try:
                if abandoned.is_set():
                    late()
            finally:
                _call_soon(loop, lambda: finish(result, error))

        try:
            threading.Thread(target=run, name=self._name, daemon=True).start()
        except BaseException:
            self._slots.release()
            raise
        try:
            return await future
        except asyncio.CancelledError:
            abandoned.set()
            raise


def in_time(
    work: Callable[[S], T], items: Sequence[S], *, threads: int, end: float
) -> list[T | None]:
    """Make a blocking call for each item, several at once, and return the results that arrive by ``end``.

    None stands for a call that failed or was late. Calls that are running at the end are abandoned.

    Args:
        end: on the monotonic clock.
    """
    results: list[T | None] = [None] * len(items)
    waiting = deque(range(len(items)))

    def run() -> None:
        while time.monotonic() < end:
            try:
                index = waiting.popleft()
            except IndexError:
                return
            try:
                results[index] = work(items[index])
            except Exception:  # noqa: S112 - the result stays None
                continue

    started = [
        threading.Thread(target=run, name=f"{threading.current_thread().name} worker", daemon=True)
        for _ in range(min(threads, len(items)))
    ]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(max(0.0, end - time.monotonic()))
    return [*results]


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # the loop is closed, and no caller waits
        return
