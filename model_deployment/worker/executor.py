"""Runs predictions in threads: a few that compute at once, and beside them those that wait for something.

More threads than cores only take the interpreter from each other, and each has its own working memory, so
calls that compute wait for their turn. A call that waits for something else, or hangs, does not count as
long as it does: a few hung calls cannot keep all others from being answered.

Which it is tells the CPU clock of its thread, looked at from time to time where a call takes long: one that
stands still waits. One that waits for the interpreter wakes up every few milliseconds to ask for it
(``sys.getswitchinterval``), so its clock creeps; where the process computes meanwhile, it counts. On a
busy machine what a thread waited for a core counts as if it had computed, where the kernel tells it. A
wrong guess is put right by the next look: a call that computes again counts again.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

#: Seconds to the first look at a call, and from there to the second. Each pause after that is twice the one
#: before, up to the longest.
FIRST_LOOK, LONGEST_PAUSE = 0.02, 0.2
#: A call waits that was seen not to compute so often in a row.
_STILL = 2
#: Calls that wait and do not count, for each that may compute.
WAITING = 16
#: A thread computes that uses this part of the time, and one that creeps in a process that uses that part.
_COMPUTES, _BUSY = 0.05, 0.1

T = TypeVar("T")


class _Slot:
    """Of one call among the others."""

    __slots__ = ("_seen", "_still", "_thread", "counts", "pause", "timer")

    def __init__(self) -> None:
        self.counts = True
        self.pause = FIRST_LOOK
        self.timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._seen: tuple[float, float, float] | None = None
        self._still = 0

    def run(self, call: Callable[[], T]) -> T:
        self._thread = threading.current_thread()
        return call()

    def computes(self) -> bool:
        """Whether it does, by what its thread did since this was asked before."""
        if self._thread is None:
            return True
        now = (time.monotonic(), _used(self._thread), time.process_time())
        before, self._seen = self._seen, now
        if before is None:
            return True
        passed, own, whole = (new - old for new, old in zip(now, before, strict=True))
        if own >= _COMPUTES * passed or (own > 0 and whole >= _BUSY * passed):
            self._still = 0
            return True
        self._still += 1
        return self.counts and self._still < _STILL


def _used(thread: threading.Thread) -> float:
    """Seconds that a thread of a pool, which lives, has computed, or could have but for other programs."""
    assert thread.ident is not None  # noqa: S101 - it runs
    clock = time.pthread_getcpuclockid(thread.ident)
    held_up = 0
    with contextlib.suppress(OSError, ValueError, IndexError):  # not every kernel tells
        text = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_bytes()
        held_up = int(text.split()[1])
    return time.clock_gettime(clock) + held_up / 1e9


class PredictionExecutor:
    """The predictions of one process."""

    def __init__(self, at_once: int | None = None) -> None:
        """Of which so many compute at a time; the default is MLflow's own number of threads."""
        at_once = at_once or min(32, (os.cpu_count() or 1) + 4)
        #: Below nothing where calls compute again that had waited.
        self._free = at_once
        self._room_to_wait = at_once * WAITING
        self._queue: deque[asyncio.Future[None]] = deque()
        threads = at_once + self._room_to_wait
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="predict")

    async def run(self, call: Callable[[], T]) -> T:
        """The result of a call, made in a thread. It goes on, and counts, if the caller is cancelled."""
        loop = asyncio.get_running_loop()
        await self._turn(loop)
        place, future = _Slot(), None
        try:
            future = self._threads.submit(place.run, call)
            place.timer = loop.call_later(place.pause, self._look, loop, place)
            return await asyncio.wrap_future(future, loop=loop)
        finally:
            if future is None or future.done():
                self._leave(place)
            else:
                future.add_done_callback(lambda _: self._leave_soon(loop, place))

    def _look(self, loop: asyncio.AbstractEventLoop, place: _Slot) -> None:
        computes = place.computes()
        if computes and not place.counts:
            place.counts = True
            self._room_to_wait += 1
            self._free -= 1
        elif not computes and place.counts and self._room_to_wait > 0:
            place.counts = False
            self._room_to_wait -= 1
            self._give_back()
        place.timer = loop.call_later(place.pause, self._look, loop, place)
        place.pause = min(2 * place.pause, LONGEST_PAUSE)

    def _leave(self, place: _Slot) -> None:
        if place.timer is not None:
            place.timer.cancel()
        if place.counts:
            self._give_back()
        else:
            self._room_to_wait += 1

    def _leave_soon(self, loop: asyncio.AbstractEventLoop, place: _Slot) -> None:
        """From the call's own thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is about to end
            loop.call_soon_threadsafe(self._leave, place)

    async def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._free > 0:
            self._free -= 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        self._free += 1
        while self._free > 0 and self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                self._free -= 1
                turn.set_result(None)
