"""Blocking calls on daemon threads: one that hangs does not keep the program from ending.

A thread cannot be stopped. A caller may go away, but the thread goes on, and keeps its slot until it
has really ended: otherwise each caller that gives up would make room for one more thread that hangs.
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
    """So many calls at once, the hung ones included."""

    def __init__(self, name: str, slots: int) -> None:
        self._name = name
        self._slots = asyncio.Semaphore(slots)

    async def run(self, work: Callable[[], T], late: Callable[[], None] = lambda: None) -> T:
        """Like ``asyncio.to_thread``, once there is a free slot.

        Args:
            late: called on the thread when ``work`` ends and nobody has been waiting for it any more.
        """
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        left_alone = threading.Event()

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
                if left_alone.is_set():
                    late()
            finally:
                _tell(loop, lambda: finish(result, error))

        try:
            threading.Thread(target=run, name=self._name, daemon=True).start()
        except BaseException:
            self._slots.release()
            raise
        try:
            return await future
        except asyncio.CancelledError:
            left_alone.set()
            raise


def in_time(
    work: Callable[[S], T], items: Sequence[S], *, threads: int, end: float
) -> list[T | None]:
    """Make a blocking call for each item, some at once, and return what has come by ``end``.

    None stands for a call that failed or was late. Calls under way at the end are left behind, and no
    further ones are begun.

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
            except Exception:  # noqa: S112 - what is missing shows in the results
                continue

    crew = [
        threading.Thread(target=run, name=f"{threading.current_thread().name} crew", daemon=True)
        for _ in range(min(threads, len(items)))
    ]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(max(0.0, end - time.monotonic()))
    return [*results]


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(what)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return
